"""What `check_dataset` found, as text."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from axial_deeplab.data.image_warnings import ImageWarning, together
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.map import Segment
from axial_deeplab.util.text import shortened

# The number of centers that the post-processing looks for by default, the paper's.
TOP_K = 200


class SegmentFindings(NamedTuple):
    """A segment, or the whole image of a class.

    Args:
        train_id: its class.
        area: pixels.
        is_crowd: whether it is a crowd.
        is_solid: whether it fills its box as single objects do.
    """

    train_id: int
    area: int
    is_crowd: bool
    is_solid: bool = False

    @classmethod
    def of(cls, segment: Segment) -> "SegmentFindings":
        """Return the findings of a segment: a disc fills 79 % of its box, groups of objects leave gaps."""
        _, _, width, height = segment.bbox or (0, 0, 0, 0)
        is_solid = segment.area >= max(16, 0.7 * width * height)  # a few pixels always fill it
        return cls(segment.train_id, segment.area, segment.is_crowd, is_solid)


@dataclass(frozen=True, slots=True)
class ImageFindings:
    """What was found in one image.

    Args:
        path: image file.
        digest: hash of its file; empty if it could not be read.
        size: (height, width) in pixels.
        void: pixels without segment.
        segments: segments of the ground truth.
        notes: what is odd.
        problem: why it could not be read, None if it could.
    """

    path: str
    digest: bytes = b""
    size: tuple[int, int] = (0, 0)
    void: int = 0
    segments: tuple[SegmentFindings, ...] = ()
    notes: tuple[str | ImageWarning, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class DatasetReport:
    """What was found in a data set; in one that cannot be opened, no more than why.

    Args:
        name: name of the data set.
        findings: findings of its images.
        dataset_problems: what is wrong with the data set beside single images.
        dataset_notes: what is odd beside single images.
    """

    name: str
    findings: tuple[ImageFindings, ...]
    dataset_problems: tuple[str, ...]
    dataset_notes: tuple[str, ...]

    @property
    def has_ground_truth(self) -> bool:
        """Whether there are panoptic maps."""
        return False

    @property
    def classes(self) -> list[tuple[int, str, bool]]:
        """Id, name and whether it is a thing, of each class; none of a data set that cannot be opened."""
        return []

    @property
    def problems(self) -> list[str]:
        """What training would stop at; each names a file and how to fix it."""
        return [*self.dataset_problems, *(f.problem for f in self.findings if f.problem is not None)]

    @property
    def notes(self) -> list[str]:
        """What is odd, but no reason to stop."""
        return together([*self.dataset_notes, *(note for each in self.findings for note in each.notes)])

    @property
    def readable(self) -> list[ImageFindings]:
        """The images that could be read."""
        return [finding for finding in self.findings if finding.problem is None]

    def to_text(self) -> str:
        """Return the report as tables."""
        lines = [self.name, *(f"  {name:22}{value}" for name, value in self.facts())]
        table = self.table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)] if table else []
        lines.append("")
        for row in table:
            first, *others = (
                word.ljust(width) if place < 1 else word.rjust(width)
                for place, (word, width) in enumerate(zip(row, widths, strict=True))
            )
            lines.append("  ".join(["", first, *others]).rstrip())
        return "\n".join(lines)

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield what there is to say of the images, by name."""
        yield "images", f"{len(self.findings)}, of which {len(self.readable)} can be read"
        sizes = Counter(finding.size for finding in self.readable)
        if sizes:
            (usual, times), *_ = sizes.most_common(1)
            small, large = (choose(sizes, key=lambda size: size[0] * size[1]) for choose in (min, max))
            yield (
                "height x width",
                f"{small[0]} x {small[1]} to {large[0]} x {large[1]}; {len(sizes)} sizes, "
                f"{usual[0]} x {usual[1]} is that of {times} images",
            )

    def table(self) -> list[tuple[str, ...]]:
        """Return a table with a line for each class, the first of them the names of the columns."""
        return []


