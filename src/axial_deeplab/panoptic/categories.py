"""The label space: which categories a data set has, and which are things."""

import colorsys
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, overload

from axial_deeplab.util.text import shortened, spelled_alike

Color = tuple[int, int, int]

BLACK: Color = (0, 0, 0)
# Hashes of names are ids of some tools; this is the most that arrays of 64 bits hold.
MAX_CATEGORY_ID = 2**63 - 1
# 1/phi: steps of this length around the color wheel never crowd together.
GOLDEN_RATIO = 0.6180339887498949
LIGHTNESS = (0.55, 0.42, 0.70, 0.49, 0.62)
SATURATION = (0.75, 0.90, 0.60)


@dataclass(frozen=True, slots=True)
class Category:
    """One category of a data set.

    Args:
        id: the data set's own number, any integer of 63 bits from 0 (the numbers may have gaps).
        name: what people call it.
        is_thing: countable (a thing, with instances) or not (stuff).
        color: red, green, blue, each 0..255; None takes one from the palette.
    """

    id: int
    name: str
    is_thing: bool
    color: Color | None = None


class Categories(Sequence[Category]):
    """The categories of a data set, ordered by id; the position in this order is the train id.

    Every category has a color of its own that is not black (black is void): a missing, black or repeated
    color is replaced from a fixed palette.

    Args:
        categories: the categories, in any order.

    Raises:
        ValueError: no category, or ids or names that occur twice.
    """

    def __init__(self, categories: Iterable[Category]) -> None:
        ordered = sorted(categories, key=lambda category: category.id)
        if not ordered:
            raise ValueError("categories must have at least one entry, got none; list id, name and isthing")
        _refuse_repeated("id", [category.id for category in ordered])
        _refuse_repeated("name", [category.name for category in ordered])
        self._categories = tuple(_with_distinct_colors(ordered))
        self._train_ids = {category.id: train_id for train_id, category in enumerate(self._categories)}

    def __len__(self) -> int:
        return len(self._categories)

    @overload
    def __getitem__(self, train_id: int) -> Category: ...

    @overload
    def __getitem__(self, train_id: slice) -> tuple[Category, ...]: ...

    def __getitem__(self, train_id: int | slice) -> Category | tuple[Category, ...]:
        return self._categories[train_id]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Categories) and self._categories == other._categories

    def __hash__(self) -> int:
        return hash(self._categories)

    def __repr__(self) -> str:
        return f"Categories({len(self.thing_ids)} things, {len(self.stuff_ids)} stuff)"

    @property
    def ids(self) -> tuple[int, ...]:
        """The data set's ids in the order of the train ids."""
        return tuple(category.id for category in self._categories)

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the order of the train ids."""
        return tuple(category.name for category in self._categories)

    @property
    def colors(self) -> tuple[Color, ...]:
        """The colors (red, green, blue) in the order of the train ids."""
        return tuple(category.color or BLACK for category in self._categories)

    @property
    def thing_ids(self) -> tuple[int, ...]:
        """The train ids of the things."""
        return tuple(train_id for train_id, category in enumerate(self._categories) if category.is_thing)

    @property
    def stuff_ids(self) -> tuple[int, ...]:
        """The train ids of the stuff."""
        return tuple(train_id for train_id, category in enumerate(self._categories) if not category.is_thing)

    def has_id(self, category_id: int) -> bool:
        """Return whether the data set has a category with this id."""
        return category_id in self._train_ids

    def train_id(self, category_id: int) -> int:
        """Return the train id of a category of the data set.

        Raises:
            ValueError: there is no such category.
        """
        if category_id not in self._train_ids:
            raise ValueError(
                f"category_id must be one of the {len(self)} ids in categories ({shortened(self.ids, 8)}), "
                f"got {category_id}; add the category or correct the id"
            )
        return self._train_ids[category_id]

    def require_same_classes(self, expected: "Categories", own_name: str, expected_name: str) -> None:
        """Refuse another label space that differs in more than colors.

        Args:
            expected: the other label space.
            own_name: what the message calls this one.
            expected_name: what the message calls the other.

        Raises:
            ValueError: ids, names or things differ.
        """
        classes, wanted = ([(c.id, c.name, c.is_thing) for c in space] for space in (self, expected))
        if classes != wanted:
            odd = next((c for c in classes if c not in wanted), None) or next(
                c for c in wanted if c not in classes
            )
            raise ValueError(
                f"{own_name} must have the categories of {expected_name}, "
                f"got {len(classes)} for {len(wanted)}; they differ in id {odd[0]} ({odd[1]})"
            )

    @classmethod
    def from_json(
        cls, entries: Any, *, source: str = "categories", problems: list[str] | None = None
    ) -> "Categories":
        """Read the `categories` list of a COCO panoptic document.

        Args:
            entries: a list of {"id", "name", "isthing", optional "color"}.
            source: what error messages call the list, usually its file.
            problems: gets what is wrong with each entry before the list is refused; None stops at the first.

        Raises:
            ValueError: an entry is incomplete or has a value that is not allowed.
        """
        if not isinstance(entries, list):
            raise ValueError(
                f"{source} must be a list of id, name and isthing, got {type(entries).__name__}; "
                "see the COCO panoptic format"
            )
        categories: list[Category] = []
        for index, entry in enumerate(entries):
            try:
                categories.append(_from_json(entry, f"{source}[{index}]"))
            except ValueError as error:
                if problems is None:
                    raise
                problems.append(str(error))
        if len(categories) < len(entries):
            raise ValueError(f"{source} must be complete, got {len(entries) - len(categories)} that are not")
        try:
            return cls(categories)
        except ValueError as error:
            message = str(error)
            raise ValueError(message if message.startswith(source) else f"{source}: {message}") from None

    def to_json(self) -> list[dict[str, Any]]:
        """Return the `categories` list of a COCO panoptic document."""
        return [
            {"id": c.id, "name": c.name, "isthing": int(c.is_thing), "color": list(c.color or BLACK)}
            for c in self._categories
        ]


def whole_number(value: object) -> int | None:
    """Return the integer that a value of a JSON is, None if it is none.

    Programs write ids as 7, 7.0 or "7"; all three are the same id.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        digits = value.removeprefix("-")
        return int(value) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) else None


