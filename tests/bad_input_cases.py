"""Every kind of bad input that `test_bad_input.py` gives the command line, and what the one line must say."""

import json
import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.torch
import tifffile
import torch
from PIL import Image

from axial_deeplab.models.registry import create_model
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.weights.file import save_weights

CATEGORIES = Categories([Category(3, "ground", False), Category(7, "box", True), Category(8, "disc", True)])
SMALL = {"width_multiplier": 0.0625, "depths": [1, 1, 1, 1], "num_heads": 2, "max_span": 9}
SMALL |= {"semantic_channels": 8, "instance_channels": 8, "instance_head_channels": 8}
SMALL |= {"semantic_low_level_channels": [4, 4], "instance_low_level_channels": [4, 4]}
SMALL |= {"impl": "reference"}  # compiling the fast attention would take longer than all tests here
SPLIT = {"images": "images", "panoptic": "panoptic", "json": "panoptic.json"}
SETTINGS = {
    "model": {"name": "axial_deeplab_nano", "span": 9, "overrides": SMALL},
    "data": {"train": SPLIT},
    "augmentation": {"crop_size": [33, 33]},
    "optim": {"max_steps": 1, "warmup_steps": 0, "lookahead_steps": 1},
    "trainer": {
        "batch_size": 2,
        "num_workers": 0,
        "accelerator": "cpu",
        "progress_bar": False,
        "output": "run",
    },
}

# Every command runs in a folder of its own that has these files.
PREDICT = "predict images/0.jpg --device cpu --weights tiny.safetensors --output out"
DATA = "--images images --panoptic panoptic --json panoptic.json"
EVALUATE = f"evaluate --device cpu --weights tiny.safetensors {DATA}"
PQ = "pq --gt-json panoptic.json --gt-folder panoptic --pred-json predicted.json --pred-folder predicted"
TRAIN = "train --config train.yaml"
CONVERT = "dataset convert maps --output out --thing cell --images images"
SCENES = "scenes --num-images 1 --height 32 --width 32"

Break = Callable[[], object]


class Case(NamedTuple):
    """A command, what is broken before it runs, and what its one line must say."""

    words: str
    names: str
    mends: str
    breaks: Break = lambda: None


def remove(path: str) -> Break:
    return lambda: Path(path).unlink()


def cut(path: str, size: int) -> Break:
    return lambda: Path(path).write_bytes(Path(path).read_bytes()[:size])


def write(path: str, text: str) -> Break:
    return lambda: Path(path).write_text(text)


def folder(path: str) -> Break:
    return lambda: Path(path).mkdir()


def picture(path: str, mode: str, size: tuple[int, int] = (48, 40)) -> Break:
    return lambda: Image.new(mode, size).save(path)


def large_tiff(path: str, bands: int = 3) -> None:
    """Write a TIFF of 200 x 200 pixels, in tiles."""
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, bands), np.uint8)
    tifffile.imwrite(path, pixels, tile=(64, 64), planarconfig="contig", compression="zlib")


def negative_instances() -> None:
    folder("one")()
    folder("m")()
    Image.new("RGB", (20, 10)).save("one/a.png")
    tifffile.imwrite("m/a.tif", np.full((10, 20), -7, np.int32))


def edited(change: Callable[[dict[str, Any]], object], path: str = "panoptic.json") -> Break:
    """Change the document of a JSON file."""

    def edit() -> None:
        document = json.loads(Path(path).read_text())
        change(document)
        Path(path).write_text(json.dumps(document))

    return edit


def first_segment(**values: Any) -> Break:
    return edited(lambda document: document["annotations"][0]["segments_info"][0].update(values))


def last_segment(document: Mapping[str, Any]) -> dict[str, Any]:
    return document["annotations"][0]["segments_info"][-1]


def add_segment_without_pixels(document: Mapping[str, Any]) -> None:
    document["annotations"][0]["segments_info"].append({"id": 4242, "category_id": 7})


def same_id_twice(document: Mapping[str, Any]) -> None:
    last_segment(document)["id"] = document["annotations"][0]["segments_info"][0]["id"]


def weights(change: Callable[[dict[str, torch.Tensor], dict[str, str]], object]) -> Break:
    """Change tensors and metadata of the file of weights."""

    def rewrite() -> None:
        with safetensors.safe_open("tiny.safetensors", framework="pt") as file:
            texts, state = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        change(state, texts)
        safetensors.torch.save_file(state, "tiny.safetensors", metadata=texts)

    return rewrite


def weights_of_a_classifier() -> None:
    model = create_model("axial_resnet26_s", num_classes=3, width_multiplier=0.0625, num_heads=2, max_span=9)
    save_weights("tiny.safetensors", model, CATEGORIES)


def rename_to_deeper_model(state: object, texts: dict[str, str]) -> None:
    texts["model"] = json.dumps({**json.loads(texts["model"]), "depths": [1, 1, 2, 1]})


WEIGHT = "semantic_head.final.weight"
OTHER_CATEGORIES = json.dumps([{**entry, "id": entry["id"] + 1} for entry in CATEGORIES.to_json()])

