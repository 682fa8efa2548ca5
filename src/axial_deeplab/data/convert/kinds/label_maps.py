"""Label maps beside the pictures, as cellpose and StarDist write them: 0 is nothing, 1, 2, ... objects.

Source:
    cellpose, `io.save_masks`: a_cp_masks.png, a_masks.tif, and of an empty picture a TIFF alone; a_seg.npy is
    a pickle, which is not opened. StarDist's examples: the same names in the folders images and masks.
"""

from functools import partial
from pathlib import Path, PurePosixPath

from axial_deeplab.data.convert.id_maps import LABEL_ENDINGS, MAP_SUFFIXES, only_map
from axial_deeplab.data.convert.instance_maps import InstanceReading, look_for_background
from axial_deeplab.data.convert.map_files import page_of
from axial_deeplab.data.convert.pairs import MappedImage, Maps, maps_to_images
from axial_deeplab.data.convert.photos import Photos
from axial_deeplab.data.convert.read_options import ReadOptions, ToConvert
from axial_deeplab.data.convert.source_files import folder_of
from axial_deeplab.data.image_files import SUFFIXES, list_files
from axial_deeplab.data.image_warnings import told_together

TITLE = "a folder of label maps"

# What cellpose's own data has behind the names of pictures, in place of the ending of their maps.
_PICTURE = "_img"
_OTHERS = (
    *LABEL_ENDINGS,
    "_flows",
    "_dP",
    "_cellprob",
    "_cp_output",
    "_outlines",
    "_flows_cp_masks",
    "_outlines_cp_masks",
)


def recognize(source: Path) -> bool:
    """Tell whether a folder is of this kind."""
    return source.is_dir() and bool(_maps(source))


def read(source: Path, options: ReadOptions) -> ToConvert:
    """Read a folder of pictures and maps."""
    thing = options.thing_or_object
    photos = Photos(options.images or folder_of(source), exclude=("masks",), endings=_OTHERS)
    with told_together():
        maps = {name: only_map(paths, name) for name, paths in _maps(source).items()}
    photos.expect(maps)
    images = []
    for name, path in maps.items():
        if not photos.knows_stem(name) and photos.knows_stem(name + _PICTURE):
            name += _PICTURE
        photo = photos.find_stem(name, str(path))
        read_maps, page = partial(_read, path, options.reading), page_of(photo, options.reading)
        images.append(MappedImage(photo, photos.file_name(photo), path, read_maps, page=page))
    photos.warn_of_others(source)
    options.reading.warn_of_pieces(list(maps.values()))
    categories = options.label_space([thing], source)
    options.background_of(categories)
    return maps_to_images(images, categories, None, source)


def _maps(folder: Path) -> dict[str, list[Path]]:
    """Return the maps of each picture by the path of that without its suffix."""
    found: dict[str, list[Path]] = {}
    fitting: dict[Path, bool] = {}
    for path in list_files(folder, MAP_SUFFIXES, recursive=True):
        place = path.relative_to(folder)
        ending = next((ending for ending in LABEL_ENDINGS if path.stem.endswith(ending)), None)
        if ending is not None:
            name = place.with_name(path.stem.removesuffix(ending)).as_posix()
        elif path.parent.name == "masks":
            if path.parent not in fitting:
                fitting[path.parent] = _has_pictures(path.parent)
            if not fitting[path.parent]:
                continue
            parts = ["images" if part == "masks" else part for part in place.with_suffix("").parts]
            name = PurePosixPath(*parts).as_posix()
        else:
            continue
        found.setdefault(name, []).append(path)
    return found


def _has_pictures(masks: Path) -> bool:
    """Tell whether the folder images beside has a picture of the name of one of the maps."""
    pictures = {path.stem for path in list_files(masks.parent / "images", SUFFIXES)}
    return any(path.stem in pictures for path in list_files(masks, MAP_SUFFIXES))


def _read(path: Path, reading: InstanceReading) -> Maps:
    numbers = reading.read(path)
    look_for_background(numbers, path)
    return None, numbers