def warn_of_names(names: Iterable[str], source: object) -> None:
    """Warn of classes that differ in capitals, spaces or underscores alone.

    Args:
        names: classes, each once.
        source: what messages call the file.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(" ".join(spelled_alike(name).replace("_", " ").split()), []).append(name)
    for group in groups.values():
        if len(group) > 1:
            alike = ", ".join(map(repr, group))
            warnings.warn(
                f"{source}: the classes {alike} differ in capitals, spaces or underscores alone; if they are "
                "one, name them alike",
                stacklevel=3,
            )


def palette(start: int = 0) -> Iterator[Color]:
    """Yield endless well separated colors, none of them black; `start` skips the first ones."""
    for index in count(start):
        rgb = colorsys.hls_to_rgb(
            (0.58 + index * GOLDEN_RATIO) % 1.0,
            LIGHTNESS[index % len(LIGHTNESS)],
            SATURATION[index % len(SATURATION)],
        )
        red, green, blue = (round(255 * channel) for channel in rgb)
        yield red, green, blue


def _with_distinct_colors(categories: Sequence[Category]) -> list[Category]:
    taken = {BLACK}
    keeps = []
    for category in categories:
        keeps.append(category.color is not None and category.color not in taken)
        if category.color is not None:
            taken.add(category.color)
    colored = []
    for train_id, (category, keep) in enumerate(zip(categories, keeps, strict=True)):
        if not keep:
            color = next(color for color in palette(train_id) if color not in taken)
            taken.add(color)
            category = replace(category, color=color)
        colored.append(category)
    return colored


def _from_json(entry: Any, where: str) -> Category:
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where} must be an object with id, name, isthing, got {entry!r}; correct the file")
    category_id = whole_number(entry.get("id"))
    if category_id is None or not 0 <= category_id <= MAX_CATEGORY_ID:
        rule = "of 63 bits" if category_id is not None and category_id > 0 else "from 0"
        raise ValueError(f"{where} id must be an integer {rule}, got {entry.get('id')!r}; correct the file")
    where = f"{where} (id {category_id})"
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise ValueError(f"{where} name must be a text, got {name!r}; correct the file")
    is_thing = entry.get("isthing")
    if is_thing not in (0, 1, "0", "1"):
        raise ValueError(
            f'{where} "{name}" isthing must be 1 (thing) or 0 (stuff), got {is_thing!r}; '
            "add it: a panoptic data set must say which categories have instances"
        )
    color = _color_from_json(entry.get("color"), where)
    return Category(id=category_id, name=name, is_thing=bool(int(is_thing)), color=color)


def _color_from_json(color: Any, where: str) -> Color | None:
    if color is None:
        return None
    if isinstance(color, str) and re.fullmatch("#[0-9a-fA-F]{6}", color):  # as Label Studio writes them
        color = list(bytes.fromhex(color[1:]))
    if (
        not isinstance(color, list | tuple)
        or len(color) != 3
        or not all(isinstance(channel, int) and 0 <= channel <= 255 for channel in color)
    ):
        raise ValueError(f"{where} color must be three integers 0..255, got {color!r}; correct or remove it")
    red, green, blue = color
    return red, green, blue


def _refuse_repeated(what: str, values: Sequence[Any]) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} must occur once in categories, got {value!r} twice; change one of them")
        seen.add(value)
