"""Backbones: from images to the maps res2 to res5, or to classes."""