CASES = {
    # The command line itself.
    "unknown_command": Case("evalute", "evalute", "must be one of train, evaluate"),
    "unknown_option": Case(f"{PREDICT} --colour", "--colour", "see axial-deeplab predict --help"),
    "check_of_no_range": Case(f"dataset check {DATA} --value-range dark", "value_range", 'write "bits 12"'),
    "range_without_quotes": Case(
        f"{PREDICT} --value-range 0 4095", "unrecognized arguments: 4095", 'in quotes, as in --value-range "0'
    ),
    "check_of_a_falling_range": Case(f"dataset check {DATA} --value-range 9,3", "'9,3'", "rising order"),
    "page_0": Case(f"{PREDICT} --page 0", "page must be at least 1, got 0", "--page"),
    "page_of_one": Case(f"{PREDICT} --page 2", "images/0.jpg must have page 2, got 1", "give another --page"),
    "page_no_number": Case(f"{PREDICT} --page two", "--page", "invalid int value: 'two'"),
    "page_beyond_64_bits": Case(f"{PREDICT} --page {10**30}", "--page", "must be at most"),
    "top_k_area_0": Case(
        f"{PREDICT} --top-k-area 0", "top_k_area must be 1 pixel to 2^31 - 1", "None for any"
    ),
    "top_k_area_negative": Case(f"{EVALUATE} --top-k-area -5", "top_k_area", "1 pixel to 2^31 - 1"),
    "top_k_area_a_word": Case(f"{PREDICT} --top-k-area all", "--top-k-area", "invalid int value: 'all'"),
    "top_k_area_of_training_0": Case(
        f"{TRAIN} --post_processing.top_k_area 0",
        "post_processing.top_k_area must be null or positive",
        "--post_processing.top_k_area VALUE",
    ),
    "option_without_value": Case(f"{PREDICT} --top-k", "--top-k", "expected one argument"),
    "option_of_wrong_type": Case(f"{PREDICT} --top-k many", "--top-k", "invalid int value: 'many'"),
    "top_k_0": Case(f"{PREDICT} --top-k 0", "top_k", "must be"),
    "top_k_negative": Case(f"{PREDICT} --top-k -1", "top_k must be 1 to 2^31 - 1", "got -1"),
    "top_k_beyond_64_bits": Case(f"{PREDICT} --top-k {10**30}", "top_k", "None for all"),
    "top_k_beyond_what_python_reads": Case(
        f"{PREDICT} --top-k {'9' * 5000}", "--top-k", "give a number, or all"
    ),
    "top_k_a_fraction": Case(f"{PREDICT} --top-k 1.5", "--top-k: invalid int value: '1.5'", "or all"),
    "top_k_another_word": Case(f"{PREDICT} --top-k none", "--top-k: invalid int value: 'none'", "or all"),
    "top_k_all_of_evaluate_is_no_number": Case(f"{EVALUATE} --top-k ALL", "'ALL'", "give a number, or all"),
    "tile_too_small": Case(
        f"{PREDICT} --tile 63", "tile must be at least 64 pixels, got 63", "give --tile 512"
    ),
    "tile_negative": Case(
        f"{PREDICT} --tile -512", "tile must be at least 64 pixels, got -512", "--tile 512"
    ),
    "tile_no_number": Case(f"{PREDICT} --tile big", "--tile: invalid int value: 'big'", "--help"),
    "overlap_half_a_tile": Case(
        f"{PREDICT} --tile 64 --overlap 33", "overlap must be from 0 to 32 pixels", "a smaller --overlap"
    ),
    "overlap_negative": Case(f"{PREDICT} --overlap -1", "overlap must be from 0", "got -1"),
    "tile_and_long_side": Case(
        f"{PREDICT} --tile 64 --long-side 99", "long_side must be 0 with tiles", "--long-side 0"
    ),
    "tile_beyond_max_size": Case(
        f"{PREDICT} --tile 99 --max-size 64",
        "tile must be at most max_size, 64 pixels, got 99",
        "lower --tile",
    ),
    "tile_and_top_k": Case(
        f"{PREDICT} --tile 64 --top-k 9", "--top-k must come without --tile", "leave it out"
    ),
    "tile_and_json": Case(
        "predict images --weights tiny.safetensors --tile 64 --json panoptic.json",
        "--json must",
        "leave it out",
    ),
    "tile_and_cityscapes": Case(
        f"{PREDICT} --tile 64 --cityscapes", "cityscapes must be False with tiles", "leave out --cityscapes"
    ),
    "tile_and_nms_kernel": Case(
        f"{PREDICT} --tile 64 --nms-kernel 65", "nms_kernel must be at most a tile of 64 pixels", "lower it"
    ),
    "tiff_cut_off_in_tiles": Case(
        PREDICT.replace("0.jpg", "0.tif") + " --tile 64",
        "images/0.tif must be a complete TIFF",
        "replace it",
        lambda: (large_tiff("images/0.tif"), cut("images/0.tif", 20_000)()),
    ),
    "tiff_without_grey_or_color_in_tiles": Case(
        PREDICT.replace("0.jpg", "0.tif") + " --tile 64",
        "got a TIFF of 5 bands",
        "choose them with --channels",
        lambda: large_tiff("images/0.tif", 5),
    ),
    "nms_kernel_0": Case(f"{PREDICT} --nms-kernel 0", "nms_kernel must be 1 pixel", "got 0"),
    "nms_kernel_beyond_64_bits": Case(f"{PREDICT} --nms-kernel {10**30}", "nms_kernel", "2^31 - 1"),
    "stuff_area_beyond_64_bits": Case(f"{PREDICT} --stuff-area {10**30}", "stuff_area", "2^31 - 1"),
    "stuff_area_beyond_64_bits_evaluate": Case(f"{EVALUATE} --stuff-area {10**30}", "stuff_area", "2^31 - 1"),
    "thing_area_beyond_64_bits": Case(f"{PREDICT} --thing-area {10**30}", "thing_area", "2^31 - 1"),
    "predictions_over_annotations": Case(
        "predict images/0.jpg --device cpu --weights tiny.safetensors --output .",
        "panoptic.json",
        "another folder",
    ),
    "predictions_over_annotations_evaluate": Case(
        f"{EVALUATE} --output .", "panoptic.json", "another folder"
    ),
    "thing_area_below_0": Case(f"{EVALUATE} --thing-area -1", "thing_area", "got -1"),
    "thing_threshold_2": Case(f"{PREDICT} --thing-threshold 2", "thing_threshold", "or None, got 2.0"),
    "thing_threshold_no_number": Case(f"{PREDICT} --thing-threshold nan", "thing_threshold", "got nan"),
    "grouping_unknown": Case(f"{PREDICT} --grouping best", "invalid choice: 'best'", "watershed"),
    "center_threshold_infinite": Case(f"{PREDICT} --center-threshold inf", "center_threshold", "got inf"),
    "center_threshold_no_number": Case(f"{PREDICT} --center-threshold nan", "center_threshold", "got nan"),
    "cityscapes_with_other_classes": Case(
        f"{PREDICT} --cityscapes", "categories of Cityscapes", "got 3 for 19"
    ),
    "cityscapes_and_json": Case(
        f"{PREDICT} --cityscapes --json panoptic.json", "--cityscapes must come without --json", "got both"
    ),
    "pq_of_nothing": Case("pq --gt-json panoptic.json", "--pred-json or --pred-labels", "got none; give one"),
    "pq_of_both": Case(f"{PQ} --pred-labels maps", "--pred-json or --pred-labels", "got both; give one"),
    "pq_thing_without_labels": Case(
        f"{PQ} --thing box", "--thing must come with --pred-labels", "leave it out"
    ),
    "pq_labels_in_no_folder": Case(
        "pq --gt-json panoptic.json --pred-labels none --thing box",
        "folder of label maps",
        "got none; correct",
    ),
    "pq_labels_of_several_things": Case(
        "pq --gt-json panoptic.json --pred-labels images", "got several things (box, disc)", "name one"
    ),
    "pq_labels_of_no_class": Case(
        "pq --gt-json panoptic.json --pred-labels images --thing cell", "got 'cell'", "rename it"
    ),
    "pq_labels_of_stuff": Case(
        "pq --gt-json panoptic.json --pred-labels images --thing ground", "which is stuff", "name another"
    ),
    "pq_background_of_a_thing": Case(
        "pq --gt-json panoptic.json --pred-labels images --thing box --background disc",
        "got 'disc', which is a thing",
        "name another",
    ),
    "pq_labels_twice": Case(
        "pq --gt-json panoptic.json --pred-labels panoptic --thing box",
        "one label map, got 0_masks.tif, 0.png in panoptic",
        "take away",
        write("panoptic/0_masks.tif", ""),
    ),
    "pq_labels_missing": Case(
        "pq --gt-json panoptic.json --pred-labels empty --thing box",
        "0_cp_masks.tif",
        "add it",
        folder("empty"),
    ),
    "shard_beyond_the_last": Case(
        f"{PREDICT} --shard 3/2", "shard must be I/N, I from 1 to N, got 3/2", "give 1/2 for the first"
    ),
    "shard_no_numbers": Case(
        f"{PREDICT} --shard first", "--shard must be I/N, got 'first'", "give 1/8 for the first of eight"
    ),
    "shard_and_json": Case(
        f"{PREDICT.replace('images/0.jpg', 'images')} --shard 1/2 --json panoptic.json",
        "--shard must come without --json",
        "give the folder of images alone",
    ),
    "merge_without_shards": Case(
        "predict merge images", "output must have results of predict --shard, got none", "correct the path"
    ),
    "merge_without_folder": Case("predict merge", "DIR", "see axial-deeplab predict merge --help"),
    "workers_none": Case(f"{PREDICT} --workers 0", "workers must be at least 1, got 0", "leave it out"),
    "workers_and_scheduler": Case(
        f"{PREDICT} --workers 2 --scheduler tcp://localhost:8786",
        "workers must be left out with a scheduler",
        "give one of them",
    ),
    "workers_and_onnx": Case(
        f"{PREDICT} --workers 2 --runtime onnx",
        "--runtime onnx must come without --workers",
        "leave them out",
    ),
    "save_unknown_kind": Case(f"{PREDICT} --save png", "invalid choice: 'png'", "labels"),
    "save_nothing": Case(f"{PREDICT} --save", "--save", "expected at least one argument"),
    "save_and_json": Case(
        f"{PREDICT} --save csv --json panoptic.json", "--save must come without --json", "got both"
    ),
    "outlines_and_json": Case(
        f"{PREDICT} --outlines --json panoptic.json", "--outlines must come without --json", "got both"
    ),
    "color_by_another_word": Case(f"{PREDICT} --color-by area", "invalid choice: 'area'", "instance"),
    "threshold_below_0": Case(f"{PREDICT} --center-threshold -1", "center_threshold", "must be"),
    "stuff_area_below_0": Case(f"{PREDICT} --stuff-area -1", "stuff_area", "must be"),
    "max_size_0": Case(f"{PREDICT} --max-size 0", "max_size", "must be at least 1 pixel"),
    "limit_0": Case(f"{EVALUATE} --limit 0", "limit", "must be at least 1 image"),
    "unknown_device": Case(f"{PREDICT} --device gpu9", "gpu9", "try cpu"),
    # Documents of other programs.
    "height_as_text": Case(
        EVALUATE,
        "height must be of type int, got '40'",
        "correct the file",
        edited(lambda d: d["images"][0].update(height="40")),
    ),
    "image_id_beyond_64_bits": Case(
        EVALUATE,
        "id must be an integer of 64 bits",
        "number the images again",
        edited(lambda d: d["images"][0].update(id=2**63)),
    ),
    "category_id_beyond_63_bits": Case(
        EVALUATE,
        "id must be an integer of 63 bits, got 9223372036854775808",
        "correct the file",
        edited(lambda d: d["categories"][0].update(id=2**63)),
    ),
    "category_id_no_number": Case(
        EVALUATE,
        "id must be an integer from 0, got 'three'",
        "correct the file",
        edited(lambda d: d["categories"][0].update(id="three")),
    ),
    "segment_category_no_number": Case(
        EVALUATE,
        "category_id must be of type int, got 'three'",
        "correct the file",
        first_segment(category_id="three"),
    ),
    "segment_id_nan": Case(
        EVALUATE, "id must be of type int, got nan", "correct the file", first_segment(id=float("nan"))
    ),
    "segment_id_with_fraction": Case(
        EVALUATE, "id must be of type int, got 1.5", "correct the file", first_segment(id=1.5)
    ),
    "iscrowd_as_word": Case(
        EVALUATE, "iscrowd must be 0 or 1, got 'yes'", "correct the file", first_segment(iscrowd="yes")
    ),
    "image_id_of_no_image": Case(
        EVALUATE,
        "image_id must be in images, got '77'",
        "add the image",
        edited(lambda d: d["annotations"][0].update(image_id="77")),
    ),
    "annotations_object_of_numbers": Case(
        EVALUATE,
        "annotations must be a list, got dict",
        "correct the file",
        edited(lambda d: d.update(annotations={"1": 5})),
    ),
    "backslashes_that_leave": Case(
        EVALUATE,
        "file_name must stay inside images",
        "use a relative path",
        edited(lambda d: d["images"][0].update(file_name="a\\..\\..\\b.jpg")),
    ),
    "convert_two_images_of_one_map": Case(
        f"{CONVERT} --instances panoptic",
        "images/0.jpg and images/0.png",
        "rename one and its map",
        lambda: shutil.copy("images/0.jpg", "images/0.png"),
    ),
    "convert_without_maps": Case(
        f"{CONVERT} --instances images", "got no images/0.png", "add them, under the names of the images"
    ),
    "convert_ids_that_16_bits_wrapped": Case(
        f"{CONVERT} --background ground --instances wrapped",
        "wrapped/0.tif must have numbers of instances from 0 on, got -32768",
        "write the labels again as int32",
        lambda: (
            Path("wrapped").mkdir(),
            *(tifffile.imwrite(f"wrapped/{n}.tif", np.int16([[-32768, -1], [1, 2]])) for n in (0, 1)),
        ),
    ),
    "convert_categories_no_json": Case(
        "dataset convert maps --output out --images images --instances panoptic --categories train.yaml",
        "train.yaml must be a JSON file",
        "write it again",
    ),
    "convert_hold_out_of_one": Case(
        f"{CONVERT.replace('images images', 'images one')} --instances panoptic --hold-out 5",
        "hold_out must leave images on both sides",
        "add images",
        lambda: (Path("one").mkdir(), shutil.copy("images/0.jpg", "one"), Path("panoptic/1.png").unlink()),
    ),
    # Images.
    "missing_image": Case(
        PREDICT, "images/0.jpg", "must be files or folders that exist", remove("images/0.jpg")
    ),
    "truncated_jpeg": Case(PREDICT, "images/0.jpg", "replace the file", cut("images/0.jpg", 500)),
    "no_image": Case(PREDICT, "images/0.jpg", "replace the file", write("images/0.jpg", "hello")),
    "empty_image_file": Case(PREDICT, "images/0.jpg", "replace the file", write("images/0.jpg", "")),
    "float_image": Case(
        PREDICT.replace("0.jpg", "0.tif"),
        "images/0.tif",
        "give --value-range, such as percentiles 1 99",
        picture("images/0.tif", "F"),
    ),
    "empty_folder": Case(
        "predict empty --weights tiny.safetensors --output out",
        "the folder empty",
        "must have images",
        folder("empty"),
    ),
    "folder_without_images": Case(
        "predict notes --weights tiny.safetensors --output out",
        "the folder notes",
        "must have images",
        lambda: (Path("notes").mkdir(), Path("notes/notes.txt").write_text("x")),
    ),
    # The data set: files.
    "no_data_set": Case("evaluate --weights tiny.safetensors", "--images", "add it"),
    "data_missing_image": Case(
        EVALUATE, "images/1.jpg", "add them or correct the path", remove("images/1.jpg")
    ),
    "data_empty_folder": Case(
        f"{EVALUATE} --images empty", "empty/0.jpg and 1 more", "correct the path", folder("empty")
    ),
    "data_truncated_jpeg": Case(EVALUATE, "images/1.jpg", "replace the file", cut("images/1.jpg", 500)),
    "data_image_of_wrong_size": Case(
        EVALUATE, "images/1.jpg", "must be 40 x 48 pixels", picture("images/1.jpg", "RGB", (40, 40))
    ),
    "missing_png": Case(EVALUATE, "panoptic/1.png", "correct the path", remove("panoptic/1.png")),
    "truncated_png": Case(EVALUATE, "panoptic/1.png", "copy it again", cut("panoptic/1.png", 100)),
    "png_of_wrong_size": Case(
        EVALUATE, "panoptic/1.png", "at the size of the image", picture("panoptic/1.png", "RGB", (40, 40))
    ),
    **{
        f"value_range_{place}": Case(
            f"{PREDICT} --value-range {rule}", "value_range must be full, bits N", 'write "bits 12"'
        )
        for place, rule in enumerate(["dark", "bits", "bits,7", "bits,99", "percentiles,9,3", "4,3", "nan,3"])
    },
    "value_range_of_a_training": Case(f"{TRAIN} --data.value_range dark", "value_range must be", "bits 12"),
    **{
        f"convert_{name.strip('-')}": Case(
            f"dataset convert maps --images images --instances panoptic --thing a --output o {name} {value}",
            f"{name.strip('-')} must be at least",
            f"correct {name}",
        )
        for name, value in (("--page", 0), ("--threshold", -1))
    },
    **{
        f"bare_list_{key}": Case(f"{TRAIN} --{key} {value}", f'key "{key}"', f"write [{value.strip('()')}]")
        for key, value in (("data.channels", "1,1"), ("data.scales", "0.5,1"))
    },
    **{
        f"one_name_for_two_{words.split()[0]}": Case(
            f"dataset convert {words} --thing cell --background cell --output o",
            "--thing and --background must be different, got 'cell' for both",
            "rename it",
        )
        for words in ("maps --images images --instances panoptic", "images")
    },
    **{
        f"convert_masks_{words.split()[0].strip('-')}": Case(
            f"dataset convert masks --images images --masks panoptic --thing a --output o {words}",
            f"{words.split()[0]} must be given with {takers}, got it for masks",
            "leave it out",
        )
        for words, takers in (("--void-label 0", "maps or two-channel"), ("--semantic panoptic", "maps"))
    },
    "palette_png": Case(EVALUATE, "panoptic/1.png", "got palette of", picture("panoptic/1.png", "P")),
    "greyscale_png": Case(
        EVALUATE, "panoptic/1.png", "got greyscale of 8 bits", picture("panoptic/1.png", "L")
    ),
    "png_of_16_bits": Case(
        EVALUATE, "panoptic/1.png", "got greyscale of 16 bits", picture("panoptic/1.png", "I;16")
    ),
    "transparent_png": Case(
        EVALUATE, "panoptic/1.png", "save it without alpha", picture("panoptic/1.png", "RGBA")
    ),
    "jpeg_as_png": Case(
        EVALUATE, "panoptic/1.png", "convert it", lambda: shutil.copy("images/1.jpg", "panoptic/1.png")
    ),
    # The data set: the JSON.
    "missing_json": Case(EVALUATE, "panoptic.json", "correct the path", remove("panoptic.json")),
    "json_is_a_folder": Case(f"{EVALUATE} --json panoptic", "panoptic", "correct the path"),
    "truncated_json": Case(EVALUATE, "panoptic.json", "write it again", cut("panoptic.json", 200)),
    "binary_json": Case(f"{EVALUATE} --json images/0.jpg", "images/0.jpg", "must be a JSON file"),
    "json_is_a_list": Case(EVALUATE, "panoptic.json", "see the COCO format", write("panoptic.json", "[]")),
    "json_without_categories": Case(
        EVALUATE,
        "panoptic.json: categories",
        "must be a list of id, name",
        edited(lambda d: d.pop("categories")),
    ),
    "json_without_images": Case(
        EVALUATE, "panoptic.json: images", "at least one image", edited(lambda d: d.pop("images"))
    ),
    "image_without_annotation": Case(
        EVALUATE, "image 2 (1.jpg)", "add it or remove the image", edited(lambda d: d["annotations"].pop())
    ),
    "annotation_without_image": Case(EVALUATE, "got 2", "add the image", edited(lambda d: d["images"].pop())),
    "image_id_twice": Case(
        EVALUATE, "got 1 twice", "correct the file", edited(lambda d: d["images"][1].update(id=1))
    ),
    "category_without_isthing": Case(
        EVALUATE,
        'categories[1] (id 7) "box" isthing',
        "add it",
        edited(lambda d: d["categories"][1].pop("isthing")),
    ),
    "category_id_twice": Case(
        EVALUATE, "got 7 twice", "change one of them", edited(lambda d: d["categories"][2].update(id=7))
    ),
    "unknown_category": Case(
        EVALUATE,
        "category_id must be in categories, got 99",
        "add the category",
        first_segment(category_id=99),
    ),
    "id_0": Case(
        EVALUATE, "segment id must be from 1", "0 is void, number the segments from 1", first_segment(id=0)
    ),
    "id_too_large": Case(EVALUATE, f"got {2**24}", "must be from 1 to 16777215", first_segment(id=2**24)),
    "id_twice": Case(
        EVALUATE, "segment ids must be unique", "number the segments again", edited(same_id_twice)
    ),
    "id_is_a_text": Case(
        EVALUATE, "segment id must be of type int, got 'x'", "correct the file", first_segment(id="x")
    ),
    "id_without_segment": Case(
        EVALUATE,
        "panoptic/0.png (image 1)",
        "add the segments to the JSON",
        edited(lambda d: d["annotations"][0]["segments_info"].pop()),
    ),
    "source_that_does_not_exist": Case(
        "dataset convert labels --output out", "got labels, which does not exist", "correct the path"
    ),
    "source_of_no_kind": Case("dataset convert images --output out", "images must be of a kind", "--format"),
    "source_of_another_kind": Case(
        "dataset convert images --output out --format via", "images must be a VIA project", "correct the path"
    ),
    "source_packed_and_damaged": Case(
        "dataset convert a.zip --output out",
        "a.zip must be a complete ZIP archive",
        "export it again",
        write("a.zip", "PK"),
    ),
    "channels_0": Case(
        f"{PREDICT} --channels 0 1 2", "channels must be numbers from 1 on, got [0", "is the first"
    ),
    "channels_of_another_network": Case(
        f"{PREDICT} --channels 1 2", "channels must be 3 for", "give as many"
    ),
    "channels_that_a_picture_lacks": Case(
        f"{PREDICT} --channels 4 3 2", "0.jpg must have channel 4, got 3 channels", "others with --channels"
    ),
    "channels_of_another_number_in_tiles": Case(
        PREDICT.replace("0.jpg", "0.tif") + " --tile 64 --channels 6 1 2",
        "0.tif must have channel 6, got 5 channels",
        "others with --channels",
        lambda: large_tiff("images/0.tif", 5),
    ),
    "channels_of_training_0": Case(
        f"{TRAIN} --data.channels [0]", "data.channels must be null or numbers from 1 on", "change it"
    ),
    "channels_of_training_that_a_picture_lacks": Case(
        f"{TRAIN} --data.channels [1,4]", "must have channel 4, got 3 channels", "others with --channels"
    ),
    "channels_that_are_no_colors": Case(
        f"{TRAIN} --data.channels [1,2] --augmentation.color_jitter 0.1",
        "augmentation.color_jitter must be 0 for images of 2 channels",
        "change it",
    ),
    "channels_and_in_channels": Case(
        f"{TRAIN} --data.channels [1,2] --model.overrides.in_channels 3",
        "model.overrides.in_channels must be 2, as many as data.channels, got 3",
        "leave it out",
    ),
    "in_channels_without_channels": Case(
        f"{TRAIN} --model.overrides.in_channels 5", "data.channels must be 5 numbers", "leave in_channels out"
    ),
    "channels_of_dataset_check": Case(
        f"dataset check {DATA} --channels 0", "channels must be numbers from 1 on", "is the first"
    ),
    "page_of_training": Case(
        f"{TRAIN} --data.page 0", "data.page must be null or positive, got 0", "change it"
    ),
    "format_unknown": Case(
        "dataset convert images --output out --format paint", "--format must be one of labelme", "got paint"
    ),
    "format_of_maps": Case(f"{CONVERT} --format via", "--format must be given with a SOURCE", "leave it out"),
    "maps_of_a_source": Case(
        "dataset convert images --output out --instances m", "--instances must be given with", "leave it out"
    ),
    "things_of_maps": Case(
        f"{CONVERT} --things cell", "--things must be given with a SOURCE or coco-", "leave"
    ),
    "crowds_of_maps": Case(
        f"{CONVERT} --crowds-are-objects", "--crowds-are-objects must be given", "leave it"
    ),
    "holes_of_maps": Case(
        f"{CONVERT} --inner-outlines-are-holes", "--inner-outlines-are-holes must be given", "leave it"
    ),
    **{
        f"panoptic_{name}": Case(f"dataset convert . --output out {words}", *says)
        for name, words, says in (
            (
                "things_unknown",
                "--things box cat",
                ("--things must be a class of .", "got 'cat'; correct it"),
            ),
            ("things_and_stuff", "--things box --stuff disc", ("--stuff must not", "leave one out")),
            ("background", "--background rest", ("--background must not be given for COCO", "leave it out")),
            ("page", "--page 2 --copy-images", ("images/0.jpg must be a TIFF for", "leave out --page")),
            ("page_in_place", "--page 2", ("images/0.jpg must have one page to stay", "give --copy-images")),
            ("page_0", "--page 0", ("page must be at least 1, got 0", "correct --page")),
            (
                "things_and_categories",
                "--things a --categories panoptic.json",
                ("--things must not be", "leave it out"),
            ),
        )
    },
    "negative_instances": Case(
        "dataset convert maps --output out --thing cell --background rest --images one --instances m",
        "m/a.tif must have numbers of instances from 0 on, got -7",
        "give --nodata -7",
        negative_instances,
    ),
    "skip_empty_leaves_nothing": Case(
        "dataset convert maps --output out --thing cell --background rest --images one --instances m "
        "--skip-empty --nodata -7",
        "--skip-empty must leave images, got 1",
        "leave it out",
        negative_instances,
    ),
    "path_out_of_the_folder": Case(
        EVALUATE, "'../1.jpg'", "without '..'", edited(lambda d: d["images"][1].update(file_name="../1.jpg"))
    ),
    "absolute_path": Case(
        EVALUATE,
        "'/1.png'",
        "use a relative path",
        edited(lambda d: d["annotations"][1].update(file_name="/1.png")),
    ),
    # Weights.
    "missing_weights": Case(f"{PREDICT} --weights w.safetensors", "w.safetensors", "correct the path"),
    "unknown_shipped_name": Case(
        f"{PREDICT} --weights axial_deeplab_nan", "axial_deeplab_nan", "axial-deeplab weights list"
    ),
    "weights_are_a_folder": Case(f"{PREDICT} --weights images", "images", "correct the path"),
    "truncated_weights": Case(
        PREDICT, "tiny.safetensors", "give a file that", cut("tiny.safetensors", 20_000)
    ),
    "empty_weights": Case(PREDICT, "tiny.safetensors", "give a file that", cut("tiny.safetensors", 0)),
    "image_as_weights": Case(f"{PREDICT} --weights images/0.jpg", "images/0.jpg", "give a file that"),
    "pickle_as_weights": Case(
        PREDICT,
        "tiny.safetensors",
        "give a file that",
        lambda: Path("tiny.safetensors").write_bytes(pickle.dumps(Case)),
    ),
    "module_as_weights": Case(
        PREDICT,
        "got torch.nn.modules.linear.Linear; such a file can run code",
        "save its tensors alone",
        lambda: torch.save(torch.nn.Linear(1, 1), "tiny.safetensors"),
    ),
    "state_dict_as_weights": Case(
        PREDICT,
        "tiny.safetensors",
        "give one that",
        lambda: torch.save({"a": torch.ones(1)}, "tiny.safetensors"),
    ),
    "foreign_safetensors": Case(
        PREDICT, "got None", "save_weights", weights(lambda state, texts: texts.clear())
    ),
    "weights_of_a_classifier": Case(
        PREDICT, "axial_resnet26_s", "choose weights of", weights_of_a_classifier
    ),
    "weights_of_another_model": Case(
        PREDICT,
        "of axial_deeplab_nano, got",
        "are these weights of another model?",
        weights(rename_to_deeper_model),
    ),
    "missing_tensor": Case(
        PREDICT, f"1 missing: {WEIGHT}", "another model?", weights(lambda state, _: state.pop(WEIGHT))
    ),
    "non_finite_weights": Case(
        PREDICT, WEIGHT, "lower learning rate", weights(lambda state, _: state[WEIGHT].fill_(np.nan))
    ),
    "weights_of_other_classes": Case(
        EVALUATE,
        "they differ in id 3 (ground)",
        "must have the categories of weights tiny.safetensors",
        weights(lambda state, texts: texts.update(categories=OTHER_CATEGORIES)),
    ),
    "unknown_knob_in_weights": Case(
        PREDICT,
        "got nms in the weights",
        "choose from",
        weights(lambda state, texts: texts.update(post_processing='{"nms": 3}')),
    ),
    # Outputs. The tests may run as root, whom permissions do not stop; a file in the way stops everybody.
    "output_below_a_file": Case(f"{PREDICT} --output train.yaml/out", "train.yaml", "correct the path"),
    "output_is_a_file": Case(f"{PREDICT} --output train.yaml", "train.yaml", "give another path"),
    "evaluate_output_is_a_file": Case(f"{EVALUATE} --output train.yaml", "train.yaml", "correct the path"),
    "numbers_below_a_file": Case(f"{PQ} --json train.yaml/n.json", "train.yaml", "correct the path"),
    "numbers_are_a_folder": Case(f"{PQ} --json images", "images", "correct the path"),
    "train_output_is_a_file": Case(
        f"{TRAIN} --trainer.output tiny.safetensors", "tiny.safetensors", "correct the path"
    ),
    "scenes_below_a_file": Case(f"{SCENES} --output train.yaml/s", "train.yaml", "correct the path"),
    "scenes_into_a_folder_with_files": Case(
        f"{SCENES} --output images", "images", "choose another or remove it"
    ),
    # Scenes.
    "no_scenes": Case(f"{SCENES} --output s --num-images 0", "num_images", "choose a larger number"),
    "seed_below_0": Case(f"{SCENES} --output s --seed -1", "seed", "choose a larger number"),
    "scenes_too_small": Case(f"{SCENES} --output s --height 8", "height", "draw larger scenes"),
    # Comparing two data sets.
    "pq_without_an_image": Case(
        PQ, "got none for image 2", "predict it", edited(lambda d: d["annotations"].pop(), "predicted.json")
    ),
    "pq_segment_without_pixels": Case(
        PQ,
        "predicted/0.png (image 1)",
        "got none of 4242; remove the segments",
        edited(add_segment_without_pixels, "predicted.json"),
    ),
    "pq_of_wrong_size": Case(
        PQ, "predicted/1.png", "at the size of the image", picture("predicted/1.png", "RGB", (9, 9))
    ),
    "pq_missing_folder": Case(f"{PQ} --pred-folder nowhere", "nowhere", "name it beside predicted.json"),
    "pq_missing_png": Case(PQ, "predicted/1.png", "correct the path", remove("predicted/1.png")),
    # Settings.
    "missing_config": Case("train --config nowhere.yaml", "nowhere.yaml", "correct the path"),
    "config_is_no_mapping": Case(TRAIN, "train.yaml", "write lines like", write("train.yaml", "- a\n- b\n")),
    "config_is_no_yaml": Case(
        TRAIN, "train.yaml", "see the examples", write("train.yaml", "model: [1\ndata: {")
    ),
    "config_is_an_image": Case("train --config images/0.jpg", "images/0.jpg", "see the examples"),
    "config_is_a_folder": Case("train --config images", "images", "correct the path"),
    "empty_config": Case(TRAIN, "train.yaml", "write lines like", write("train.yaml", "")),
    "wrong_key": Case(TRAIN, "lrr", "axial-deeplab train --help", write("train.yaml", "optim: {lrr: 1}")),
    "wrong_section": Case(TRAIN, "optimizer", "train --help", write("train.yaml", "optimizer: {lr: 1}")),
    "wrong_type": Case(TRAIN, "optim.lr", "fast", write("train.yaml", "optim: {lr: fast}")),
    "wrong_length": Case(TRAIN, "crop_size", "33", write("train.yaml", "augmentation: {crop_size: [33]}")),
    "section_of_wrong_type": Case(
        TRAIN,
        "optim must be a section",
        "known there: optimizer, schedule, lr",
        write("train.yaml", "optim: 3"),
    ),
    "value_out_of_range": Case(
        TRAIN, "optim.lr must be positive, got -1", "--optim.lr", write("train.yaml", "optim: {lr: -1}")
    ),
    "knob_out_of_range": Case(f"{TRAIN} --post_processing.top_k 0", "top_k", "must be"),
    "evaluate_config_wrong_key": Case(
        "evaluate --weights tiny.safetensors --config train.yaml",
        "lrr",
        "axial-deeplab train --help",
        write("train.yaml", "optim: {lrr: 1}"),
    ),
    "evaluate_config_without_data": Case(
        "evaluate --weights tiny.safetensors --config train.yaml",
        "data.val.images",
        "set it in the YAML",
    ),
    "unknown_model": Case(
        f"{TRAIN} --model.name axial_deeplab_nan", "'axial_deeplab_nan'", "did you mean axial_deeplab_nano"
    ),
    "unknown_override": Case(
        f'{TRAIN} --model.overrides {{"widht_multiplier":1}}',
        "'widht_multiplier'",
        "choose from width_multiplier",
    ),
    "override_of_wrong_type": Case(
        f'{TRAIN} --model.overrides {{"num_heads":"two"}}', "num_heads", "must be a whole number, got 'two'"
    ),
    "override_out_of_range": Case(f'{TRAIN} --model.overrides {{"num_heads":0}}', "num_heads", "must be"),
    "override_below_0": Case(
        f'{TRAIN} --model.overrides {{"semantic_channels":-8}}', "'semantic_channels': -8", "correct"
    ),
    "override_of_a_setting": Case(
        f'{TRAIN} --model.overrides {{"num_classes":9}}', "num_classes", "correct types and values"
    ),
    "even_span": Case(
        f"{TRAIN} --model.span 4", "span must be a positive odd number of positions, got 4", "try 5"
    ),
    "batch_size_not_divisible": Case(
        f"{TRAIN} --trainer.accumulate 3",
        "trainer.batch_size",
        "must be a multiple of devices x accumulate = 1 x 3",
    ),
    "unknown_precision": Case(f"{TRAIN} --trainer.precision 12", "12", "trainer must be settings"),
    "unknown_accelerator": Case(
        f"{TRAIN} --trainer.accelerator abacus", "abacus", "trainer must be settings"
    ),
    "start_from_missing_weights": Case(f"{TRAIN} --model.weights w.ckpt", "w.ckpt", "correct the path"),
    "resume_missing_checkpoint": Case(f"{TRAIN} --resume w.ckpt", "w.ckpt", "is no file"),
    "resume_from_weights": Case(f"{TRAIN} --resume tiny.safetensors", "tiny.safetensors", "--model.weights"),
    "train_missing_image": Case(TRAIN, "images/1.jpg", "correct the path", remove("images/1.jpg")),
    "train_data_of_other_classes": Case(
        f"{TRAIN} --data.val.images images --data.val.panoptic panoptic --data.val.json predicted.json",
        "they differ in id 3 (dirt)",
        "data.val.json must have the categories of data.train.json",
        edited(lambda d: d["categories"][0].update(name="dirt"), "predicted.json"),
    ),
}

