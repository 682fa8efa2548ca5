"""Procedural street and nature scenes: the built-in data set."""

from axial_deeplab.data.scenes.data_set import SCENES_VERSION, write_scenes
from axial_deeplab.data.scenes.scene import CATEGORIES, Scene, SceneSegment, draw_scene

__all__ = ["CATEGORIES", "SCENES_VERSION", "Scene", "SceneSegment", "draw_scene", "write_scenes"]
