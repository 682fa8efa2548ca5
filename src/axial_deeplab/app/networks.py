"""The networks that people can choose in the app."""

import copy
import dataclasses
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from axial_deeplab.experiments.attention_maps import axial_blocks
from axial_deeplab.prediction.prediction import Prediction
from axial_deeplab.prediction.predictor import Predictor
from axial_deeplab.weights.loaded import load_weights
from axial_deeplab.weights.names import cached_path, pretrained_names, public_weights

DEFAULT_WEIGHTS = "axial_deeplab_nano_scenes"
KNOBS = ("center_threshold", "nms_kernel", "top_k", "stuff_area", "fill_void")
# In memory at the same time; choosing another one forgets the one that was not used for longest.
MOST_LOADED = 2


@dataclass(frozen=True, eq=False)
class Network:
    """A network that is ready to predict.

    Args:
        weights: what it is called in the app.
        predictor: predictor whose norms are folded.
        model: the same network with its norms, as the attention maps need it.
    """

    weights: str
    predictor: Predictor
    model: nn.Module

    @property
    def knobs(self) -> dict[str, Any]:
        """The settings of the post-processing that its weights bring along."""
        return {name: getattr(self.predictor.post_processing, name) for name in KNOBS}

    @property
    def blocks(self) -> list[str]:
        """The names of its axial blocks."""
        return list(axial_blocks(self.model))

    def predict(self, pixels: np.ndarray[Any, np.dtype[np.uint8]], knobs: Mapping[str, Any]) -> Prediction:
        """Segment an image (H, W, 3) with other settings of the post-processing.

        Raises:
            ValueError: a knob is out of its range, or the image does not fit into memory.
        """
        predictor = copy.copy(self.predictor)
        predictor.post_processing = dataclasses.replace(predictor.post_processing, **knobs)
        return predictor(pixels)


class Networks:
    """The networks that people can choose, loaded when they are.

    Args:
        given: files of weights, or names, to offer beside the shipped and the public ones; the first one is
            chosen at the start.
        device: as for `Predictor`.
    """

    def __init__(
        self, given: Sequence[str | os.PathLike[str]] = (), *, device: str | torch.device = "auto"
    ) -> None:
        self.device = device
        # Only weights of segmentation have a post-processing.
        public = [name for name, row in public_weights().items() if row.is_panoptic]
        own = [os.fspath(weights) for weights in given] or [DEFAULT_WEIGHTS]
        self.names = tuple(dict.fromkeys([*own, *pretrained_names(), *public]))
        self._loaded: OrderedDict[str, Network] = OrderedDict()

    @property
    def labels(self) -> list[tuple[str, str]]:
        """What the page says for each name, and the name."""
        missing = [
            name
            for name in self.names
            if name in public_weights() and name not in pretrained_names() and not cached_path(name).is_file()
        ]
        return [(f"{name} (download)" if name in missing else name, name) for name in self.names]

    def __getitem__(self, name: str) -> Network:
        """Return a network, loaded if need be; public weights are downloaded at their first use.

        Raises:
            ValueError: it is none of `names`, or its file is broken or not of a segmentation network.
            OSError: there is no such file, or it cannot be downloaded.
        """
        if name not in self.names:
            raise ValueError(f"weights must be among those that the app offers, got {name}; choose one")
        if name not in self._loaded:
            loaded = load_weights(name)
            predictor = Predictor(loaded, self.device)
            self._loaded[name] = Network(name, predictor, loaded.model.to(predictor.device))
        self._loaded.move_to_end(name)
        while len(self._loaded) > MOST_LOADED:
            self._loaded.popitem(last=False)
        return self._loaded[name]

    def warm_up(self) -> Network:
        """Load the first network and run it once: its kernels are compiled then, not at the first picture.

        Raises:
            ValueError: as for `[]`.
            OSError: as for `[]`.
        """
        network = self[self.names[0]]
        network.predict(np.zeros((64, 64, network.predictor.view.num_channels), dtype=np.uint8), {})
        return network