# Numbers that would take all memory, processes or time, or that are none.
ENORMOUS = "1" + "0" * 30
OPTIONS = {
    PREDICT: ("max-size", "long-side", "nms-kernel", "top-k", "stuff-area", "thing-area"),
    EVALUATE: (
        "limit",
        "num-workers",
        "max-size",
        "long-side",
        "nms-kernel",
        "top-k",
        "stuff-area",
        "thing-area",
    ),
    PQ: ("num-workers",),
    f"{SCENES} --output scenes": ("num-images", "seed", "height", "width", "num-workers"),
    f"dataset check {DATA}": ("num-workers",),
    f"{CONVERT} --instances panoptic": ("void-label", "hold-out", "page", "threshold"),
    "demo --output out": ("num-images",),
    "models axial_resnet_s": ("span",),
    "benchmark model axial_resnet_s": ("batch", "span", "rounds"),
}
FRACTIONS = {
    PREDICT: ("center-threshold", "thing-threshold"),
    EVALUATE: ("center-threshold", "thing-threshold"),
}
CASES |= {
    f"{words.split()[0]}_{option}_{value}": Case(
        f"{words} --{option} {value}", option.split("-")[0], f"got {value}" if value != "nan" else "--help"
    )
    for words, options in OPTIONS.items()
    for option in options
    for value in (ENORMOUS, f"-{ENORMOUS}", "nan")
}
CASES |= {
    f"{words.split()[0]}_{option}_{value}": Case(f"{words} --{option} {value}", option.replace("-", "_"), "")
    for words, options in FRACTIONS.items()
    for option in options
    for value in ("nan", "inf", "-1")
}

