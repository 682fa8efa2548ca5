"""The attention layers: along an axis, over a window, over the whole image."""
