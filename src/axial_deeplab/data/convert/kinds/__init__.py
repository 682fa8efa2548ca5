"""Readers of the files of labeling tools, one file a kind: how it is recognized, how it is read."""
