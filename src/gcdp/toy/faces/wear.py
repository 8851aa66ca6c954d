"""What a person wears: eyeglasses, earrings, necklace and cloth."""

from __future__ import annotations

from gcdp.toy.drawing import CIRCLE, Sprite
from gcdp.toy.faces.head import CLOTH, EARRING, GLASSES, NECKLACE
from gcdp.toy.faces.person import Person, Pose, smooth
from gcdp.toy.palette import mix, scale

_LENSES = {
    "round": [(u * 24 // 256, v * 22 // 256) for u, v in CIRCLE],
    "square": [(-24, -17), (0, -18), (25, -17), (25, 15), (0, 18), (-23, 15)],
    "cat": [(-24, -13), (8, -18), (32, -24), (25, 8), (4, 17), (-20, 12)],
    "shades": [(-25, -18), (0, -19), (27, -17), (25, 10), (6, 22), (-18, 16)],
}


def eyeglasses(person: Person, pose: Pose) -> list[Sprite]:
    """Frame, bridge, temples and lenses; the eyes are drawn over clear lenses."""
    if not person.glasses:
        return []
    sprite, lens = Sprite(GLASSES, 0), _LENSES[person.glasses]
    dark = person.glasses == "shades"
    wide = pose.span(6)
    sprite.line([pose.at(u, -6, 12) for u in (-12, 0, 12)], person.frame, wide)
    for side in (-1, 1):
        sprite.line([pose.at(side * 52, -8, 4), pose.rim(side * 70, -10)], person.frame, wide)
        for grow, color in (
            (256, person.frame),
            (196, (30, 30, 36) if dark else mix(person.skin, (214, 226, 236), 96)),
        ):
            ring = [pose.at(side * (32 + u * grow // 256), v * grow // 256, 6) for u, v in lens]
            sprite.poly(smooth(ring, 1), color)
        glare = [pose.at(side * 32 + u, v, 6) for u, v in ((-12, 6), (-2, -10), (4, -10), (-6, 6))]
        if dark:
            sprite.poly(glare, (92, 96, 108), solid=False)
    return [sprite]


def earrings(person: Person, pose: Pose, sides: list[int]) -> list[Sprite]:
    """A hoop, a drop or a stone below each of the visible ears."""
    if not person.earrings:
        return []
    sprite, color = Sprite(EARRING, 0), person.jewel
    for side in sides:
        x, y = pose.rim(side * 75, 30, -12)
        long, half = {"hoop": (30, 13), "drop": (38, 8), "stone": (22, 11)}[person.earrings]
        long, half = pose.span(long), pose.span(half)
        box = ((x - half, y - 2), (x + half, y - 2 + long))
        if person.earrings == "hoop":
            sprite.oval(box, mix(color, person.hair, 60))
            sprite.ring(box, color, pose.span(6))
            continue
        if person.earrings == "drop":
            sprite.line(((x, y - 2), (x, y + long // 2)), color, pose.span(5))
            box = ((x - half, y + long // 3), (x + half, y + long))
        sprite.oval(box, color)
        sprite.oval(((x - half // 2, box[0][1] + 3), (x, box[0][1] + half)), (255, 255, 255), solid=False)
    return [sprite]


def necklace(person: Person, pose: Pose) -> list[Sprite]:
    """A chain with a pendant, or pearls, around the low neck."""
    if not person.necklace:
        return []
    sprite = Sprite(NECKLACE, 0)
    arc = [(-56, 112), (-44, 122), (-28, 130), (0, 134), (28, 130), (44, 122), (56, 112)]
    points = [pose.body(u, v) for u, v in arc]
    if person.necklace == "chain":
        sprite.line(points, person.metal, pose.span(8))
        x, y = points[3]
        sprite.oval(((x - 8, y - 3), (x + 8, y + 13)), mix(person.metal, person.jewel, 128))
        return [sprite]
    sprite.line(points, scale(person.metal, 170), pose.span(9))
    for (a, b), (c, d) in zip(points, points[1:]):
        for k in range(2):
            x, y, r = a + (c - a) * k // 2, b + (d - b) * k // 2, pose.span(6)
            sprite.oval(((x - r, y - r), (x + r, y + r)), person.metal)
            sprite.oval(((x - 3, y - 4), (x, y - 1)), (255, 255, 255), solid=False)
    return [sprite]


def cloth(person: Person, pose: Pose) -> Sprite:
    """Shoulders with a neckline and a collar."""
    sprite, color = Sprite(CLOTH, 0), person.cloth
    if person.collar == "bare":
        line = [(-78, 128), (-60, 150), (0, 156), (60, 150), (78, 128)]
    elif person.collar == "vee":
        line = [(-58, 118), (0, 158), (58, 118)]
    else:
        line = [(-50, 116), (-30, 126), (0, 130), (30, 126), (50, 116)]
    body = [(-190, 176), (-170, 150), (-112, 132), *line, (112, 132), (170, 150), (190, 176)]
    sprite.poly([pose.body(u, v) for u, v in body], color)
    sprite.line([pose.body(u, v) for u, v in line], scale(color, 190), pose.span(5), solid=False)
    if person.collar == "shirt":
        for side in (-1, 1):
            flap = [(50, 110), (60, 124), (34, 150), (4, 132), (28, 124)]
            sprite.poly([pose.body(side * u, v) for u, v in flap], mix(color, (255, 255, 255), 70))
            sprite.line([pose.body(side * 60, 124), pose.body(side * 34, 150)], scale(color, 150), 2, solid=False)
        sprite.line([pose.body(0, 132), pose.body(0, 170)], scale(color, 150), 3, solid=False)
    elif person.collar == "roll":
        tube = [(-50, 108), (0, 118), (50, 108), (56, 132), (0, 140), (-56, 132)]
        sprite.poly(smooth([pose.body(u, v) for u, v in tube], 1), mix(color, (255, 255, 255), 30))
        for v in (118, 127):
            fold = [pose.body(u, w) for u, w in ((-46, v - 4), (0, v + 4), (46, v - 4))]
            sprite.line(fold, scale(color, 206), 2, solid=False)
    return sprite
