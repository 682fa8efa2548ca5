"""From an image of any kind to its panoptic segmentation: the class for users."""

import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from axial_deeplab.data.channels import Channels
from axial_deeplab.data.images import read_image, to_rgb
from axial_deeplab.data.value_range import FULL, ValueRange
from axial_deeplab.models.folding.fold import fuse
from axial_deeplab.ops.dispatch import is_avoided
from axial_deeplab.post_processing import PostProcessing, refuse_unknown, warn_of_left_out
from axial_deeplab.prediction.batch import ImageArray, View, predict_panoptic, predict_panoptic_batch
from axial_deeplab.prediction.doubts import Certainty
from axial_deeplab.prediction.multi_scale import parse_scales
from axial_deeplab.prediction.prediction import Prediction, void_without_data
from axial_deeplab.weights.loaded import LoadedWeights, load_weights

if TYPE_CHECKING:
    from axial_deeplab.prediction.large.results import LargePrediction

ImageLike = str | os.PathLike[str] | Image.Image | NDArray[Any] | Tensor


class Predictor:
    """Panoptic segmentation of single images.

    Args:
        weights: file, name of shipped weights, or what `load_weights` returned.
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps" ...
        max_size: longest side in pixels that the network sees, to bound its memory; larger images are reduced
            for it. None for the limit that is stored with the weights, if any.
        scales: magnifications at which the network sees an image, whose outputs are averaged; or the name of
            a data set, "coco", "cityscapes" or "mapillary", for those of the paper. None for those that are
            stored with the weights, or else 1 alone.
        flip: whether it sees each of them mirrored, too.
        long_side: pixels that the longer side of each image gets for the network. None for what is stored
            with the weights, if anything; 0 keeps the size of the images.
        value_range: which values are black and white in images of more than 8 bits: "full" (of the type),
            "bits 12", "percentiles 1 99", "0 4095". None for what is stored with the weights, else "full".
        page: page of image files that have several, from 1 on. None for what is stored with the weights, else
            the first.
        channels: numbers of the channels of image files that the network sees, from 1 on. None for those that
            are stored with the weights, else RGB, or the first ones for a network of other than 1 or 3.
        knobs: arguments of `PostProcessing` (`center_threshold`, `nms_kernel`, `top_k`, `stuff_area`, ...)
            that replace those stored with the weights.

    Raises:
        FileNotFoundError: there are no such weights.
        ValueError: the weights are broken or not those of a segmentation network, the device does not exist,
            a side, a scale or a knob is unknown or out of its range, or the network has another number of
            channels.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | LoadedWeights,
        device: str | torch.device = "auto",
        *,
        max_size: int | None = None,
        scales: str | Sequence[float] | None = None,
        flip: bool = False,
        long_side: int | None = None,
        value_range: str | None = None,
        page: int | None = None,
        channels: Sequence[int] | None = None,
        **knobs: Any,
    ) -> None:
        if scales is not None:
            scales = parse_scales(scales)
        view: dict[str, Any] = {
            "max_size": max_size,
            "scales": scales,
            "flip": flip,
            "long_side": long_side,
            "value_range": value_range,
            "page": page,
            "channels": channels,
        }
        self._made_of = (_as_absolute(weights), {"device": device, **view, **knobs})
        self.device = choose_device(device)
        loaded = weights if isinstance(weights, LoadedWeights) else load_weights(weights)
        if not hasattr(loaded.model, "semantic_head"):
            raise ValueError(
                f"weights must be those of a segmentation network, got {loaded.metadata['model']['name']}; "
                "choose weights of an axial_deeplab_* or panoptic_deeplab_* network"
            )
        self.network: dict[str, Any] = dict(loaded.metadata.get("model") or {})
        self.categories = loaded.categories
        self.low_scores = Certainty.lowest_of(loaded.metadata)
        self.post_processing = PostProcessing.from_metadata(
            loaded.metadata, loaded.categories.thing_ids, **knobs
        )
        self.view = stored_view(loaded, **view)
        self.model = fuse(loaded.model).to(self.device)

    def __reduce__(self) -> tuple[Any, ...]:
        """Send to other processes what it is made of: there it is made again, on a device of theirs."""
        weights, given = self._made_of
        settings = {"post_processing": self.post_processing, "view": self.view}  # which may be others by now
        return functools.partial(Predictor, **given), (weights,), settings

    def __copy__(self) -> "Predictor":
        """Share the network, as copies of other objects share what they hold."""
        copied = object.__new__(Predictor)
        copied.__dict__.update(self.__dict__)
        return copied

    @overload
    def __call__(self, image: ImageLike) -> Prediction: ...

    @overload
    def __call__(self, image: list[ImageLike] | tuple[ImageLike, ...]) -> list[Prediction]: ...

    def __call__(
        self, image: ImageLike | list[ImageLike] | tuple[ImageLike, ...]
    ) -> Prediction | list[Prediction]:
        """Segment an image, or several.

        Args:
            image: path of an image file; PIL image; uint8 array (H, W, 3) or greyscale (H, W); or uint8
                tensor (3, H, W). RGB; arrays for a network of chosen channels have just these. A list or
                tuple of them gives a list of predictions, made one by one
                (`predict_batch` shows the network those of one size together).

        Raises:
            ValueError: the image is damaged, has another type or shape, or does not fit into memory.
            OSError: the file cannot be opened.
        """
        if isinstance(image, list | tuple):
            return [self(each) for each in image]
        return self.predict_batch([image])[0]

    def predict_batch(self, images: Sequence[ImageLike]) -> list[Prediction]:
        """Segment images together; each prediction is what it would be alone.

        Images of one size run through the network at once, which keeps a GPU busy; their memory adds up.

        Args:
            images: as for a single one, of any sizes.

        Raises:
            ValueError: an image is not valid, or those of one size do not fit into memory together.
            OSError: a file cannot be opened.
        """
        pixels = [self.read(image) for image in images]
        predictions = predict_panoptic_batch(
            self.model, pixels, self.post_processing, self.view, with_agreement=True
        )
        knobs = self.post_processing
        warn_of_left_out((each.num_left_out for each in predictions), knobs.top_k, knobs.top_k_area)
        found = [
            Prediction.of(prediction, image, self.categories)
            for prediction, image in zip(predictions, pixels, strict=True)
        ]
        return [
            void_without_data(prediction, Path(image), self.view)
            if isinstance(image, str | os.PathLike)
            else prediction
            for prediction, image in zip(found, images, strict=True)
        ]

    def read(self, image: ImageLike) -> ImageArray:
        """Return the pixels of an image (H, W, 3), uint8, as the network is shown them.

        Args:
            image: as for a prediction.

        Raises:
            ValueError: the image is damaged, or has another type or shape.
            OSError: the file cannot be opened.
        """
        return _as_array(image, self.view)

    def predict_large(
        self,
        source: Any,
        output: str | os.PathLike[str],
        *,
        tile: int | None = None,
        overlap: int | None = None,
        progress: bool = False,
    ) -> "LargePrediction":
        """Segment an image of any size in tiles; memory does not grow with the image.

        The network sees tiles that overlap; their maps are blended on disk, and segments are found in the
        whole, so that no object is cut at a seam. `top_k` does not count: all centers are kept.

        Args:
            source: TIFF or GeoTIFF (read by windows), OME-Zarr folder, any other image file (decoded once, to
                disk), or an array (H, W, 3) or (H, W) that need not be in memory; (H, W, C) for a network of
                chosen channels.
            output: `.tif` file or `.zarr` folder for labels and classes, see `LargePrediction`; temporary
                files lie in a folder beside it.
            tile: side of the tiles in pixels, at least 64; None for 449 to 577, whichever cover the image
                with the fewest pixels.
            overlap: pixels that neighbors share; None for 32, or a quarter of smaller tiles.
            progress: show progress bars.

        Raises:
            ValueError: the image cannot be read, an argument is out of its range, the disk has no room, or
                `long_side` or `fill_void` needs the whole image.
            OSError: a file cannot be opened or written.
        """
        from axial_deeplab.prediction.large.predict import predict_large

        return predict_large(self, source, output, tile=tile, overlap=overlap, progress=progress)

    @property
    def settings(self) -> str:
        """Text that is the same for predictors of the same weights and options, and differs for others."""
        digest = hashlib.sha256()
        for name, tensor in self.model.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        path = getattr(self.model, "path", None)  # of a network that another runtime executes
        digest.update(b"" if path is None else Path(path).read_bytes())
        digest.update(repr((self.categories.to_json(), self.post_processing, self.view)).encode())
        return digest.hexdigest()

    def warm_up(self) -> None:
        """Segment an image of nothing, so that the times of others lack what is loaded and compiled first.

        Without compiled code there is little of it.
        """
        if is_avoided():
            return
        size = getattr(self.model, "size", None) or (64, 64)
        image = np.zeros((*size, self.view.num_channels), np.uint8)
        predict_panoptic(self.model, image, self.post_processing)


def _as_absolute(
    weights: str | os.PathLike[str] | LoadedWeights,
) -> str | os.PathLike[str] | LoadedWeights:
    """Return weights so that a process in another folder finds them."""
    is_file = not isinstance(weights, LoadedWeights) and Path(weights).exists()
    return Path(cast(str, weights)).resolve() if is_file else weights


def choose_device(device: str | torch.device) -> torch.device:
    """Return the device of a name; "auto" is a CUDA GPU if there is one, else the CPU.

    Raises:
        ValueError: there is no such device here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device must be auto, cpu or a GPU of this machine, got {device}: {reason}; try cpu"
        ) from None
    return chosen


