"""Attention along one axis: the operation, its specification and its fast implementations."""
