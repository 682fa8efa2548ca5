"""Weights that have a name: those that ship in the package, and public ones of others."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from axial_deeplab.models.registry import ENTRIES
from axial_deeplab.weights.file import read_metadata

PRETRAINED_FOLDER = Path(__file__).parent / "pretrained"
PUBLIC_TABLE = Path(__file__).parent / "public_weights.json"
CACHE_VARIABLE = "AXIAL_DEEPLAB_CACHE"
# Of the weights of networks that have several, those that `pretrained=True` means.
DEFAULT_WEIGHTS = {"axial_deeplab_nano": "axial_deeplab_nano_scenes"}


@dataclass(frozen=True)
class PublicWeights:
    """Weights that others published; `public_weights.json` has a list of them.

    Args:
        name: ours, for `load_weights` and `create_model`.
        address: address of the file.
        size: bytes in the file, None where unknown; it is then recorded at the first download.
        sha256: checksum, None where unknown; it is then recorded at the first download.
        source: the page that describes them.
        model: arguments of `create_model`; None infers them from the tensors.
        data_set: data set of deeplab2, with its settings; None numbers the classes.
        training_data: what they were trained on.
        license: what is known of their terms.
        published: the published scores in percent, and the data that they are of; empty if there are none.
    """

    name: str
    address: str
    size: int | None
    sha256: str | None
    source: str
    model: Mapping[str, Any] | None
    data_set: str | None
    training_data: str
    license: str
    published: Mapping[str, Any]

    @property
    def network(self) -> str:
        """The name of the network."""
        return self.model["name"] if self.model else self.name.rsplit("_", 1)[0]

    @property
    def is_panoptic(self) -> bool:
        """Whether they are those of a segmentation network, not of a classifier or a backbone."""
        return self.data_set is not None


@cache
def public_weights() -> dict[str, PublicWeights]:
    """Return the table by name."""
    return {row["name"]: PublicWeights(**row) for row in json.loads(PUBLIC_TABLE.read_text(encoding="utf-8"))}


def find_weights(name: str) -> PublicWeights:
    """Return the row of the table with a name.

    Raises:
        ValueError: there is none.
    """
    if name not in public_weights():
        raise ValueError(f"name must be one of {', '.join(public_weights())}, got {name}; correct it")
    return public_weights()[name]


def cache_folder() -> Path:
    """Return where downloaded weights are kept: $AXIAL_DEEPLAB_CACHE, or below the user's cache folder."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "axial-deeplab"


def cached_path(name: str) -> Path:
    """Return where the converted weights are, or will be."""
    return cache_folder() / f"{name}.safetensors"


def pretrained_names() -> list[str]:
    """Return the names of the weights that ship in the package, in alphabetical order."""
    return sorted(path.stem for path in PRETRAINED_FOLDER.glob("*.safetensors"))


def shipped_path(name: str) -> Path:
    """Return the file of weights that ship in the package."""
    return PRETRAINED_FOLDER / f"{name}.safetensors"


def names_of_weights(network: str) -> list[str]:
    """Return the names of all shipped and public weights of a network, the shipped ones first."""
    shipped = {name: read_metadata(shipped_path(name))["model"]["name"] for name in pretrained_names()}
    public = {name: weights.network for name, weights in public_weights().items()}
    return [name for name, its_network in {**shipped, **public}.items() if its_network == network]


def default_name(name: str) -> str:
    """Return the name of the weights that a name of weights or of a network means.

    Raises:
        ValueError: the network has no weights, or several without a default.
    """
    if name not in ENTRIES:
        return name
    names = names_of_weights(name)
    if DEFAULT_WEIGHTS.get(name) in names:
        return DEFAULT_WEIGHTS[name]
    if len(names) != 1:
        choices = f"name one of {', '.join(names)}" if names else "see axial-deeplab weights list"
        raise ValueError(f"pretrained must be False or name weights for {name}, got True; {choices}")
    return names[0]