COMPARE = "experiment compare images/0.jpg --device cpu"
# Nothing of these is the accuracy of a network.
NO_REPORTS: dict[str, tuple[str, bytes]] = {
    "empty": ("a.json", b""),
    "cut": ("a.json", b"{"),
    "list": ("a.json", b"[1]"),
    "deep": ("a.json", b"[" * 100_000),
    "not_utf8": ("a.json", b"\xff\xfe"),
    "text_score": ("a.json", b'{"top1": "50"}'),
    "score_above_100": ("a.json", b'{"top1": 101}'),
    "score_below_0": ("a.json", b'{"All": {"pq": -1}}'),
    "score_nan": ("a.json", b'{"top1": NaN}'),
    "score_infinite": ("a.json", b'{"top1": 1e999}'),
    "score_enormous": ("a.json", b'{"top1": 1' + b"0" * 400 + b"}"),
    "score_bool": ("a.json", b'{"top1": true}'),
    "training_without_validation": ("metrics.csv", b"step,train/loss\n1,2\n"),
    "validation_of_text": ("metrics.csv", b"val/PQ\ntwo\n"),
    "validation_nan": ("metrics.csv", b"val/PQ\nnan\n"),
    "validation_with_nul": ("metrics.csv", b"\0\0val/PQ\n1\n"),
    "validation_long": ("metrics.csv", b"val/PQ\n" + b"9" * 200_000),
}
CASES |= {
    f"results_{what}": Case(
        "tables --results .", "results", "got none in .", partial(Path(name).write_bytes, content)
    )
    for what, (name, content) in NO_REPORTS.items()
}
CASES |= {
    "results_missing": Case("tables --results none", "none", "correct the path"),
    "results_file": Case("tables --results panoptic.json", "panoptic.json", "correct the path"),
    "results_of_pictures": Case("tables --results images", "images", "write one there"),
    "widths_of_text": Case("experiment widths --output w.txt", "w.txt", "must end in .png"),
    "widths_results_missing": Case("experiment widths --results no --output w.png", "no", "correct the path"),
    "compare_one": Case(f"{COMPARE} --weights tiny.safetensors --output c.png", "got 1", "name another one"),
    "compare_missing_weights": Case(
        f"{COMPARE} --weights tiny.safetensors no.ckpt --output c.png", "no.ckpt", "correct the path"
    ),
    "compare_gif": Case(f"{COMPARE} --weights a b --output c.gif", "c.gif", "must end in .png"),
    "compare_names": Case(
        f"{COMPARE} --weights tiny.safetensors tiny.safetensors --names a --output c.png", "got 1", "name all"
    ),
    "compare_missing_picture": Case(
        "experiment compare no.jpg --weights tiny.safetensors tiny.safetensors --output c.png",
        "no.jpg",
        "",
    ),
    "compare_broken_picture": Case(
        f"{COMPARE} --weights tiny.safetensors tiny.safetensors --output c.png",
        "images/0.jpg",
        "",
        cut("images/0.jpg", 500),
    ),
    "runtime_batch": Case("benchmark runtime --batch 8", "--batch", "use benchmark model"),
    "runtime_input": Case("benchmark runtime --input 8x8", "--input", "use benchmark model"),
    "runtime_name": Case("benchmark runtime axial_resnet_q", "axial_resnet_q", "did you mean"),
    "model_runtime": Case("benchmark model --runtime tract", "runtime must be", "got tract"),
    "training_runtime": Case("benchmark training --runtime openvino", "runtime must be", "left out"),
    "runtime_rounds": Case("benchmark runtime --rounds 0", "rounds must be", "got 0"),
    "runtime_dtype": Case("benchmark runtime --dtype int8", "dtype must be", "got int8"),
    "maps_block": Case(
        "attention-maps images/0.jpg --weights tiny.safetensors --pixel 1 1 --block res9 --output m.png",
        "res9",
        "choose one of these",
    ),
    "maps_pixel": Case(
        "attention-maps images/0.jpg --weights tiny.safetensors --pixel 1 99 --output m.png",
        "(1, 99)",
        "move it",
    ),
    "switch_where_nothing_attends": Case(
        "models panoptic_deeplab_resnet50 --set rel_q=false", "rel_q", "decoder='axial'"
    ),
    "attention_of_no_terms": Case(
        "models axial_deeplab_s --set content_logits=false rel_q=false rel_k=false", "content_logits", "keep"
    ),
    "attention_of_no_output": Case(
        "models axial_deeplab_s --set content_output=false rel_v=false decoder=axial",
        "content_output",
        "keep",
    ),
}

