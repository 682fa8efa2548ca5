"""The mathematics: position-sensitive axial attention and its implementations."""

# The operation itself is `axial_deeplab.axial_attention`: here its name is that of its module.
from axial_deeplab.ops.axial.api import axial_attention_sum, explain

__all__ = ["axial_attention_sum", "explain"]