def stored_view(loaded: LoadedWeights, *, flip: bool = False, **given: Any) -> View:
    """Return how a network sees images: as stored with its weights.

    Args:
        loaded: the weights.
        flip: see `View`.
        given: what replaces what is stored, as for `Predictor`; None does not.

    Raises:
        ValueError: see `Predictor`.
    """
    names = ("scales", "long_side", "max_size", "value_range", "page", "channels")
    given = dict.fromkeys(names) | given
    stored = dict(loaded.metadata.get("view") or {})
    num_channels = stored.pop("num_channels", None)
    refuse_unknown("view", stored, "weights", given)
    channels = _channels(loaded, given["channels"], stored.get("channels"), num_channels)
    view = {name: stored.get(name) if value is None else value for name, value in given.items()}
    # A long side of 0 keeps the size of the images.
    return View(
        flip=flip,
        scales=view["scales"] or (1.0,),
        long_side=view["long_side"] or None,
        max_size=view["max_size"],
        value_range=view["value_range"] or FULL.rule,
        page=view["page"],
        channels=channels,
    )


def _channels(
    loaded: LoadedWeights, given: Sequence[int] | None, stored: Sequence[int] | None, of: int | None
) -> Channels | None:
    """Return the channels of image files that a network sees: given ones, else the stored ones; None for RGB.

    Raises:
        ValueError: the network takes another number of channels.
    """
    name, taken = loaded.metadata["model"]["name"], loaded.metadata["model"].get("in_channels", 3)
    if given is not None:
        channels = Channels(tuple(given))
    elif stored is not None:
        channels = Channels(tuple(map(int, stored)), of=of)
    elif taken in (1, 3):
        return None
    else:
        channels = Channels(tuple(range(1, taken + 1)))
    number = len(channels.numbers)
    if number != taken and (taken, number) != (1, 3):  # of which grey is made
        raise ValueError(
            f"channels must be {taken} for {name} with these weights, got {number}: {list(channels.numbers)}"
            "; give as many, or train a network with data.channels"
        )
    return channels