# What programs leave in the place of a file: where, with which command.
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
CASES |= {
    f"pointer_of_git_lfs_{number}": Case(
        words,
        f"{path} must be the file itself, got a pointer of Git LFS",
        "run git lfs pull",
        write(path, POINTER),
    )
    for number, (words, path) in enumerate(
        [
            (PREDICT, "images/0.jpg"),
            (PREDICT, "tiny.safetensors"),
            (EVALUATE, "panoptic.json"),
            (EVALUATE, "panoptic/0.png"),
            (PQ, "predicted.json"),
            (TRAIN, "panoptic.json"),
            ("convert w.pth w.safetensors", "w.pth"),
            (f"{CONVERT} --instances panoptic --background rest", "panoptic/0.png"),
        ]
    )
}
CASES |= {
    "web_page_as_weights": Case(
        PREDICT,
        "tiny.safetensors must be the file itself, got a web page",
        "by its address for raw files",
        write("tiny.safetensors", "\n<!DOCTYPE html>\n<html><body>Not found</body></html>"),
    ),
    "web_page_as_photo": Case(PREDICT, "images/0.jpg must be", "download", write("images/0.jpg", "<HTML>")),
    "numbers_over_what_is_read": Case(
        f"{PQ} --json panoptic.json",
        "--json must be a file to write, got panoptic.json, which the command reads",
        "name another",
    ),
    "numbers_over_annotations": Case(
        f"{EVALUATE} --json-out predicted.json",
        "--json-out must be a file to write, got predicted.json, which holds annotations",
        "name another",
    ),
    "weights_over_their_source": Case(
        "convert tiny.safetensors ../files/tiny.safetensors",
        "OUTPUT must be a file to write, got ../files/tiny.safetensors, which the command reads",
        "name another",
    ),
    "figure_over_a_photo": Case(
        "experiment compare images --weights tiny.safetensors tiny.safetensors --output images/0.jpg",
        "output must be none of the pictures, got images/0.jpg",
        "name another",
    ),
    "predictions_into_the_inputs": Case(
        "predict images --weights tiny.safetensors --output images",
        "output must be a folder that has no input, got images with images",
        "give another",
    ),
    "predictions_around_the_inputs": Case(
        "predict images --weights tiny.safetensors --output .",
        "has no input, got . with images",
        "give another",
    ),
    "app_at_no_machine": Case("app --host 1.2.3.4.5", "got 1.2.3.4.5:7860", "choose another --host"),
    "complex_numbers": Case(
        PREDICT,
        "images/0.jpg must have real numbers as pixels, got complex64",
        "numpy.abs",
        lambda: tifffile.imwrite("images/0.jpg", np.ones((40, 48), np.complex64)),
    ),
}

