"""The built-in data set: procedural street and nature scenes with exact panoptic annotations."""

from axial_deeplab.data.scenes.scene import SCENE_CATEGORIES, Scene, SceneSegment, draw_scene
from axial_deeplab.data.scenes.writer import SCENES_VERSION, write_scenes

__all__ = ["SCENES_VERSION", "SCENE_CATEGORIES", "Scene", "SceneSegment", "draw_scene", "write_scenes"]
