"""Which center each pixel belongs to: the nearest one, or that on whose hill of the heatmap it lies."""
