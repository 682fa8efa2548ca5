"""Data sets, their categories and the joint transforms of images and panoptic maps."""
