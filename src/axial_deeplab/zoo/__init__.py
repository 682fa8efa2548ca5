"""Weights by name: a table of public ones, their download, and a cache of what was converted."""
