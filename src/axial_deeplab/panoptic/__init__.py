"""What a panoptic map is: ids, void, segments, categories, and its files."""
