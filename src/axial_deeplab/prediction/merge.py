"""Putting together what the shards of a run have written."""

import os
import shutil
from contextlib import ExitStack
from itertools import chain, repeat
from pathlib import Path

from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.writer import PanopticWriter
from axial_deeplab.panoptic.written_list import image_at
from axial_deeplab.prediction.files import write_of_all
from axial_deeplab.prediction.frame_list import LIST_SUFFIX
from axial_deeplab.prediction.predicted_files import PredictedFiles
from axial_deeplab.prediction.save.kinds import Saver
from axial_deeplab.prediction.shards import JSON, UNFINISHED, lists_of_shards
from axial_deeplab.util.files import opened
from axial_deeplab.util.text import shortened


def merge_shards(output: str | os.PathLike[str]) -> PredictedFiles:
    """Write the files of all images together, which shards leave open: those that one run would have written.

    Args:
        output: folder into which all shards were predicted, or copied.

    Returns:
        What the shards have done, together.

    Raises:
        ValueError: there are no shards, or some are missing, not finished, or of other weights, options or
            files than the rest; or some images could not be read (the others are written nevertheless).
        OSError: a file cannot be written.
    """
    output = Path(output)
    place = output / UNFINISHED if lists_of_shards(output / UNFINISHED) else output
    shards = lists_of_shards(place)
    if not shards:
        raise ValueError(
            f"output must have results of predict --shard, got none in {output}; correct the path"
        )
    head = shards[0].written.head
    for shard in shards:
        if shard.written.head != head:
            raise ValueError(
                f"shards must be of the same weights, options and files, got others in {shard.path}; "
                "remove it and run that shard again, or give each run a folder of its own"
            )
    total = head["num_shards"]
    finished = {each.number for each in shards if each.written.finished is not None}
    missing = [f"{number}/{total}" for number in range(1, total + 1) if number not in finished]
    if missing:
        raise ValueError(
            f"shards must all be finished, got --shard {shortened(missing, 1)} that is not; "
            "run it again: it goes on where it was"
        )
    categories = Categories.from_json(head["categories"])
    writer = PanopticWriter(place / "panoptic", place / JSON, categories, settings=head["settings"])
    done = PredictedFiles(output)
    for shard in shards:
        done.add_report(shard.written.finished or {})
    with ExitStack() as stack:
        stack.callback(writer.release)
        lists = [stack.enter_context(opened(shard.path)) for shard in shards]
        lines = (
            zip(repeat(file), shard.written.written.values())
            for file, shard in zip(lists, shards, strict=True)
        )
        for file, line in sorted(chain.from_iterable(lines), key=lambda each: each[1].place or 0):
            image, annotation, _, _ = image_at(file, line.offset)
            new_id = writer.new_id(image["id"] if head["numbered"] else None)
            size = image["height"], image["width"]
            writer.keep(
                {**annotation, "image_id": new_id},
                size,
                image_file_name=image["file_name"],
                labels=image.get("labels"),
            )
        if writer.num_images:
            writer.close()
            write_of_all(writer, Saver(head["save"], output, categories), contact_sheet=head["contact_sheet"])
    for path in [shard.path for shard in shards] + list((output / "overlay").rglob(f"*.mp4{LIST_SUFFIX}")):
        path.unlink()
    if place != output:
        shutil.rmtree(place)
    done.raise_failures(head["num_files"])
    return done
