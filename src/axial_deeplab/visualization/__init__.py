"""Pictures of panoptic segmentations: overlays, legends, error maps, what a network sees."""

from axial_deeplab.visualization.overlay import draw_overlay, legend_entries
from axial_deeplab.visualization.side_by_side import side_by_side

__all__ = ["draw_overlay", "legend_entries", "side_by_side"]