def _as_array(image: ImageLike, view: View) -> ImageArray:
    """Return an image of any accepted kind as uint8 (H, W, C), C being 3 but for chosen channels."""
    if isinstance(image, str) and "://" in image:
        raise ValueError(f"image must be a file of this machine, got the address {image}; download it first")
    if isinstance(image, str | os.PathLike):
        return read_image(Path(image), **view.reading)
    if isinstance(image, Image.Image):
        image = to_rgb(ImageOps.exif_transpose(image), value_range=ValueRange(view.value_range))
    if isinstance(image, Tensor) and (image.dtype != torch.uint8 or image.layout != torch.strided):
        kind = str(image.dtype).removeprefix("torch.")
        sparse = "" if image.layout == torch.strided else " and sparse"
        raise ValueError(f"image must be uint8 with values 0 to 255, got {kind}{sparse}; convert it")
    array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if isinstance(image, Tensor) and array.ndim == 3:
        array = array.transpose(1, 2, 0)
    shape = tuple(array.shape)
    if array.ndim == 2:
        array = array[..., None]
    number, what = view.num_channels, "RGB" if view.channels is None else "the channels of the network"
    if array.ndim != 3 or 0 in array.shape or array.shape[2] not in ((1, 3) if number == 3 else (number,)):
        raise ValueError(
            f"image must be a path, a PIL image, an array (H, W, {number}) or (H, W), or a tensor "
            f"({number}, H, W), got shape {tuple(image.shape) if hasattr(image, 'shape') else shape}; one "
            f"image at a time, {what}"
        )
    if array.dtype != np.uint8:
        raise ValueError(f"image must be uint8 with values 0 to 255, got {array.dtype}; convert it")
    # A copy: whoever fills the array again, as cameras do, does not change the picture of the prediction.
    return np.array(np.broadcast_to(array, (*array.shape[:2], number)), order="C")
