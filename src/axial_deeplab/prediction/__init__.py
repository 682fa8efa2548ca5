"""From pictures and videos to panoptic maps and the files that hold them."""
