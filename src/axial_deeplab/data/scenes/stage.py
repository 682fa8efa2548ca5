"""Putting things on the stage: sizes, places, who stands in front of whom."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from axial_deeplab.data.scenes import people_and_animals as living
from axial_deeplab.data.scenes import vehicles
from axial_deeplab.data.scenes.canvas import Canvas, Owner, Pen
from axial_deeplab.data.scenes.landscape import foliage, tree
from axial_deeplab.data.scenes.light import Color, hsv, vary

Box = tuple[float, float, float, float]
# Pixels of an instance below which nobody, and no small network, recognizes it.
LEAST_AREA = 48.0
# Color of what has no category, and how much it varies.
ODD_OBJECTS: dict[str, tuple[Color, float]] = {
    "bench": ((140, 96, 60), 0.1),
    "rock": ((140, 134, 128), 0.1),
    "bin": ((70, 96, 78), 0.2),
    "bale": ((206, 172, 92), 0.06),
}
SAME_OVERLAP, OTHER_OVERLAP = 0.22, 0.42


@dataclass(frozen=True)
class Kind:
    """A way to draw a thing: its category, its size in meters, and how much of that box it covers."""

    category: str
    draw: Callable[[Pen, np.random.Generator], None]
    wide: float
    tall: float
    cover: float
    sizes: tuple[float, float] = (0.92, 1.08)


KINDS = {
    "person": Kind("person", living.person, 0.66, 1.78, 0.5, (0.72, 1.06)),
    "dog": Kind("dog", living.dog, 1.35, 0.85, 0.42, (0.75, 1.15)),
    "sheep": Kind("sheep", living.sheep, 1.4, 1.02, 0.6, (0.8, 1.1)),
    "flying_bird": Kind("bird", living.flying_bird, 0.85, 0.45, 0.4),
    "standing_bird": Kind("bird", living.standing_bird, 0.75, 0.6, 0.45),
    "swimming_bird": Kind("bird", living.swimming_bird, 0.75, 0.5, 0.5),
    "car_side": Kind("car", vehicles.car_side, 4.3, 1.55, 0.75),
    "car_end": Kind("car", vehicles.car_end, 1.95, 1.55, 0.85),
    "bus_side": Kind("bus", vehicles.bus_side, 8.1, 3.2, 0.92),
    "bus_end": Kind("bus", vehicles.bus_end, 2.6, 3.1, 0.92),
    "sailing_boat": Kind("boat", vehicles.sailing_boat, 6.4, 7.6, 0.4, (0.8, 1.3)),
    "motor_boat": Kind("boat", vehicles.motor_boat, 6.4, 2.8, 0.6, (0.8, 1.5)),
    "rowing_boat": Kind("boat", vehicles.rowing_boat, 5.2, 0.95, 0.75),
    "balloon": Kind("balloon", vehicles.balloon, 15.4, 20.0, 0.6),
    "sign": Kind("sign", vehicles.sign, 1.25, 2.8, 0.35),
}


def _overlap(first: Box, second: Box) -> float:
    """Return the share of the smaller box that the two have in common."""
    wide = min(first[2], second[2]) - max(first[0], second[0])
    tall = min(first[3], second[3]) - max(first[1], second[1])
    if wide <= 0 or tall <= 0:
        return 0.0
    least = min(
        (first[2] - first[0]) * (first[3] - first[1]), (second[2] - second[0]) * (second[3] - second[1])
    )
    return wide * tall / max(least, 1e-6)


class Stage:
    """Collects what stands in a scene and draws it from far to near.

    Args:
        canvas: the canvas.
        autumn: whether the leaves have turned.
    """

    def __init__(self, canvas: Canvas, autumn: bool) -> None:
        self.canvas, self.rng, self.autumn = canvas, canvas.rng, autumn
        self._queue: list[tuple[float, Callable[[], None]]] = []
        self._taken: list[tuple[str, Box]] = []
        self.num_things = 0

    def later(self, row: float, draw: Callable[[], None]) -> None:
        """Draw something when its turn comes: the smaller its row, the earlier."""
        self._queue.append((row, draw))

    def finish(self) -> None:
        """Draw all that was put on the stage, from far to near."""
        for _, draw in sorted(self._queue, key=lambda entry: entry[0]):
            draw()

    def _is_free(self, category: str, box: Box) -> bool:
        return all(
            _overlap(box, other) <= (SAME_OVERLAP if name == category else OTHER_OVERLAP)
            for name, other in self._taken
        )

    def put(
        self,
        name: str,
        x: float,
        row: float,
        *,
        scale: float | None = None,
        flip: bool | None = None,
        order: float | None = None,
    ) -> bool:
        """Put a thing where it touches the ground; return False where it is too small, hidden or in the way.

        Args:
            name: a key of `KINDS`.
            x: column of its middle.
            row: row of its foot.
            scale: pixels per meter; by default what the camera makes of a thing on the ground.
            flip: whether it looks to the left; by chance if None.
            order: row that decides who is in front, by default its foot.
        """
        kind, rng, canvas = KINDS[name], self.rng, self.canvas
        flip = rng.random() < 0.5 if flip is None else flip
        on_ground = scale is None
        size = rng.uniform(*kind.sizes)
        scale = size * (canvas.camera.scale_at(row) if scale is None else scale)
        wide, tall = kind.wide * scale, kind.tall * scale
        box = (x - wide / 2, row - tall, x + wide / 2, row)
        seen = _overlap(box, (0.0, 0.0, float(canvas.width), float(canvas.height)))
        small = wide * tall * kind.cover * seen < LEAST_AREA or min(wide, tall) < 6.0
        if small or seen < 0.45 or not self._is_free(kind.category, box):
            return False
        self._taken.append((kind.category, box))
        self.num_things += 1
        haze = (
            canvas.light.haze(canvas.camera.depth_at(row), 0.55)
            if on_ground
            else canvas.light.haze(60.0, 0.35)
        )

        def draw() -> None:
            number = canvas.own(Owner(kind.category, is_instance=True, fine=0.035, medium=0.03))
            if on_ground:
                canvas.shadow(
                    x - 0.22 * canvas.light.sun * tall,
                    row,
                    0.5 * wide + 0.12 * tall,
                    max(0.045 * tall, 0.03 * wide),
                )
            kind.draw(Pen(canvas, number, x, row, scale, flip=flip, haze=haze), rng)

        self.later(row if order is None else order, draw)
        return True

    def put_some(
        self,
        names: Sequence[str],
        weights: Sequence[float],
        place: Callable[[str], tuple[float, float]],
        count: int,
    ) -> None:
        """Put up to `count` things of random kinds where `place(name)` says (column, row)."""
        chances = np.asarray(weights) / np.sum(weights)
        placed = 0
        for _ in range(4 * count):
            name = str(self.rng.choice(list(names), p=chances))
            placed += self.put(name, *place(name))
            if placed == count:
                return

    def put_crowd(self, name: str, x: float, row: float, count: int) -> None:
        """Put a group that nobody can count: one crowd segment."""
        kind, rng, canvas = KINDS[name], self.rng, self.canvas
        scale = canvas.camera.scale_at(row)
        half = 0.3 * count * kind.wide * scale
        box = (x - half, row - kind.tall * scale * 1.1, x + half, row + 1)
        inside = _overlap(box, (0.0, 0.0, float(canvas.width), float(canvas.height)))
        if (
            kind.tall * scale < 8
            or inside < 0.7
            or any(_overlap(box, other) > 0.1 for _, other in self._taken)
        ):
            return
        self._taken.append((kind.category, box))
        haze = canvas.light.haze(canvas.camera.depth_at(row), 0.55)

        def draw() -> None:
            number = canvas.own(
                Owner(kind.category, is_instance=True, is_crowd=True, fine=0.035, medium=0.03)
            )
            canvas.shadow(x, row, half, 0.06 * kind.tall * scale)
            for k in range(count):
                column = x - half + 2 * half * (k + rng.uniform(0.2, 0.8)) / count
                size = scale * rng.uniform(*kind.sizes)
                pen = Pen(
                    canvas,
                    number,
                    column,
                    row + 0.25 * scale * (k % 3 - 1),
                    size,
                    flip=rng.random() < 0.5,
                    haze=haze,
                )
                kind.draw(pen, rng)

        self.later(row, draw)

    def put_bird(self, x: float, y: float, wide: float) -> bool:
        """Put a bird in the air; `wide` pixels between the tips of its wings."""
        return self.put("flying_bird", x, y, scale=wide, order=-1.0)

    def put_balloon(self, x: float, y: float, tall: float) -> bool:
        """Put a hot-air balloon in the air; `tall` pixels high, its basket at (x, y)."""
        return self.put("balloon", x, y, scale=tall / 20.0, order=-2.0)

    def put_tree(self, kind: str, x: float, row: float, meters: float) -> None:
        """Plant a tree."""
        canvas, rng = self.canvas, self.rng
        tall = meters * canvas.camera.scale_at(row)
        half = 0.3 * tall
        self._taken.append(("tree", (x - half, row - tall, x + half, row)))
        haze = canvas.light.haze(canvas.camera.depth_at(row), 0.6)
        color: Color = hsv(rng.uniform(0.24, 0.3), 0.55, 0.5) if kind == "palm" else self._leaves(kind)
        self.later(row - 0.01, lambda: tree(canvas, kind, x, row, tall, color, haze))

    def _leaves(self, kind: str) -> Color:
        if kind == "conifer":
            return vary(self.rng, (52, 86, 62), 0.12)
        return foliage(self.rng, self.autumn)

    def put_odd_object(self, x: float, row: float) -> None:
        """Put something that has no category: a bench, a rock, a bin, a hay bale or a parasol."""
        canvas, rng = self.canvas, self.rng
        kind = str(rng.choice(["bench", "rock", "bin", "bale", "parasol"]))
        scale = canvas.camera.scale_at(row)
        half = scale * (1.2 if kind == "parasol" else 0.9)
        box = (x - half, row - scale * 1.2, x + half, row)
        if scale < 6 or not self._is_free("void", box):
            return
        self._taken.append(("void", box))
        self.later(row, lambda: _odd_object(canvas, kind, x, row, scale))


def _odd_object(canvas: Canvas, kind: str, x: float, row: float, scale: float) -> None:
    rng = canvas.rng
    pen = Pen(
        canvas,
        canvas.own(Owner(None, fine=0.04, medium=0.05)),
        x,
        row,
        scale,
        haze=canvas.light.haze(canvas.camera.depth_at(row), 0.5),
    )
    canvas.shadow(x - 0.3 * canvas.light.sun * scale, row, 0.9 * scale, 0.12 * scale)
    if kind == "parasol":
        pen.draw(kind, own=hsv(rng.random(), 0.7, 0.9))
        return
    color, spread = ODD_OBJECTS[kind]
    color = vary(rng, color, spread)
    pen.draw(kind, own=color)
    if kind == "rock":
        pen.draw(f"rock_shaded_on_the_{'left' if pen.sun > 0 else 'right'}", own=color)
