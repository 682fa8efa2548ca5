"""Parts of a folder that runs of their own predict, and the lists of what each has written."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from axial_deeplab.panoptic.written_list import WrittenList, read_list

# Without COCO's files, what they would be lies there until all is written.
UNFINISHED = "panoptic.part"
JSON = "panoptic.json"


class ShardList(NamedTuple):
    """The list of what a shard has written, its number and the path of the list."""

    number: int
    path: Path
    written: WrittenList


def check_shard(shard: tuple[int, int], place: Path) -> None:
    """Refuse a shard that does not exist, and one that would mix with other results.

    Args:
        shard: its number from 1 on, and the number of shards.
        place: folder of the JSON.

    Raises:
        ValueError: it is out of its range, or there is a JSON or the list of a whole run.
    """
    number, total = shard
    if not 1 <= number <= total:
        raise ValueError(
            f"shard must be I/N, I from 1 to N, got {number}/{total}; give 1/{max(1, total)} for the first"
        )
    for name in (JSON, f"{JSON}.part"):
        if (place / name).exists():
            raise ValueError(
                f"output must be without results of whole runs for a shard, got {place / name}; "
                "give another folder"
            )


def refuse_shards(place: Path) -> None:
    """Refuse to write a whole run beside what shards have written.

    Raises:
        ValueError: there are shards that are not merged.
    """
    for path in place.glob(f"{JSON}.*-of-*.part"):
        raise ValueError(
            f"output must be without results of shards, got {path}; merge them by "
            "`axial-deeplab predict merge`, or give another folder"
        )


def digest_of_names(names: Iterable[str]) -> str:
    """Return a text that is the same for the same names."""
    return hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()


def lists_of_shards(place: Path) -> list[ShardList]:
    """Return the lists of what shards have written into a folder."""
    found = []
    for path in sorted(place.glob(f"{JSON}.*-of-*.part")):
        number, written = re.fullmatch(r".*\.(\d+)-of-\d+\.part", path.name), read_list(path)
        if number is not None and written is not None:
            found.append(ShardList(int(number[1]), path, written))
    return found