# Beside the files there is last.ckpt, of a training of one step with train.yaml.
CASES_WITH_CHECKPOINT = {
    "new_run_into_the_folder_of_another": Case(
        f"{TRAIN} --trainer.output .", "trainer.output", "give --resume to go on"
    ),
    "resume_of_another_model": Case(
        f"{TRAIN} --resume last.ckpt --model.name axial_deeplab_s",
        "model.name must be axial_deeplab_nano as in last.ckpt, got axial_deeplab_s",
        "leave it, or start a new run",
    ),
    "resume_with_another_span": Case(
        f"{TRAIN} --resume last.ckpt --model.span 7",
        "model.span must be 9 as in last.ckpt, got 7",
        "leave it",
    ),
    "resume_with_another_value_range": Case(
        f"{TRAIN} --resume last.ckpt --data.value_range 0,4095",
        "data.value_range must be full as in last.ckpt, got 0,4095",
        "leave it, or start a new run",
    ),
    "resume_with_another_momentum": Case(
        f"{TRAIN} --resume last.ckpt --optim.momentum 0.5",
        "optim.momentum must be 0.9 as in last.ckpt, got 0.5",
        "leave it, or start a new run",
    ),
    "resume_with_other_channels": Case(
        f"{TRAIN} --resume last.ckpt --data.channels [3,2,1]",
        "data.channels must be None as in last.ckpt, got [3, 2, 1]",
        "leave it, or start a new run",
    ),
    "resume_on_other_classes": Case(
        f"{TRAIN} --resume last.ckpt",
        "they differ in id 3 (dirt)",
        "must have the categories of trainer.resume last.ckpt",
        edited(lambda d: d["categories"][0].update(name="dirt")),
    ),
    "resume_of_a_truncated_checkpoint": Case(
        f"{TRAIN} --resume last.ckpt", "trainer.resume", "must be a checkpoint of", cut("last.ckpt", 30_000)
    ),
    "truncated_checkpoint_as_weights": Case(
        f"{PREDICT} --weights last.ckpt",
        "last.ckpt must be a complete checkpoint",
        "copy it again",
        cut("last.ckpt", 30_000),
    ),
}

# A pipe into which nobody writes: whoever opens it waits for ever.
PIPE = "must be a file, got a pipe or a device"
READS_A_PIPE = {
    "weights": (f"{PREDICT} --weights pipe", "got pipe"),
    "image": (PREDICT.replace("images/0.jpg", "pipe"), "got a pipe or a device"),
    "image_in_tiles": (PREDICT.replace("images/0.jpg", "pipe") + " --tile 64", "got a pipe or a device"),
    "image_of_attention_maps": (
        "attention-maps pipe --weights tiny.safetensors --pixel 1 1 --output out",
        PIPE,
    ),
    "video": (PREDICT.replace("images/0.jpg", "pipe.mp4"), "got a pipe or a device"),
    "onnx": (f"{PREDICT} --runtime onnx --weights pipe", "got pipe"),
    "list": (PREDICT.replace("images/0.jpg", "images") + " --json pipe", PIPE),
    "json": (f"{EVALUATE} --json pipe", PIPE),
    "settings": ("evaluate --weights tiny.safetensors --config pipe", PIPE),
    "settings_of_a_training": ("train --config pipe", PIPE),
    "json_of_a_training": (f"{TRAIN} --data.train.json pipe", PIPE),
    "weights_to_begin_with": (f"{TRAIN} --model.weights pipe", "got pipe"),
    "checkpoint": (f"{TRAIN} --resume pipe", "got pipe"),
    "checkpoint_of_the_output": (f"{TRAIN} --resume --trainer.output pipes", "got pipes/last.ckpt"),
    "ground_truth": (f"{PQ} --gt-json pipe", PIPE),
    "predictions": (f"{PQ} --pred-json pipe", PIPE),
    "png": (f"{PQ} --pred-folder pipes", PIPE),
    "label_map": ("pq --gt-json panoptic.json --thing box --pred-labels pipes", "none of 0_cp_masks.png"),
    "checked": ("dataset check pipe", "got none"),
    "checked_json": ("dataset check --images images --panoptic panoptic --json pipe", PIPE),
    "source": ("dataset convert pipe --output out", "got none of them"),
    "source_of_a_kind": ("dataset convert pipe --output out --format coco", "got no such files"),
    "folder_of_pipes": ("dataset convert pipes --output out", "got none of them"),
    "categories": (f"{CONVERT.replace('--thing cell', '--categories pipe')} --instances panoptic", PIPE),
    "instances": ("dataset convert coco-instances --images images --json pipe --output out", PIPE),
    "weights_to_convert": ("convert pipe out.safetensors", "got pipe"),
    "categories_of_weights": ("convert tiny.safetensors out.safetensors --categories pipe", PIPE),
    "weights_to_export": ("export --weights pipe --output out.onnx", "got pipe"),
    "losses": ("experiment losses pipe --output out.png", PIPE),
    "numbers": (f"{PQ} --json pipe", PIPE),
    "numbers_of_evaluate": (f"{EVALUATE} --json-out pipe", PIPE),
}


def pipes() -> None:
    Path("pipes").mkdir()
    for path in ("pipe", "pipe.mp4", "pipes/last.ckpt", "pipes/0.png", "pipes/1.png", "pipes/a.json"):
        os.mkfifo(path)


