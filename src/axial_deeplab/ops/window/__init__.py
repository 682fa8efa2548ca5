"""Attention over a window around each query: the same for squares."""
