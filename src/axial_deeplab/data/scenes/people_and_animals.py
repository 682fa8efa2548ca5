"""Persons, dogs, sheep and birds, drawn in meters from the point where they stand."""

import math

import numpy as np

from axial_deeplab.data.scenes.canvas import Pen, smooth, symmetric
from axial_deeplab.data.scenes.drawings import pick
from axial_deeplab.data.scenes.light import Color, hsv, shade, vary


def cloth(rng: np.random.Generator) -> Color:
    """Draw the color of a piece of clothing."""
    if rng.random() < 0.3:
        gray = rng.uniform(30, 235)
        return vary(rng, (gray, gray, gray), 0.05)
    return hsv(rng.random(), rng.uniform(0.3, 0.85), rng.uniform(0.35, 0.95))


def person(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a person of 1.75 m who stands or walks."""
    skin, hair = pick(rng, "skins", 0.03), pick(rng, "hairs")
    top, trousers = (cloth(rng), pick(rng, "trousers", 0.15))
    walking = rng.random() < 0.65
    stride = rng.uniform(0.14, 0.3) if walking else 0.09
    build = rng.uniform(0.88, 1.18)
    skirt, coat = rng.random() < 0.25, rng.random() < 0.25
    shoe = vary(rng, (48, 40, 38), 0.2)
    leg = skin if skirt and rng.random() < 0.6 else trousers

    for side, tone in ((-1, 0.78), (1, 1.0)):
        foot = side * stride
        knee = (0.55 * foot + (0.05 if walking else 0.0), 0.46)
        pen.line([(0.07 * side, 0.88), knee, (foot, 0.07)], 0.155 * build, shade(leg, tone))
        pen.line([(foot - 0.03, 0.045), (foot + (0.13 if walking else 0.05 * side), 0.04)], 0.09, shoe)
    swing = stride * 1.1
    shoulder = 0.2 * build
    sleeve = skin if rng.random() < 0.3 else top
    far_hand = (0.05 + swing, 0.86) if walking else (-shoulder - 0.08, 0.82)
    near_hand = (-swing, 0.84) if walking else (shoulder + 0.08, 0.82)
    pen.line(
        [(0.04 if walking else -shoulder, 1.36), (0.7 * far_hand[0] - 0.02, 1.1), far_hand],
        0.11 * build,
        shade(sleeve, 0.72),
    )
    if walking and rng.random() < 0.3:
        pen.polygon(
            smooth([(-0.3, 1.0), (-0.34, 1.36), (-0.12, 1.44), (-0.08, 0.98)]), shade(cloth(rng), 0.85)
        )
    hem = 0.5 if skirt else (0.62 if coat else 0.84)
    flare = 0.27 if skirt else 0.2
    flank = [(-flare * build, hem), (-0.16 * build, 1.05), (-shoulder, 1.36), (-0.1, 1.46)]
    pen.polygon(smooth(symmetric(flank)), top)
    half = [(0.02, hem), (0.03, 1.44), (0.1, 1.45), *((-u, v) for u, v in flank[2::-1])]
    if pen.sun < 0:
        pen.polygon(smooth(half), shade(top, 0.84))
    else:
        pen.polygon(smooth([(-u, v) for u, v in half]), shade(top, 0.84))
    if skirt:
        waist = [(-flare * build - 0.04, hem - 0.03), (-0.15, 1.0)]
        pen.polygon(smooth(symmetric(waist)), cloth(rng))
    elif not coat:
        pen.box(-0.17 * build, 0.82, 0.17 * build, 0.92, shade(trousers, 0.92))
    pen.line(
        [(-0.02 if walking else shoulder, 1.35), (near_hand[0] * 0.7 + 0.01, 1.1), near_hand],
        0.11 * build,
        shade(sleeve, 0.92),
    )
    pen.ellipse(*near_hand, 0.055, 0.06, skin)
    if rng.random() < 0.25:
        pen.box(near_hand[0] - 0.14, near_hand[1] - 0.3, near_hand[0] + 0.14, near_hand[1] - 0.05, cloth(rng))
    _head(pen, rng, skin, hair, walking)


def _head(pen: Pen, rng: np.random.Generator, skin: Color, hair: Color, profile: bool) -> None:
    pen.line([(0.0, 1.42), (0.01, 1.52)], 0.11, shade(skin, 0.85))
    if rng.random() < 0.4:  # long hair
        pen.ellipse(-0.03 if profile else 0.0, 1.55, 0.14, 0.19, hair)
    pen.ellipse(0.0, 1.65, 0.135, 0.145, hair)
    pen.draw("face_from_the_side" if profile else "face_from_the_front", skin=skin)
    hat = rng.random()
    if hat < 0.12:
        pen.draw("cap", hat=cloth(rng))
    elif hat < 0.22:
        pen.draw("straw_hat", hat=vary(rng, (214, 186, 132), 0.12))


def dog(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a dog of 0.6 m at the shoulder, from the side."""
    fur = pick(rng, "furs", 0.08)
    dark = shade(fur, 0.72)
    long, step = rng.uniform(0.85, 1.1), rng.uniform(0.03, 0.13)
    low = rng.uniform(0.24, 0.34)
    for u, tone, shift in ((-0.36, 0.7, step), (0.3, 0.7, -step), (-0.3, 0.95, -step), (0.36, 0.95, step)):
        pen.line(
            [(u * long, low + 0.1), (u * long + 0.4 * shift, 0.17), (u * long + shift, 0.035)],
            0.085,
            shade(fur, tone),
        )
        pen.line([(u * long + shift, 0.03), (u * long + shift + 0.05, 0.03)], 0.06, shade(fur, tone))
    up = rng.uniform(0.1, 0.3)
    pen.line(
        [(-0.42 * long, low + 0.24), (-0.56 * long, low + 0.3 + 0.5 * up), (-0.6 * long, low + 0.32 + up)],
        0.06,
        dark,
    )
    body = [
        (-0.48 * long, low + 0.08),
        (-0.5 * long, low + 0.3),
        (-0.2, low + 0.31),
        (0.25, low + 0.34),
        (0.5 * long, low + 0.36),
        (0.5 * long, low + 0.06),
        (0.2, low - 0.04),
        (-0.15, low + 0.05),
    ]
    pen.polygon(smooth(body), fur)
    pen.polygon(
        smooth(
            [
                (-0.42 * long, low + 0.09),
                (-0.1, low + 0.14),
                (0.3, low + 0.08),
                (0.44 * long, low + 0.06),
                (0.2, low - 0.03),
                (-0.15, low + 0.05),
            ]
        ),
        dark,
    )
    if rng.random() < 0.35:
        pen.ellipse(rng.uniform(-0.25, 0.15), low + 0.21, 0.14, 0.09, pick(rng, "furs", 0.1))
    head_u, head_v = 0.5 * long + 0.08, low + 0.46
    pen.polygon(
        [
            (0.3 * long, low + 0.28),
            (0.5 * long, low + 0.12),
            (head_u + 0.1, head_v - 0.03),
            (head_u - 0.1, head_v + 0.06),
        ],
        fur,
    )
    head = pen.moved(head_u, head_v)
    head.draw("dog_head", fur=fur)
    head.draw("dog_ear_hanging" if rng.random() < 0.5 else "dog_ear_upright", dark=dark)
    if rng.random() < 0.5:
        pen.line(
            [(0.44 * long, low + 0.33), (0.52 * long + 0.03, low + 0.24)], 0.045, hsv(rng.random(), 0.8, 0.8)
        )


def sheep(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a sheep of 0.95 m, from the side, grazing or looking up."""
    wool = vary(
        rng,
        [(236, 230, 216), (226, 216, 194), (214, 208, 200), (120, 100, 84)][
            rng.choice(4, p=[0.45, 0.3, 0.15, 0.1])
        ],
        0.03,
    )
    face = pick(rng, "muzzles", 0.06)
    for u, tone in ((-0.3, 0.7), (0.27, 0.7), (-0.22, 1.0), (0.35, 1.0)):
        pen.line([(u, 0.42), (u + rng.uniform(-0.04, 0.04), 0.04)], 0.085, shade(face, tone))
    turns = np.linspace(0, 2 * math.pi, 15)[:-1] + rng.uniform(0, 0.4)
    puffs = [(0.47 * math.cos(t), 0.64 + 0.24 * math.sin(t), rng.uniform(0.12, 0.165)) for t in turns]
    for u, v, radius in puffs:
        pen.ellipse(u, v, radius, radius, shade(wool, 0.8))
    pen.ellipse(0.0, 0.64, 0.52, 0.28, shade(wool, 0.8))
    for u, v, radius in puffs:
        pen.ellipse(
            0.9 * u + 0.03 * pen.sun,
            0.05 + v * 0.95 + 0.03,
            radius * 0.85,
            radius * 0.85,
            shade(wool, 0.93 if v < 0.7 else 1.04),
        )
    pen.ellipse(0.02 * pen.sun, 0.7, 0.45, 0.2, wool)
    for _ in range(6):
        u, v = rng.uniform(-0.36, 0.36), rng.uniform(0.58, 0.84)
        pen.ellipse(u, v, 0.09, 0.07, shade(wool, rng.uniform(0.93, 1.06)))
    grazing = rng.random() < 0.5
    head_u, head_v = (0.68, 0.34) if grazing else (0.66, 0.86)
    pen.line([(0.42, 0.68), (head_u - 0.06, head_v + 0.06)], 0.24, shade(wool, 0.9))
    tip = (0.13, -0.16) if grazing else (0.17, -0.09)
    pen.line([(head_u - 0.02, head_v + 0.03), (head_u + tip[0], head_v + tip[1])], 0.155, face)
    pen.line([(head_u - 0.04, head_v + 0.07), (head_u - 0.17, head_v + 0.03)], 0.065, shade(face, 0.85))
    pen.ellipse(head_u - 0.04, head_v + 0.1, 0.09, 0.07, wool)
    pen.ellipse(
        head_u + 0.06, head_v + 0.02, 0.016, 0.018, (20, 18, 18) if sum(face) > 250 else (210, 200, 180)
    )


def flying_bird(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a bird on the wing, 1 m from tip to tip, seen from the side and below."""
    back = pick(rng, "wings", 0.06)
    lift, fold = rng.uniform(-0.1, 0.34), rng.uniform(0.0, 0.12)
    far, near = shade(back, 0.74), shade(back, 0.92)
    pen.polygon(
        smooth(
            [
                (-0.06, 0.02),
                (0.1, 0.03),
                (0.2 + fold, 0.16 + 0.6 * lift),
                (0.42, 0.1 + lift),
                (0.2, 0.04 + 0.5 * lift),
            ]
        ),
        far,
    )
    pen.draw("wing_bird_body", body=back)
    pen.polygon(
        smooth(
            [
                (-0.12, 0.04),
                (0.1, 0.06),
                (-0.06 - fold, 0.2 + 0.7 * lift),
                (-0.42, 0.14 + lift),
                (-0.26, 0.05 + 0.4 * lift),
            ]
        ),
        near,
    )
    pen.polygon(
        [(-0.42, 0.15 + lift), (-0.3, 0.18 + lift * 0.9), (-0.3, 0.09 + lift * 0.7)], shade(back, 0.5)
    )
    pen.draw("wing_bird_head", body=back)


def swimming_bird(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a duck, swan or gull of about 0.5 m on the water."""
    standing_bird(pen.moved(0.0, -0.12), rng, legs=False)


def standing_bird(pen: Pen, rng: np.random.Generator, *, legs: bool = True) -> None:
    """Draw a gull, duck, pigeon or goose of about 0.5 m."""
    body = pick(rng, "plumages", 0.06)
    head = vary(rng, [body, (36, 96, 62), (60, 56, 58)][rng.integers(3)], 0.05)
    neck = float(rng.choice([0.04, 0.1, 0.22]))
    if legs:
        pen.draw("bird_legs")
    pen.draw("bird_body", body=body)
    eye: Color = (20, 18, 18) if sum(head) > 250 else (240, 236, 220)
    pen.line([(0.16, 0.28), (0.2, 0.38 + neck)], 0.12, head)
    pen.moved(0.0, 0.4 + neck).draw("bird_head", head=head, eye=eye)
