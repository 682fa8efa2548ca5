"""What a reader of a tool's files is told beside them, and what it gives back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from axial_deeplab.data.convert.instance_maps import InstanceReading
from axial_deeplab.data.convert.unwritten import UnwrittenImage
from axial_deeplab.panoptic.categories import Categories, Category, warn_of_names
from axial_deeplab.util.text import shortened

ToConvert = tuple[list[UnwrittenImage], Categories]


@dataclass(frozen=True)
class ReadOptions:
    """What the files of a tool do not say.

    Args:
        images: folder of the pictures; None looks beside the annotations.
        categories: the label space; None takes the classes that the files name.
        thing: class of shapes that have none.
        background: stuff where nothing is drawn, a class of the files or a new one; None makes that void.
        stuff: classes of the files that are stuff; all others are things.
        things: classes of the files that are things, all others are stuff; instead of `stuff`.
        crowds_are_objects: take what the files mark as crowds for single objects.
        inner_outlines_are_holes: in COCO's polygons, an outline within another of its object is a hole.
        void_label: class of a two-channel map that means void.
        attribute: which attribute of a shape is its class, where a tool leaves that open.
        reading: how maps of instances are read, and which page of pictures that have several.
        scratch: folder for what the files hold packed, which lives as long as the images are needed; None
            refuses archives, and pictures inside of annotations.

    Raises:
        ValueError: categories are given in two ways, or thing and background are one.
    """

    images: Path | None = None
    categories: Categories | None = None
    thing: str | None = None
    background: str | None = None
    stuff: Sequence[str] = ()
    things: Sequence[str] = ()
    crowds_are_objects: bool = False
    inner_outlines_are_holes: bool = False
    void_label: int = 0
    attribute: str | None = None
    reading: InstanceReading = InstanceReading()  # noqa: RUF009  # frozen
    scratch: Path | None = None

    def __post_init__(self) -> None:
        if self.background is not None and self.thing == self.background:
            raise ValueError(
                f"--thing and --background must be different, got {self.thing!r} for both; rename it"
            )
        if self.categories is not None and (self.stuff or self.things):
            raise ValueError(
                f"--{'stuff' if self.stuff else 'things'} must not be given with --categories, which say "
                "what is stuff; leave it out"
            )
        if self.stuff and self.things:
            raise ValueError("--stuff must not be given with --things, whose rest is stuff; leave one out")

    @property
    def thing_or_object(self) -> str:
        """The class of shapes that have none.

        Raises:
            ValueError: it is the background.
        """
        return str(replace(self, thing=self.thing or "object").thing)

    def label_space(self, names: Iterable[str], source: Path) -> Categories:
        """Return the categories 1, 2, ... of names in this order, a background that is none of them in front.

        Args:
            names: classes of the files.
            source: what messages call the files.

        Raises:
            ValueError: the files name no class, or not one that is asked for.
        """
        names = list(dict.fromkeys(names))
        if self.categories is not None:
            known = set(self.categories.names)
            for name in (*names, *filter(None, [self.background])):
                if name not in known:
                    raise ValueError(
                        f"{source} must have only classes of the categories, got {name!r}; add it to them"
                    )
            return self.categories
        if not names:
            raise ValueError(
                f"{source} must have a shape with a class, got none; draw some, or give --categories"
            )
        stuff = {*self.stuff_among(names, source), self.background}
        if self.background is not None and self.background not in names:
            names.insert(0, self.background)
        warn_of_names(names, source)
        return Categories([Category(number, name, name not in stuff) for number, name in enumerate(names, 1)])

    def stuff_among(self, names: Sequence[str], source: Path) -> set[str]:
        """Return the stuff among the classes of the files.

        Raises:
            ValueError: a class that is asked for is none of them.
        """
        for name in (*self.stuff, *self.things):
            if name not in names:
                raise ValueError(
                    f"--{'stuff' if self.stuff else 'things'} must be a class of {source} "
                    f"({shortened(names)}), got {name!r}; correct it"
                )
        return set(names) - set(self.things) if self.things else set(self.stuff)

    def refuse(self, title: str, *names: str) -> None:
        """Refuse options that a kind of files has no use for, since they say it themselves.

        Raises:
            ValueError: one is given.
        """
        for name in names:
            if getattr(self, name) not in (None, [], ()):
                raise ValueError(f"--{name} must not be given for {title}, which has its own; leave it out")

    def with_background(self, categories: Categories) -> Categories:
        """Return categories of maps and a background that is none of them, behind them."""
        if self.background is None or self.background in categories.names:
            return categories
        return Categories([*categories, Category(max(categories.ids) + 1, self.background, False)])

    def background_of(self, categories: Categories) -> int | None:
        """Return the train id of the stuff where nothing is drawn, None for void.

        Raises:
            ValueError: it is a thing.
        """
        if self.background is None:
            return None
        train_id = categories.names.index(self.background)
        if categories[train_id].is_thing:
            raise ValueError(
                f"--background must be stuff, got the thing {self.background!r}; name another class"
            )
        return train_id
