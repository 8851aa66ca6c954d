"""The bare head: neck, ears, skin, nose, eyes, brows, mouth and beard."""

from __future__ import annotations

from gcdp.toy.drawing import Color, Sprite
from gcdp.toy.faces.person import Person, Pose, both, smooth
from gcdp.toy.palette import mix, scale

SKIN, NOSE, GLASSES, LEFT_EYE, RIGHT_EYE, LEFT_BROW, RIGHT_BROW, LEFT_EAR, RIGHT_EAR = range(1, 10)
MOUTH, UPPER_LIP, LOWER_LIP, HAIR, HAT, EARRING, NECKLACE, NECK, CLOTH = range(10, 19)
FLESH = (SKIN, NOSE, LEFT_BROW, RIGHT_BROW, LEFT_EAR, RIGHT_EAR, UPPER_LIP, LOWER_LIP, NECK)


def jaw(person: Person) -> list[tuple[int, int]]:
    """Right half of the face's outline from the temple to the chin, in face units."""
    full = 4 if person.double_chin else 0
    if person.male:
        return [(67, -14), (67, 26), (61 + full, 62), (42 + full, 94), (16, 106), (0, 106)]
    return [(66, -14), (65, 24), (55 + full, 60), (35 + full, 90), (14, 104), (0, 104)]


def neck(person: Person, pose: Pose) -> list[Sprite]:
    """Neck with the chin's shadow on it and, for a double chin, the fold below the face."""
    sprite, half = Sprite(NECK, 0), 46 if person.male else 38
    base = scale(person.skin, 226)
    sprite.poly([pose.body(u, v) for u, v in both([(half - 4, 40), (half, 108), (96, 136), (104, 170)])], base)
    low = 132 if person.double_chin else 118
    shadow = [
        pose.rim(u, v, 20) for u, v in ((-half - 14, 60), (half + 14, 60), (half, low - 8), (0, low), (-half, low - 8))
    ]
    inside = smooth(shadow, 2)
    sprite.poly(inside, scale(base, 178), solid=False)
    if not person.double_chin:
        return [sprite]
    fold = Sprite(SKIN, 0)
    roll = smooth([pose.rim(u, v, 30) for u, v in both([(58, 50), (60, 92), (34, 124), (0, 127)])])
    fold.poly(roll, scale(person.skin, 240))
    return [sprite, fold]


def ear(person: Person, pose: Pose, side: int) -> Sprite:
    """Ear at the picture's right (side 1, the person's left one) or left (side -1)."""
    sprite = Sprite(LEFT_EAR if side > 0 else RIGHT_EAR, 0)
    outline = [(62, -12), (78, -18), (84, -4), (80, 16), (72, 30), (62, 28)]
    sprite.poly(smooth([pose.rim(side * u, v, -12) for u, v in outline], 2), scale(person.skin, 232))
    inner = [(66, -6), (76, -10), (77, 4), (70, 18)]
    sprite.poly(smooth([pose.rim(side * u, v, -12) for u, v in inner], 2), scale(person.skin, 176), solid=False)
    return sprite


def face(person: Person, pose: Pose) -> Sprite:
    """Skull and jaw, with the beard."""
    sprite = Sprite(SKIN, 0)
    half = [(0, -100), (30, -98), (56, -78), (66, -44), *jaw(person)]
    sprite.poly(smooth([pose.rim(u, v, 14) for u, v in both(half)]), person.skin)
    if person.double_chin:
        crease = [pose.rim(u, v, 16) for u, v in both(jaw(person)[3:])]
        crease.sort()
        sprite.line(crease, scale(person.skin, 118), pose.span(8), solid=False)
    if person.beard:
        outer = [(64, -6), *jaw(person)[1:]]
        inner = [(0, 46), (26, 46), (40, 56), (48, 34), (56, 8)]
        loop = outer + [(-u, v) for u, v in reversed(outer)][1:] + [(-u, v) for u, v in reversed(inner)] + inner[1:]
        sprite.poly(
            smooth([pose.rim(u, v, 14) for u, v in loop], 2),
            mix(person.skin, scale(person.brow, 226), 216),
            solid=False,
        )
    return sprite


def nose(person: Person, pose: Pose, light: int) -> Sprite:
    """Nose with a shaded side (away from the light, whose sign counts), nostrils and a lit ridge."""
    sprite = Sprite(NOSE, 0)
    outline = [(5, -4, 4), (8, 18, 12), (17, 33, 10), (14, 42, 10), (0, 45, 20)]
    ring = outline + [(-u, v, r) for u, v, r in reversed(outline) if u]
    sprite.poly(smooth([pose.at(*p) for p in ring], 2), person.skin)
    side = -1 if light > 0 else 1
    shade = [(2, -6, 6), (7, -4, 4), (8, 18, 12), (18, 34, 8), (14, 43, 10), (3, 42, 22), (5, 26, 22)]
    sprite.poly(smooth([pose.at(side * u, v, r) for u, v, r in shade], 2), scale(person.skin, 216), solid=False)
    for sign in (-1, 1):
        spot = pose.at(sign * 8, 41, 14)
        reach = pose.span(4)
        sprite.oval(
            ((spot[0] - reach, spot[1] - 3), (spot[0] + reach, spot[1] + 2)), scale(person.skin, 112), solid=False
        )
    ridge = [pose.at(0, 2, 8), pose.at(0, 30, 24)]
    sprite.line(ridge, mix(scale(person.skin, 276), (255, 250, 240), 40), pose.span(5), solid=False)
    return sprite