@dataclass(frozen=True)
class ClassFolderReport(DatasetReport):
    """What was found in class folders.

    Args:
        class_names: names of the classes.
    """

    class_names: tuple[str, ...]

    @property
    def classes(self) -> list[tuple[int, str, bool]]:
        """Number, name and whether it is a thing, of each class."""
        return [(number, name, True) for number, name in enumerate(self.class_names)]

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield what there is to say of the images, by name."""
        yield from super().facts()
        yield "classes", str(len(self.class_names))

    def table(self) -> list[tuple[str, ...]]:
        """Return the number of images of each class."""
        counts = Counter(finding.segments[0].train_id for finding in self.readable)
        rows = [(name, str(counts[index])) for index, name in enumerate(self.class_names)]
        return [("class", "images"), *rows]


@dataclass(frozen=True)
class PanopticReport(DatasetReport):
    """What was found in a data set for panoptic segmentation.

    Args:
        categories: its label space.
        is_annotated: whether there are panoptic maps.
    """

    categories: Categories
    is_annotated: bool

    @property
    def classes(self) -> list[tuple[int, str, bool]]:
        """Id, name and whether it is a thing, of each category."""
        return [(each.id, each.name, each.is_thing) for each in self.categories]

    @property
    def has_ground_truth(self) -> bool:
        """Whether there are panoptic maps."""
        return self.is_annotated

    @property
    def notes(self) -> list[str]:
        """What is odd, but no reason to stop."""
        notes = super().notes
        if not self.has_ground_truth:
            return notes
        notes += notes_of_things(self.categories, self.readable)
        void = sum(finding.void for finding in self.readable)
        if void and not self.categories.stuff_ids:
            notes.append(
                "no category is stuff: void pixels teach nothing, so that a network sees things everywhere; "
                "add a background (dataset convert --background NAME)"
            )
        absent = sorted(set(range(len(self.categories))) - {s.train_id for _, s in self._segments()})
        if absent:
            names = shortened([self.categories.names[train_id] for train_id in absent])
            notes.append(f"{len(absent)} of {len(self.categories)} categories never occur: {names}")
        crowded = [f for f in self.readable if len(self._instances(f)) > TOP_K]
        if crowded:
            most = max(crowded, key=lambda finding: len(self._instances(finding)))
            notes.append(
                f"{len(crowded)} images have more than {TOP_K} instances, up to {len(self._instances(most))} "
                f"in {most.path}; raise post_processing.top_k"
            )
        return notes

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield what there is to say of the images, by name."""
        yield from super().facts()
        things = len(self.categories.thing_ids)
        yield "categories", f"{things} things, {len(self.categories) - things} stuff"
        if not self.has_ground_truth:
            yield "ground truth", "none"
            return
        images = self.readable
        if not images:
            return
        shares = [finding.void / (finding.size[0] * finding.size[1]) for finding in images]
        pixels = sum(finding.size[0] * finding.size[1] for finding in images)
        yield (
            "void",
            f"{sum(finding.void for finding in images) / pixels:.1%} of all pixels; "
            f"{min(shares):.1%} to {max(shares):.1%} of an image",
        )
        instances = [len(self._instances(finding)) for finding in images]
        yield "segments of an image", _spread([len(finding.segments) for finding in images])
        yield "instances of an image", _spread(instances)
        crowds = [sum(segment.is_crowd for segment in finding.segments) for finding in images]
        yield "crowds", f"{sum(crowds)} in {sum(map(bool, crowds))} images"
        yield "without segment", f"{sum(not finding.segments for finding in images)} images"
        yield "without instance", f"{instances.count(0)} images"

    def table(self) -> list[tuple[str, ...]]:
        """Return for each category how many images, segments and pixels it has, and how large it is."""
        if not self.has_ground_truth:
            return []
        areas: list[list[int]] = [[] for _ in self.categories]
        crowds, images = Counter[int](), Counter[int]()
        for finding in self.readable:
            images.update({segment.train_id for segment in finding.segments})
        for _, segment in self._segments():
            areas[segment.train_id].append(segment.area)
            crowds[segment.train_id] += segment.is_crowd
        total = max(1, sum(map(sum, areas)))
        head = (
            "category",
            "id",
            "kind",
            "images",
            "segments",
            "crowds",
            "pixels",
            "smallest",
            "median",
            "largest",
        )
        rows = [
            (
                category.name,
                str(category.id),
                "thing" if category.is_thing else "stuff",
                str(images[train_id]),
                str(len(areas[train_id])),
                str(crowds[train_id]),
                f"{sum(areas[train_id]) / total:.1%}",
                *(str(round(f(areas[train_id]))) if areas[train_id] else "-" for f in (min, np.median, max)),
            )
            for train_id, category in enumerate(self.categories)
        ]
        return [head, *rows]

    def _instances(self, finding: ImageFindings) -> list[SegmentFindings]:
        return [s for s in finding.segments if self.categories[s.train_id].is_thing and not s.is_crowd]

    def _segments(self) -> Iterator[tuple[ImageFindings, SegmentFindings]]:
        for finding in self.readable:
            for segment in finding.segments:
                yield finding, segment


def notes_of_things(categories: Categories, images: Sequence[ImageFindings]) -> Iterator[str]:
    """Yield what exporters do to things, with the option of `dataset convert` that mends it.

    Args:
        categories: the label space.
        images: findings of the images that could be read.
    """
    things = [(f, s) for f in images for s in f.segments if categories[s.train_id].is_thing]
    crowds = [(f, s) for f, s in things if s.is_crowd]
    solid = [(f, s) for f, s in crowds if s.is_solid]
    if not categories.thing_ids:
        yield (
            "no category is a thing, so that no object is told from another; exporters such as datumaro "
            "write isthing 0 for all: name those that are (dataset convert --things NAME ...)"
        )
    elif not things and images:
        yield (
            f"none of {len(images)} images has an instance, such as {images[0].path}; were the objects "
            "exported, and does --things or --stuff name the right classes?"
        )
    elif things and len(crowds) == len(things):
        yield (
            f"all {len(things)} segments of things are crowds, such as one in {things[0][0].path}; crowds "
            "count nowhere, and exporters such as datumaro's for Cityscapes mark all objects so: "
            "dataset convert --crowds-are-objects"
        )
    elif len(solid) > len(crowds) / 2:
        finding, segment = solid[0]
        yield (
            f"{len(solid)} of {len(crowds)} crowds fill their boxes, such as a "
            f"{categories.names[segment.train_id]} in {finding.path}; exporters such as darwin-py and "
            "supervision mark objects with holes or parts as crowds: if they are objects, dataset convert "
            "--crowds-are-objects"
        )


def _spread(numbers: Sequence[int]) -> str:
    return f"{min(numbers)} to {max(numbers)}, mean {sum(numbers) / len(numbers):.1f}"
