"""Attention over a window around each query: the operation in two dimensions."""
