"""Panoptic quality and semantic intersection over union."""
