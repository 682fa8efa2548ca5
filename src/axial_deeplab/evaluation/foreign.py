"""Results of other systems as panoptic segmentations, to be scored by the same metrics."""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from axial_deeplab.data.convert.id_maps import LABEL_ENDINGS, MAP_SUFFIXES, only_map
from axial_deeplab.data.image_files import list_files
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.map import IntArray, Panoptic, Segment, panoptic_id, relabel
from axial_deeplab.util.file_names import NamedFiles
from axial_deeplab.util.text import shortened

# How the files of label maps are called after a picture: by cellpose, by StarDist and others.
LABEL_SUFFIXES = tuple(f"{ending}{suffix}" for ending in (*LABEL_ENDINGS, "") for suffix in MAP_SUFFIXES)


class _Found(NamedTuple):
    """A segment of another system: its value in the map, our class, its score."""

    value: int
    train_id: int
    score: float | None


def from_transformers(
    result: Mapping[str, Any], categories: Categories, *, id2label: Mapping[int, str] | None = None
) -> Panoptic:
    """Take over what `post_process_panoptic_segmentation` of transformers returns for an image.

    Args:
        result: its `segmentation` (H, W), a tensor or an array, and its `segments_info`.
        categories: label space of the ground truth.
        id2label: names of the network's classes, `model.config.id2label`, which are found among the
            categories by name; None takes `label_id` for the train id.

    Raises:
        ValueError: a class is not among the categories, or there are too many instances.
    """
    infos = result["segments_info"]
    found = [
        _Found(
            int(info["id"]), _train_id(int(info["label_id"]), categories, id2label, "id2label"), _score(info)
        )
        for info in infos or ()
    ]
    return _panoptic(result["segmentation"], found, categories)