if hasattr(os, "mkfifo"):
    CASES |= {f"pipe_as_{name}": Case(*each, ";", pipes) for name, each in READS_A_PIPE.items()}


def checkpoint(change: Callable[[dict[str, Any]], object]) -> Break:
    """Change the content of last.ckpt; what `change` returns, if anything, takes its place."""

    def rewrite() -> None:
        content = torch.load("last.ckpt", weights_only=True)
        other = change(content)
        torch.save(content if other is None else other, "last.ckpt")

    return rewrite


def other_shapes(content: dict[str, Any]) -> None:
    content["state_dict"] = {name: torch.zeros(1) for name in content["state_dict"]}


def overwrite_the_end() -> None:
    content = bytearray(Path("last.ckpt").read_bytes())
    content[-30:] = bytes(30)
    Path("last.ckpt").write_bytes(content)


def part_of_checkpoint(*keys: str | int, change: Callable[[Any], Any] | None = None) -> Break:
    """Replace what is at some keys of the checkpoint, or take it away."""

    def replace(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        if change is None:
            del content[keys[-1]]
        else:
            content[keys[-1]] = change(content[keys[-1]])

    return checkpoint(replace)


STATE = ("optimizer_states", 0, "state", 3)
GROUP = ("optimizer_states", 0, "param_groups", 0)
PROGRESS = ("loops", "fit_loop", "epoch_loop.batch_progress")
OF_OPTIMIZER = "of its values of the optimizer are others, such as 0."
NAN = float("nan")

# What is resumed from -> what is told of it.
FOREIGN: dict[str, tuple[Break, str]] = {
    "tensor": (checkpoint(lambda content: torch.ones(3)), "a Tensor"),
    "list": (checkpoint(lambda content: [1, 2]), "a list"),
    "text": (checkpoint(lambda content: "text"), "a str"),
    "tensors_of_another_program": (
        checkpoint(lambda content: {"model": {"a": torch.ones(1)}}),
        "its axial_deeplab is of type NoneType",
    ),
    "no_metadata": (checkpoint(lambda content: content.update(axial_deeplab=None)), "its axial_deeplab is"),
    "empty_metadata": (
        checkpoint(lambda content: content["axial_deeplab"].clear()),
        "it has no settings and categories",
    ),
    "no_settings": (
        checkpoint(lambda content: content["axial_deeplab"].update(config="x")),
        "it has no settings and categories",
    ),
    "no_tensors": (checkpoint(lambda content: content.pop("state_dict") and None), "its state_dict is"),
    "list_of_tensors": (checkpoint(lambda content: content.update(state_dict=[1])), "its state_dict is"),
    "empty_tensors": (checkpoint(lambda content: content["state_dict"].clear()), "tensors are others"),
    "other_shapes": (checkpoint(other_shapes), "tensors are others, such as model.backbone"),
    "no_optimizer": (
        checkpoint(lambda content: content.pop("optimizer_states") and None),
        "optimizer_states",
    ),
    "empty_optimizer": (checkpoint(lambda content: content["optimizer_states"].clear()), "no state of the"),
    "optimizer_of_text": (
        checkpoint(lambda content: content.update(optimizer_states=["a"])),
        "1 of its values of the optimizer are others, such as 0 (str)",
    ),
    "loops_of_text": (checkpoint(lambda content: content.update(loops="x")), "its loops is of type str"),
    "step_of_text": (checkpoint(lambda content: content.update(global_step="x")), "its global_step is of"),
    "step_below_0": (checkpoint(lambda content: content.update(global_step=-4)), "its global_step is -4"),
    "step_enormous": (
        checkpoint(lambda content: content.update(global_step=10**30)),
        "its global_step is 1000000",
    ),
    "no_version": (
        checkpoint(lambda content: content.pop("pytorch-lightning_version") and None),
        "its pytorch-lightning_version is",
    ),
    "nothing": (write("last.ckpt", ""), "RuntimeError"),
    "module": (lambda: torch.save(torch.nn.Linear(1, 1), "last.ckpt"), "UnpicklingError"),
    "picture": (lambda: shutil.copy("images/0.jpg", "last.ckpt"), "RuntimeError"),
    "json": (lambda: shutil.copy("panoptic.json", "last.ckpt"), "RuntimeError"),
    "cut_at_the_end": (overwrite_the_end, "RuntimeError"),
    "weights_not_finite": (
        part_of_checkpoint("state_dict", "model.offset_head.final.bias", change=lambda each: each * NAN),
        "1 of its tensors are others, such as model.offset_head.final.bias (not finite)",
    ),
    "weights_of_integers": (
        part_of_checkpoint("state_dict", "model.offset_head.final.bias", change=lambda each: each.int()),
        "such as model.offset_head.final.bias (torch.int32 of shape",
    ),
    "state_of_another_shape": (
        part_of_checkpoint(*STATE, "exp_avg", change=lambda each: each[..., None]),
        f"1 {OF_OPTIMIZER}state.3.exp_avg (torch.float32 of shape",
    ),
    "state_of_integers": (
        part_of_checkpoint(*STATE, "exp_avg_sq", change=lambda each: each.long()),
        f"{OF_OPTIMIZER}state.3.exp_avg_sq (torch.int64",
    ),
    "state_not_finite": (
        part_of_checkpoint(*STATE, "slow", change=lambda each: each * NAN),
        f"{OF_OPTIMIZER}state.3.slow (not finite)",
    ),
    "state_infinite": (
        part_of_checkpoint(*STATE, "exp_avg_sq", change=lambda each: each + float("inf")),
        f"{OF_OPTIMIZER}state.3.exp_avg_sq (not finite)",
    ),
    "state_of_text": (part_of_checkpoint(*STATE, "slow", change=str), f"{OF_OPTIMIZER}state.3.slow (str)"),
    "state_without_a_part": (
        part_of_checkpoint(*STATE, "exp_avg"),
        "state.3.exp_avg (missing)",
    ),
    "state_without_slow": (part_of_checkpoint(*STATE, "slow"), f"{OF_OPTIMIZER}state.3.slow (missing)"),
    "state_without_a_parameter": (part_of_checkpoint(*STATE), f"{OF_OPTIMIZER}state.3 (missing)"),
    "state_without_any": (
        part_of_checkpoint("optimizer_states", 0, "state", change=lambda each: {}),
        f"199 {OF_OPTIMIZER}state.0 (missing)",
    ),
    "state_of_one_more": (
        part_of_checkpoint("optimizer_states", 0, "state", change=lambda each: {**each, 999: each[0]}),
        f"{OF_OPTIMIZER}state.999 (too many)",
    ),
    "state_as_a_list": (
        part_of_checkpoint("optimizer_states", 0, "state", change=lambda each: [*each.values()]),
        f"{OF_OPTIMIZER}state (list)",
    ),
    "step_of_the_state_of_two": (
        part_of_checkpoint(*STATE, "step", change=lambda each: each.repeat(2)),
        f"{OF_OPTIMIZER}state.3.step (torch.float32 of shape (2,))",
    ),
    "two_optimizers": (
        part_of_checkpoint("optimizer_states", change=lambda each: each * 2),
        "such as their number",
    ),
    "group_without_rate": (part_of_checkpoint(*GROUP, "lr"), f"{OF_OPTIMIZER}param_groups.0.lr (missing)"),
    "group_without_betas": (part_of_checkpoint(*GROUP, "betas"), "param_groups.0.betas (missing)"),
    "group_of_three_betas": (
        part_of_checkpoint(*GROUP, "betas", change=lambda each: (*each, 1)),
        "0.betas (",
    ),
    "rate_not_finite": (part_of_checkpoint(*GROUP, "lr", change=lambda each: NAN), "param_groups.0.lr (nan)"),
    "rate_of_text": (part_of_checkpoint(*GROUP, "lr", change=lambda each: "fast"), "0.lr (fast)"),
    "group_of_fewer": (part_of_checkpoint(*GROUP, "params", 0), "param_groups.0.params ("),
    "no_group": (part_of_checkpoint(*GROUP), "param_groups ("),
    "no_schedule": (part_of_checkpoint("lr_schedulers"), "its lr_schedulers is of type NoneType"),
    "empty_schedule": (part_of_checkpoint("lr_schedulers", 0), "such as their number ([])"),
    "schedule_of_text": (
        part_of_checkpoint("lr_schedulers", 0, "last_epoch", change=str),
        "1 of its values of the learning rate are others, such as 0.last_epoch (1)",
    ),
    "schedule_below_0": (
        part_of_checkpoint("lr_schedulers", 0, "last_epoch", change=lambda each: -9),
        "0.last_epoch (-9)",
    ),
    "no_score": (
        part_of_checkpoint("callbacks", "Checkpoints", "best_score"),
        "such as Checkpoints.best_score (missing)",
    ),
    "score_not_defined": (
        part_of_checkpoint("callbacks", "Checkpoints", "best_score", change=lambda each: NAN),
        "such as Checkpoints.best_score (nan)",
    ),
    "no_callback": (part_of_checkpoint("callbacks", "Checkpoints"), "such as Checkpoints (missing)"),
    "no_loop": (
        part_of_checkpoint("loops", "fit_loop"),
        "its counts are others, such as fit_loop (missing)",
    ),
    "loop_of_text": (part_of_checkpoint("loops", "fit_loop", change=str), "such as fit_loop (str)"),
    "count_of_text": (
        part_of_checkpoint(*PROGRESS, "total", "ready", change=str),
        "such as fit_loop.epoch_loop.batch_progress.total.ready (1)",
    ),
    "count_missing": (part_of_checkpoint(*PROGRESS, "current", "completed"), "current.completed (missing)"),
    "count_below_0": (
        part_of_checkpoint(*PROGRESS, "current", "ready", change=lambda each: -1),
        "current.ready (-1)",
    ),
    "version_of_nothing": (
        part_of_checkpoint("pytorch-lightning_version", change=lambda each: "x"),
        "its pytorch-lightning_version is 'x'",
    ),
}
CASES_WITH_CHECKPOINT |= {
    f"resume_of_{name}": Case(
        f"{TRAIN} --resume last.ckpt",
        "must be a checkpoint of `axial-deeplab train`, got last.ckpt (",
        found,
        breaks,
    )
    for name, (breaks, found) in FOREIGN.items()
}


def metadata(section: str, **values: Any) -> Break:
    """Change settings in a section of the metadata of the weights."""

    def change(state: object, texts: dict[str, str]) -> None:
        texts[section] = json.dumps({**json.loads(texts.get(section, "{}")), **values})

    return weights(change)


DEEP = "[" * 100_000
NESTED: Any = [[[[[[[[1]]]]]]]]
METADATA = {
    "model": [
        {"name": 3},
        {"name": "axial_deeplab_huge"},
        {"span": "nine"},
        {"span": -9},
        {"span": 1e300},
        {"num_classes": 10**30},
        {"num_classes": 2**31 - 1},
        {"depths": NESTED},
        {"depths": [10**9, 1, 1, 1]},
        {"max_span": 2**30},
        {"width_multiplier": 1e308},
        {"width_multiplier": float("nan")},
        {"norm_eps": "small"},
        {"impl": 3},
        {"in_channels": 10**9},
        {"unknown": 1},
    ],
    "post_processing": [
        {"nms_kernel": "seven"},
        {"nms_kernel": 10**30},
        {"top_k": [1]},
        {"top_k": float("inf")},
        {"center_threshold": "low"},
        {"center_threshold": float("nan")},
        {"void_ids": {"a": 1}},
        {"void_ids": ["a"]},
        {"grouping": 7},
        {"fill_void": "no"},
        {"stuff_area": 1e300},
        {"label_divisor": None},
    ],
    "view": [
        {"max_size": "large"},
        {"max_size": 10**30},
        {"long_side": [1]},
        {"scales": "coco"},
        {"scales": [float("nan")]},
        {"scales": NESTED},
        {"value_range": 12},
    ],
    "low_scores": [{"pixels": "low"}, {"things": [0.4]}, {"agreement": float("nan")}, {"things": None}],
}
CASES |= {
    f"metadata_{section}_{number}": Case(PREDICT, "tiny.safetensors: ", "write the file again", breaks)
    for section, values in METADATA.items()
    for number, breaks in enumerate(metadata(section, **each) for each in values)
}
CASES |= {
    f"metadata_{section}_of_another_type": Case(
        PREDICT,
        f"tiny.safetensors: {section}",
        "",
        weights(lambda _, texts, s=section: texts.update({s: "[1]"})),
    )
    for section in ("model", "post_processing", "view", "categories")
}
CASES |= {
    f"metadata_{section}_too_deep": Case(
        PREDICT,
        f"tiny.safetensors: {section} must be JSON",
        "write the file again",
        weights(lambda _, texts, s=section: texts.update({s: DEEP})),
    )
    for section in ("model", "post_processing", "view", "categories")
}

# Documents that nest without end, that hold nothing, that hold something else.
DOCUMENTS: dict[str, tuple[str, str]] = {
    EVALUATE: ("panoptic.json", "must be a"),
    PQ: ("predicted.json", "must be a"),
    f"dataset check {DATA}": ("panoptic.json", "must be a"),
    PREDICT.replace("images/0.jpg", "images") + " --json panoptic.json": ("panoptic.json", "must be a"),
    TRAIN: ("panoptic.json", "must be a"),
    f"{TRAIN} ": ("train.yaml", "must be a"),
    "dataset convert coco-instances --images images --json a.json --output out": ("a.json", "a.json must be"),
    f"{CONVERT.replace('--thing cell', '--categories a.json')} --instances images": (
        "a.json",
        "a.json",
    ),
    "convert tiny.safetensors out.safetensors --categories a.json": ("a.json", "a.json must be"),
    "dataset convert a.json --output out": ("a.json", "a.json must be"),
    "dataset convert a.geojson --output out": ("a.geojson", "a.geojson must be"),
    "dataset convert a.xml --output out": ("a.xml", "a.xml must be an XML file"),
    "dataset check a.json": ("a.json", "a.json must be"),
    "dataset convert a.yaml --output out --format yolo": ("a.yaml", "a.yaml must be"),
    "experiment losses a.csv --output out.png": ("a.csv", "a.csv must have"),
}
CONTENTS = {"nothing": "", "null": "null", "number": "7", "text": '"text"', "too_deep": DEEP}
CASES |= {
    f"{content}_in_{path}_of_{number}": Case(words, names, ";", write(path, CONTENTS[content]))
    for number, (words, (path, names)) in enumerate(DOCUMENTS.items())
    for content in CONTENTS
}

# Settings of a training -> values that it must not take.
NUMBERS = ("99999999999999", "-1", "nan", "1e400")
TRAINING = {
    **dict.fromkeys(("trainer.batch_size", "trainer.num_workers", "trainer.num_nodes"), NUMBERS),
    **dict.fromkeys(("trainer.accumulate", "trainer.val_interval", "trainer.log_interval"), ("-1", "nan")),
    **dict.fromkeys(
        ("optim.max_steps", "optim.warmup_steps", "optim.lookahead_steps"), ("-1", "nan", "1e400")
    ),
    **dict.fromkeys(("optim.lr", "optim.weight_decay", "optim.ema_decay"), ("-1", "nan", "1e400")),
    "optim.gradient_clip": ("-1", "nan", "1e400"),
    "augmentation.crop_size": ("[99999999999999,99999999999999]", "[-1,-1]", "[nan,nan]", "[]"),
    "model.span": ("99999999999998", "-1", "nan"),
    "data.format": ("paint", "1"),
}
CASES |= {
    f"train_{key}_{value}": Case(f"{TRAIN} --{key} {value}", key.rpartition(".")[2], "")
    for key, values in TRAINING.items()
    for value in values
}
# Arguments of networks.
ARGUMENTS = (
    "width_multiplier=0",
    "width_multiplier=-1",
    "width_multiplier=1e400",
    "depths=[99999999999,1,1,1]",
)
ARGUMENTS += ("width_multiplier=99999999999999", "num_heads=x", "num_heads=99999999999999", "depths=7")
ARGUMENTS += (f"depths={'[' * 5000}", "num_classes=-1", "num_classes=many", "in_channels=0", "span=1e400")
CASES |= {
    f"models_{argument[:40]}": Case(
        f"models axial_resnet_s --set {argument}", argument.partition("=")[0].partition("_")[0], ""
    )
    for argument in ARGUMENTS
}
CASES |= {
    "override_beyond_all_numbers": Case(
        f'{TRAIN} --model.overrides {{"width_multiplier":1e400}}',
        "width_multiplier must be numbers up to",
        "correct it",
    ),
    "override_nested": Case(f"{TRAIN} --model.overrides {'[' * 5000}", "model.overrides", ""),
    "tolerance_of_export_below_0": Case(
        "export --weights tiny.safetensors --output a.onnx --tolerance -1", "--tolerance", "at least 0"
    ),
    "tolerance_of_export_no_number": Case(
        "export --weights tiny.safetensors --output a.onnx --tolerance nan", "--tolerance", "at least 0"
    ),
    "tolerance_of_convert_below_0": Case(
        "convert tiny.safetensors out.safetensors --tolerance -1", "--tolerance", "at least 0"
    ),
    "steps_below_1": Case("experiment reproduce all --steps -1 --output out", "--steps", "at least 1"),
    "benchmark_attention_of_a_size": Case("benchmark attention --input 64", "--input", "benchmark model"),
    "scales_of_no_number": Case(f"{PREDICT} --scales nan", "scales", "1 is the size of the image"),
    "scales_beyond_all": Case(f"{PREDICT} --scales 1e400", "scales", "1 is the size of the image"),
    "scales_enormous": Case(f"{EVALUATE} --scales 1e9", "scales", "1 is the size of the image"),
    "scales_0": Case(f"{EVALUATE} --scales 0.5,0", "scales", "1 is the size of the image"),
    "port_enormous": Case("app --port 99999999999", "--port", "at most 65535"),
    "crop_size_enormous": Case(
        "convert tiny.safetensors out.safetensors --crop-size 99999999999999", "crop_size", "no side above"
    ),
    "pixel_outside": Case(
        "attention-maps images/0.jpg --pixel 99999 1 --weights tiny.safetensors --output a.png", "pixel", ""
    ),
}
