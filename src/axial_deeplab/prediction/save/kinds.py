"""Which kinds of files predictions can be saved as, and the writing of those that are chosen."""

import filecmp
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.writer import PanopticWriter
from axial_deeplab.prediction.save.coco_instances import write_coco_instances
from axial_deeplab.prediction.save.geojson import open_geojson, open_geojson_degrees, why_no_degrees
from axial_deeplab.prediction.save.imagej_rois import open_rois, why_no_rois
from axial_deeplab.prediction.save.instances import Instance
from axial_deeplab.prediction.save.label_maps import write_class_list, write_classes, write_instances
from axial_deeplab.prediction.save.labelme import open_labelme
from axial_deeplab.prediction.save.picture import Picture
from axial_deeplab.prediction.save.table import open_table
from axial_deeplab.prediction.save.yolo import open_yolo, write_yolo_names
from axial_deeplab.util.file_names import path_in_folder
from axial_deeplab.util.files import atomic_path
from axial_deeplab.util.packages import require_package

AddInstance = Callable[[Instance], None]


class Kind(NamedTuple):
    """A kind of files.

    Args:
        maps: folder, suffix and writer of the files of a picture that are written from its labels.
        things: folder, suffix and opener of the file of a picture that takes its things one by one.
        class_list: name and writer of a file beside the folders that explains the classes.
        package: what it needs that is not always installed, and the extra that has it.
        is_corrected: whether people correct its files by hand: one that is there is kept beside another.
        needs_things: whether it holds nothing but things.
        why_not: returns why there can be no file of a picture, None if there can.
    """

    maps: tuple[tuple[str, str, Callable[[Path, Picture], None]], ...] = ()
    things: tuple[str, str, Callable[[Path, Picture], AbstractContextManager[AddInstance]]] | None = None
    class_list: tuple[str, Callable[[Path, Categories], None]] | None = None
    package: tuple[str, str] | None = None
    is_corrected: bool = False
    needs_things: bool = True
    why_not: Callable[[Picture], str | None] = lambda picture: None

    @property
    def folders(self) -> list[str]:
        """The folders of its files."""
        return [folder for folder, _, _ in self.maps] + ([self.things[0]] if self.things else [])


COCO, COCO_INSTANCES = "coco", "coco-instances"
# COCO's files are of all pictures together: `PanopticWriter` and `Saver.close` write them.
KINDS = {
    COCO: Kind(needs_things=False),
    "labels": Kind(
        maps=(("labels", ".tif", write_instances), ("labels_classes", ".tif", write_classes)),
        class_list=("labels_classes.csv", write_class_list),
        needs_things=False,
    ),
    COCO_INSTANCES: Kind(package=("pycocotools", "coco")),
    "geojson": Kind(things=("geojson", ".geojson", open_geojson), is_corrected=True),
    "geojson-degrees": Kind(
        things=("geojson_degrees", ".geojson", open_geojson_degrees),
        is_corrected=True,
        package=("pyproj", "maps"),
        why_not=why_no_degrees,
    ),
    "rois": Kind(
        things=("rois", ".zip", open_rois),
        is_corrected=True,
        package=("roifile", "imagej"),
        why_not=why_no_rois,
    ),
    "csv": Kind(things=("csv", ".csv", open_table)),
    "yolo": Kind(
        things=("yolo", ".txt", open_yolo), class_list=("yolo.yaml", write_yolo_names), is_corrected=True
    ),
    "labelme": Kind(things=("labelme", ".json", open_labelme), is_corrected=True),
}