def from_detectron2(
    panoptic_seg: tuple[Any, Sequence[Mapping[str, Any]] | None],
    categories: Categories,
    *,
    thing_classes: Sequence[str] | None = None,
    stuff_classes: Sequence[str] | None = None,
    label_divisor: int = 1000,
) -> Panoptic:
    """Take over the `panoptic_seg` that detectron2's panoptic networks give for an image.

    Args:
        panoptic_seg: the map (H, W), and segments with `id`, `isthing` and `category_id`; None in place of
            these where the map has classes times `label_divisor`, as Panoptic-DeepLab's, and -1 for void.
        categories: label space of the ground truth.
        thing_classes: names of the things, `metadata.thing_classes`; None takes `category_id` for the train
            id.
        stuff_classes: names of the stuff, `metadata.stuff_classes`; None as above.
        label_divisor: `metadata.label_divisor`.

    Raises:
        ValueError: a class is not among the categories, or there are too many instances.
    """
    values, infos = _array(panoptic_seg[0]), panoptic_seg[1]
    names = {
        kind: None if classes is None else dict(enumerate(classes))
        for kind, classes in ((True, thing_classes), (False, stuff_classes))
    }
    if infos is None:
        infos = [
            {"id": value, "category_id": value // label_divisor, "isthing": value % label_divisor > 0}
            for value in np.unique(values).tolist()
            if value >= 0
        ]
    found = []
    for info in infos:
        kind = "thing_classes" if info["isthing"] else "stuff_classes"
        train_id = _train_id(int(info["category_id"]), categories, names[bool(info["isthing"])], kind)
        found.append(_Found(int(info["id"]), train_id, _score(info)))
    return _panoptic(values, found, categories)


def from_labels(
    labels: Any, categories: Categories, *, thing: str | None = None, background: str | None = None
) -> Panoptic:
    """Take over a map of instances of one class, as cellpose and StarDist give it.

    Args:
        labels: numbers of the instances (H, W), 0 for none.
        categories: label space of the ground truth.
        thing: name of their class; None is the only thing of the categories.
        background: name of the stuff where no instance is; None makes it void.

    Raises:
        ValueError: a name is not among the categories, `thing` is stuff or `background` a thing, there are
            several things and no name, or there are too many instances.
    """
    values = _array(labels)
    train_id = _only_thing(categories) if thing is None else _of_kind(thing, categories, "thing")
    found = [_Found(value, train_id, None) for value in np.unique(values).tolist() if value > 0]
    if background is not None:
        values = np.where(values > 0, values, -1)
        found.append(_Found(-1, _of_kind(background, categories, "background"), None))
    return _panoptic(values, found, categories)


def find_labels(folder: str | os.PathLike[str] | NamedFiles, image_file_name: str) -> Path:
    """Find the label map of a picture, named as `LABEL_SUFFIXES` has it.

    Beside maps with an ending, as `_masks`, a file of the name of the picture is the picture itself. Of a.jpg
    and a.png, `predict --save` calls the map of the second a.png.tif.

    Args:
        folder: folder of the label maps.
        image_file_name: path of the picture relative to its folder.

    Raises:
        ValueError: there are several that differ.
        OSError: there is none.
    """
    files = folder if isinstance(folder, NamedFiles) else NamedFiles(folder)
    name = image_file_name.replace("\\", "/")
    stem = Path(name).with_suffix("")
    paths = [stem.with_name(f"{stem.name}{suffix}") for suffix in LABEL_SUFFIXES]
    whole = [Path(f"{name}{suffix}") for suffix in MAP_SUFFIXES]
    found = [place for path in whole if (place := files.path(path.as_posix())).is_file()] or [
        place for path in paths if (place := files.path(path.as_posix())).is_file()
    ]
    if not found:
        raise FileNotFoundError(
            f"label maps must be there for each image, got none of {shortened([p.name for p in paths], 7)} "
            f"in {files.folder / stem.parent}{_others_of(files.folder, name)}; add it, empty if nothing is "
            "found"
        )
    if found[0].stem != stem.name:
        found = [path for path in found if path.name != Path(image_file_name).name]
    return only_map(found, image_file_name)


def _others_of(folder: Path, image_file_name: str) -> str:
    """Tell of files that belong to a picture by their names but are not called as label maps."""
    picture = Path(image_file_name)
    others = [
        path.relative_to(folder)
        for path in list_files(folder, recursive=True)
        if path.name.startswith(picture.stem)
        and not path.name[len(picture.stem) :][:1].isalnum()
        and path.name != picture.name
    ]
    return f" but {shortened(others, 3)}: save it as {picture.stem}_masks.tif" if others else ""


def _panoptic(values: Any, found: Sequence[_Found], categories: Categories) -> Panoptic:
    """Return our map and segments; values without a segment are void, stuff of one class is one segment."""
    _warn_of_shared_values(found, categories)
    mapping: dict[int, int] = {}
    segments: dict[int, Segment] = {}
    instances = [0] * len(categories)
    for value, train_id, score in found:
        if categories[train_id].is_thing:
            instances[train_id] += 1
        new_id = panoptic_id(train_id, instances[train_id])
        mapping[value] = new_id
        segments[new_id] = Segment(id=new_id, train_id=train_id, area=0, score=score)
    return Panoptic(relabel(_array(values), mapping), tuple(segments.values())).measured()


def _warn_of_shared_values(found: Sequence[_Found], categories: Categories) -> None:
    """Warn of segments that cannot be told apart, as transformers gives them where it fuses stuff."""
    classes: dict[int, list[int]] = {}
    for each in found:
        classes.setdefault(each.value, []).append(each.train_id)
    for value, shared in classes.items():
        if len(shared) > 1 and (len(set(shared)) > 1 or categories[shared[0]].is_thing):
            names = shortened([categories[each].name for each in shared], 4)
            warnings.warn(
                f"ids of segments must differ, got {value} for {names}, all taken for the last; "
                "give label_ids_to_fuse=set() to transformers: stuff is joined here",
                stacklevel=4,
            )


def _array(values: Any) -> IntArray:
    values = values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
    if values.ndim != 2:
        raise ValueError(
            f"maps of segments must be (H, W), got shape {values.shape}; give one image at a time"
        )
    if values.dtype.kind == "f":
        most = 2 ** (np.finfo(values.dtype).nmant + 1)
        odd = values[(values != np.rint(values)) | (np.abs(values) >= most)]
        if odd.size:
            raise ValueError(
                f"maps of segments must have whole numbers, in this type below {most}, got {odd[0]} "
                f"({odd.size} pixels); keep ids in a type of integers, and resize them by the nearest pixel"
            )
    return values.astype(np.int64)


def _score(info: Mapping[str, Any]) -> float | None:
    score = info.get("score")
    return None if score is None else float(score)


def _train_id(number: int, categories: Categories, names: Mapping[int, str] | None, what: str) -> int:
    if names is None:
        if not 0 <= number < len(categories):
            raise ValueError(
                f"classes of segments must be train ids from 0 to {len(categories) - 1}, got {number}; "
                f"give {what}, the names of the network's classes"
            )
        return number
    if number not in names:
        raise ValueError(f"{what} must name every class, got no name for {number}; give the network's own")
    return _by_name(names[number], categories, what)


def _by_name(name: str, categories: Categories, what: str) -> int:
    if name not in categories.names:
        raise ValueError(
            f"{what} must name classes of the ground truth ({shortened(categories.names, 8)}), got {name!r}; "
            "rename it"
        )
    return categories.names.index(name)


def _of_kind(name: str, categories: Categories, what: Literal["thing", "background"]) -> int:
    """Return the train id of a thing, or of the stuff of a background."""
    train_id = _by_name(name, categories, what)
    ids, kind = (categories.thing_ids, "thing") if what == "thing" else (categories.stuff_ids, "stuff")
    if train_id not in ids:
        names = shortened([categories[each].name for each in ids], 8) or "none"
        other = "stuff" if what == "thing" else "a thing"
        raise ValueError(
            f"{what} must be a {kind} class of the ground truth ({names}), got {name!r}, which is {other}; "
            "name another, or correct isthing in its categories"
        )
    return train_id


def _only_thing(categories: Categories) -> int:
    if len(categories.thing_ids) != 1:
        names = shortened([categories[each].name for each in categories.thing_ids], 8) or "none"
        raise ValueError(f"thing must be the class of the instances, got several things ({names}); name one")
    return categories.thing_ids[0]
