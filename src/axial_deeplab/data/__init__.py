"""Data sets, transforms of images and panoptic maps together, targets of training."""