class Saver:
    """Writes the chosen kinds of files, picture by picture; each file appears whole.

    Args:
        kinds: names among `KINDS`.
        output: folder of the results.
        categories: the label space.

    Raises:
        ValueError: a kind is unknown, lacks its package, or is of things alone while there are none, or a
            name of a class is no text.
    """

    def __init__(self, kinds: Sequence[str], output: str | os.PathLike[str], categories: Categories) -> None:
        if not kinds or not set(kinds) <= set(KINDS):
            odd = next((kind for kind in kinds if kind not in KINDS), "none")
            raise ValueError(f"save must be of {', '.join(KINDS)}, got {odd}; choose among them")
        self.kinds = {name: KINDS[name] for name in KINDS if name in kinds}
        for name, kind in self.kinds.items():
            if kind.package is not None:
                require_package(*kind.package, f"save {name} needs")
            if kind.needs_things and not categories.thing_ids:
                raise ValueError(
                    f"save must be coco or labels with weights that know no things, got {name}; "
                    "give one of these"
                )
        for category in categories:
            try:
                category.name.encode()
            except UnicodeEncodeError:
                raise ValueError(
                    f"names of classes must be texts in UTF-8 to be saved, got {category.name!a}; "
                    "save coco alone"
                ) from None
        self.output = Path(output)
        self.categories = categories
        self._has_begun = False

    def earlier_files(self) -> list[str]:
        """Return the names of files and folders of any kind but COCO's that are in the output already."""
        names = {f"{folder}/": None for kind in KINDS.values() for folder in kind.folders}
        names[self._instances_json.name] = None
        return [name for name in names if (self.output / name).exists()]

    def add(self, picture: Picture, stem: str) -> None:
        """Write the files of a picture; a warning tells of a kind that cannot hold it.

        All kinds take each thing in turn, so that a file of labels is read once for them.

        Args:
            picture: what was found in it.
            stem: path of its files below the folder of a kind, without suffix.

        Raises:
            ValueError: the picture cannot be read again, or the stem leaves the folder.
            OSError: a file cannot be written.
        """
        self._begin()

        def place(folder: str, suffix: str, *, keep: bool = False) -> AbstractContextManager[Path]:
            path = path_in_folder(self.output / folder, f"{stem}{suffix}")
            return _kept_beside(path) if keep else atomic_path(path)

        with ExitStack() as stack:
            adders = []
            for kind in self.kinds.values():
                reason = kind.why_not(picture)
                if reason is not None:
                    warnings.warn(f"{picture.path}: {reason}; all else is written", stacklevel=2)
                    continue
                for folder, suffix, write in kind.maps:
                    with place(folder, suffix) as temporary:
                        write(temporary, picture)
                if kind.things is not None:
                    folder, suffix, open_file = kind.things
                    temporary = stack.enter_context(place(folder, suffix, keep=kind.is_corrected))
                    adders.append(stack.enter_context(open_file(temporary, picture)))
            for instance in picture.instances() if adders else ():
                for add in adders:
                    add(instance)

    def close(self, writer: PanopticWriter) -> None:
        """Write the files of all pictures together.

        Args:
            writer: has written the panoptic segmentation of each.

        Raises:
            OSError: a file cannot be written.
        """
        if COCO_INSTANCES in self.kinds:
            with atomic_path(self._instances_json) as temporary:
                write_coco_instances(temporary, writer, self.output)

    @property
    def _instances_json(self) -> Path:
        return self.output / "coco_instances.json"

    def _begin(self) -> None:
        """Explain the classes, and remove what will soon be wrong, as `PanopticWriter` does."""
        if self._has_begun:
            return
        if COCO_INSTANCES in self.kinds:
            self._instances_json.unlink(missing_ok=True)
        for kind in self.kinds.values():
            if kind.class_list is not None:
                name, write = kind.class_list
                with atomic_path(self.output / name) as temporary:
                    write(temporary, self.categories)
        self._has_begun = True


@contextmanager
def _kept_beside(path: Path) -> Iterator[Path]:
    """Do as `atomic_path`, but keep another file that is there, perhaps corrected: a.json as a.json.~1~."""
    with atomic_path(path) as temporary:
        yield temporary
        if path.is_file() and not filecmp.cmp(path, temporary, shallow=False):
            names = (path.with_name(f"{path.name}.~{number}~") for number in count(1))
            path.rename(next(name for name in names if not name.exists()))
