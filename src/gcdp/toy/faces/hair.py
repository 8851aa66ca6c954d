"""Hair and hats."""

from __future__ import annotations

from gcdp.toy.drawing import CIRCLE, Point, Sprite
from gcdp.toy.faces.head import HAIR, HAT
from gcdp.toy.faces.person import Person, Pose, both, smooth
from gcdp.toy.palette import mix, scale


def _ripple(points: list[Point], wavy: bool) -> list[Point]:
    """Outline of the right half with its steps halved and, for wavy hair, pushed out and in by turns."""
    if not wavy:
        return points
    dense = []
    for (a, b), (c, d) in zip(points, points[1:]):
        steps = max(1, (abs(c - a) + abs(d - b)) // 13)
        dense += [(a + (c - a) * k // steps, b + (d - b) * k // steps) for k in range(steps)]
    dense.append(points[-1])
    return [(u + (7 if k % 2 else -3) * (1 if u > 0 else 0), v) for k, (u, v) in enumerate(dense)]


def _end(person: Person) -> int:
    """Lowest v of the hair."""
    return {"bald": 0, "short": 0, "bob": 56, "long": 176}[person.length]


def hair_behind(person: Person, pose: Pose) -> list[Sprite]:
    """Long and bob hair behind the neck."""
    if person.length not in ("bob", "long"):
        return []
    low, sprite = _end(person), Sprite(HAIR, 0)
    wide = 92 if person.length == "long" else 84
    half = _ripple([(40, -98), (72, -70), (84, -30), (88, 20), (wide, low - 12), (wide - 20, low)], person.wavy)
    sprite.poly(smooth([pose.rim(u, v, -20) for u, v in both(half)], 2), scale(person.hair, 206))
    return [sprite]


def hair_tresses(person: Person, pose: Pose) -> list[Sprite]:
    """Long tucked hair that comes from behind the ears and falls over the shoulders."""
    if person.length != "long" or not person.tucked:
        return []
    low, sprite = _end(person), Sprite(HAIR, 0)
    for side in (-1, 1):
        outer = _ripple([(86, 16), (92, 60), (94, 110), (90, low)], person.wavy)
        inner = [(54, low), (52, 116), (56, 76), (66, 20)]
        points = [pose.rim(side * u, v, -14) for u, v in outer + inner]
        sprite.poly(smooth(points, 2), scale(person.hair, 232))
    return [sprite]


def hair_locks(person: Person, pose: Pose) -> list[Sprite]:
    """Hair that hangs beside the face, before the ears and the shoulders; none where it is tucked."""
    if person.length not in ("bob", "long") or person.tucked:
        return []
    low, sprite = _end(person), Sprite(HAIR, 0)
    top = -44 if person.hat else -80
    wide = 94 if person.length == "long" else 86
    for side in (-1, 1):
        outer = _ripple([(60, top), (80, -44), (87, 0), (90, 48), (wide, low)], person.wavy)
        inner = [(wide - 36, low + 2), (58, 74 if person.length == "long" else low - 6), (60, 30), (60, -14), (54, -46)]
        points = [pose.rim(side * u, v, -6) for u, v in outer + inner]
        sprite.poly(smooth(points, 2), person.hair)
    return [sprite]


def hair_crown(person: Person, pose: Pose) -> list[Sprite]:
    """Hair over the skull with its hairline, and the bangs; none under a hat."""
    if person.length == "bald" or person.hat:
        return []
    sprite = Sprite(HAIR, 0)
    end = 2 if person.length == "short" else 10
    half = [(0, -112), (34, -110), (62, -92), (78, -56), (80, -20), (76, end)]
    right = _ripple(half, person.wavy)
    if person.bangs:
        line = [(62, end), (63, -20), (56, -30), (30, -27), (6, -30)]
    else:
        line = [(64, end), (64, -24), (56, -50), (34, -62), (12, -64)]
    left = [(-u, v) for u, v in reversed(right)][:-1]
    loop = right + line + [(-u, v) for u, v in reversed(line)] + left
    if not person.bangs:
        loop[len(right) + len(line) : len(right) + len(line)] = [(person.part, -72)]
    sprite.poly(smooth([pose.rim(u, v, 8 if abs(u) < 66 else -4) for u, v in loop], 2), person.hair)
    if person.bangs:
        for u in range(-46, 50, 15):
            tip = (u * 7 + person.part * 3) % 9
            fringe = [pose.rim(u + k, v, 10) for k, v in ((-9, -40), (9, -40), (tip, -17 - tip // 2), (tip - 6, -18))]
            sprite.poly(fringe, scale(person.hair, 236 if u % 2 else 216))
    return [sprite]


def hat(person: Person, pose: Pose) -> list[Sprite]:
    """Cap with a visor, beanie with a turned-up band, or hat with a wide brim."""
    if not person.hat:
        return []
    sprite, color = Sprite(HAT, 0), person.hat_color
    dark, light = scale(color, 190), mix(color, (255, 255, 255), 40)
    dome = both([(0, -120), (44, -116), (74, -86), (82, -40), (60, -34), (0, -36)])
    sprite.poly(smooth([pose.rim(u, v, 4) for u, v in dome], 2), color)
    if person.hat == "beanie":
        band = both([(0, -60), (50, -58), (84, -52), (86, -28), (50, -30), (0, -32)])
        sprite.poly(smooth([pose.rim(u, v, 6) for u, v in band], 1), dark)
        for u in range(-70, 71, 14):
            sprite.line([pose.rim(u, -54, 10), pose.rim(u, -32, 10)], light, pose.span(3), solid=False)
            sprite.line([pose.rim(u, -62, 10), pose.rim(u * 2 // 3, -110, 10)], dark, pose.span(2), solid=False)
    elif person.hat == "cap":
        sprite.line([pose.rim(0, -118, 10), pose.rim(0, -44, 60)], dark, pose.span(3), solid=False)
        visor = [(u * 78 // 256, -37 + v * 15 // 256) for u, v in CIRCLE]
        sprite.poly(smooth([pose.rim(u, v, 66) for u, v in visor], 1), dark)
        sprite.line([pose.rim(u, -46, 66) for u in (-60, 60)], light, pose.span(3), solid=False)
    else:
        sprite.poly([pose.rim(u, v, 6) for u, v in ((-80, -66), (80, -66), (83, -48), (-83, -48))], dark, solid=False)
        brim = [(u * 120 // 256, -42 + v * 14 // 256) for u, v in CIRCLE]
        sprite.poly(smooth([pose.rim(u, v, 4) for u, v in brim], 1), light)
        under = [(u * 84 // 256, -36 + v * 8 // 256) for u, v in CIRCLE]
        sprite.poly(smooth([pose.rim(u, v, 8) for u, v in under], 1), scale(color, 120), solid=False)
    return [sprite]
