"""Pictures of panoptic segmentations."""
