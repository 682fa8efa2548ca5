"""Images of any size: seen in tiles whose maps are blended on disk, so that no object is cut at a seam."""
