"""Attention over a window around each query."""