def eye(person: Person, pose: Pose, side: int) -> Sprite:
    """Eye with iris, pupil, glint and upper lid; side as in `ear`."""
    sprite = Sprite(LEFT_EYE if side > 0 else RIGHT_EYE, 0)
    squint = 2 if person.smile else 0
    almond = [(14, 2), (22, -9 + squint), (32, -10 + squint), (41, -4), (47, 1), (38, 8), (24, 9)]
    outline = [pose.at(side * u, v, -2) for u, v in almond]
    sprite.poly(smooth(outline, 2), (238, 236, 232))
    x, y = pose.at(side * 31, 0, -2)
    for reach, color in ((9, scale(person.iris, 150)), (8, person.iris), (4, (14, 12, 14))):
        r = pose.span(reach)
        sprite.oval(((x - r, y - r), (x + r, y + r)), color, solid=False)
    sprite.oval(((x - 5, y - 6), (x - 2, y - 3)), (255, 255, 255), solid=False)
    lash = (26, 20, 20) if not person.male else scale(person.skin, 96)
    lid = [pose.at(side * u, v, -2) for u, v in ((13, 2), (22, -8 + squint), (32, -9 + squint), (41, -5), (49, 0))]
    sprite.line(lid, lash, pose.span(4 if person.male else 6), solid=False)
    low = [pose.at(side * u, v, -2) for u, v in ((20, 9), (31, 10), (42, 6))]
    sprite.line(low, scale(person.skin, 190), pose.span(3), solid=False)
    return sprite


def brow(person: Person, pose: Pose, side: int) -> Sprite:
    """Eyebrow; bushy ones are three times as thick."""
    sprite = Sprite(LEFT_BROW if side > 0 else RIGHT_BROW, 0)
    top, low = ((-36, -38, -28), (-17, -20, -21)) if person.bushy else ((-27, -31, -23), (-21, -25, -22))
    outline = [(10, top[0] + 4), (22, top[0]), (36, top[1]), (52, top[2]), (36, low[1]), (12, low[0])]
    color = person.brow if person.bushy else mix(person.brow, person.skin, 60)
    sprite.poly(smooth([pose.at(side * u, v, 2) for u, v in outline], 1), color)
    return sprite


def mouth(person: Person, pose: Pose) -> list[Sprite]:
    """Inner mouth (where open), upper and lower lip."""
    wide, lift, sag = (33, 11, 3) if person.smile else (23, -1, 0)
    gap = 7 if person.open_mouth else 0
    thick = 1 if person.male else 3
    mid = 64 + sag

    def curve(points, color: Color, part: int) -> Sprite:
        sprite = Sprite(part, 0)
        ring = points + [(-u, v) for u, v in reversed(points) if u]
        sprite.poly(smooth([pose.at(u, v, 4) for u, v in ring], 2), color)
        return sprite

    corner, half = (wide, mid - lift), wide * 5 // 8
    bend = lift // 4
    inner = curve(
        [(0, mid - gap), (half, mid - bend - gap), corner, (half, mid - bend + gap), (0, mid + gap)],
        (46, 14, 18),
        MOUTH,
    )
    if person.smile and person.open_mouth:
        teeth = [(0, mid - gap + 1), (half, mid - bend - gap + 2), (half, mid - bend - 1), (0, mid + 1)]
        ring = teeth + [(-u, v) for u, v in reversed(teeth)]
        inner.poly([pose.at(u, v, 4) for u, v in ring], (240, 236, 228), solid=False)
    upper = curve(
        [
            (0, mid - 7 - gap - thick),
            (8, mid - 9 - gap - thick),
            (half, mid - 7 - bend - gap),
            corner,
            (half, mid - bend - gap + 1),
            (0, mid - gap + 1),
        ],
        scale(person.lips, 228),
        UPPER_LIP,
    )
    lower = curve(
        [
            (0, mid + gap - 1),
            (half, mid - bend + gap - 1),
            corner,
            (half, mid - bend + gap + 9),
            (0, mid + gap + 10 + thick),
        ],
        person.lips,
        LOWER_LIP,
    )
    shine = [pose.at(u, mid + gap + 5, 5) for u in (-7, 7)]
    lower.line(shine, mix(person.lips, (255, 240, 235), 90), pose.span(3), solid=False)
    if not person.open_mouth:
        seam = [
            pose.at(u, v, 4)
            for u, v in ((-wide, mid - lift), (-half, mid - bend), (0, mid), (half, mid - bend), corner)
        ]
        lower.line(seam, scale(person.lips, 110), pose.span(3), solid=False)
    if person.smile:
        for side in (-1, 1):
            fold = [pose.at(side * u, v, 2) for u, v in ((20, 36), (34, 46), (42, 60))]
            upper.commands.insert(0, ("line", fold, scale(person.skin, 206), pose.span(3), False, False))
    return [inner, upper, lower] if person.open_mouth else [upper, lower]
