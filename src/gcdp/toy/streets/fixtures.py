"""Poles, traffic lights and signs, trees, boxes on the sidewalk, and glyph objects for more classes."""

from __future__ import annotations

from gcdp.toy.drawing import CIRCLE, Color, Dice, Sprite
from gcdp.toy.palette import CLOTHES, FOLIAGE, MASONRY, scale, tint
from gcdp.toy.streets.camera import Camera
from gcdp.toy.streets.facades import leaves
from gcdp.toy.streets.light import Light
from gcdp.toy.streets.palette import METAL, SIGN


def _post(sprite: Sprite, cam: Camera, light: Light, x: int, z: int, top: int, girth: int, color: Color) -> None:
    half = max(2, cam.span(girth, z) // 2)
    (foot_x, foot), (_, head) = cam.at(x, 0, z), cam.at(x, top, z)
    sprite.poly(((foot_x - half, foot), (foot_x + half, foot), (foot_x + half, head), (foot_x - half, head)), color)
    sprite.poly(
        ((foot_x, foot), (foot_x + half, foot), (foot_x + half, head), (foot_x, head)),
        scale(color, 196),
        solid=False,
    )
    if light.shadow > 30:
        lean = light.lean * min(top, 500) // 256
        sprite.shadow(
            (
                cam.at(x - girth // 2, 0, z),
                cam.at(x + girth // 2, 0, z),
                cam.at(x + lean + girth // 2, 0, z + 300),
                cam.at(x + lean - girth // 2, 0, z + 300),
            ),
            light.shadow,
        )


def pole(dice: Dice, cam: Camera, light: Light, x: int, z: int, top: int, bond: int | None = None) -> Sprite:
    """A post; tall ones may carry a lamp on an arm over the street."""
    sprite, color = Sprite(17, z, bond=bond), tint(dice, METAL)
    _post(sprite, cam, light, x, z, top, dice.between(15, 24), color)
    if top > 450 and dice.chance(700):
        inward = -1 if x > 0 else 1
        reach, thick = dice.between(80, 190), max(2, cam.span(13, z))
        tip = cam.at(x + inward * reach, top + 20, z)
        sprite.line((cam.at(x, top, z), tip), color, thick)
        sprite.oval(
            ((tip[0] - thick * 2, tip[1] - thick), (tip[0] + thick * 2, tip[1] + thick)),
            (250, 232, 180) if light.dark else scale(color, 290),
            glow=light.dark,
        )
    return sprite


def traffic_light(dice: Dice, cam: Camera, light: Light, x: int, y: int, z: int, bond: int | None = None) -> Sprite:
    """A box with three lamps, one of them on (or its plain back); y is its lower edge."""
    sprite, color = (
        Sprite(19, z - 1, bond=bond),
        tint(dice, ((36, 38, 38), (52, 60, 50), (196, 160, 50), (76, 78, 82))),
    )
    tall, half = dice.between(110, 140), dice.between(22, 27)
    flat = dice.chance(120)
    w, h = (tall // 2, half) if flat else (half, tall // 2)
    middle = y + h

    def box(u, v, a, b):
        return cam.at(x + u - a, middle + v + b, z), cam.at(x + u + a, middle + v - b, z)

    (x0, y0), (x1, y1) = box(0, 0, w, h)
    sprite.poly(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), color)
    if dice.chance(120):
        return sprite
    on, step = dice.between(0, 2), tall // 3
    for index, lamp in enumerate(((236, 50, 40), (244, 180, 40), (60, 214, 120))):
        shift = step * (1 - index)
        u, v = (shift, 0) if flat else (0, shift)
        fill = lamp if index == on else scale(color, 140)
        sprite.oval(box(u, v, step * 42 // 100, step * 42 // 100), fill, solid=False, glow=index == on)
    return sprite


def sign(dice: Dice, cam: Camera, light: Light, x: int, y: int, z: int, bond: int | None = None) -> Sprite:
    """A traffic sign of any shape; y is its middle."""
    sprite = Sprite(20, z - 2, bond=bond)
    first, second, reach = tint(dice, SIGN), tint(dice, SIGN), dice.between(38, 52)
    shape = dice.pick(("disc", "disc", "triangle", "square", "diamond", "octagon", "board"))
    outlines = {
        "disc": CIRCLE,
        "octagon": (
            (106, 256),
            (256, 106),
            (256, -106),
            (106, -256),
            (-106, -256),
            (-256, -106),
            (-256, 106),
            (-106, 256),
        ),
        "triangle": ((0, 270), (280, -210), (-280, -210)),
        "diamond": ((0, 300), (300, 0), (0, -300), (-300, 0)),
        "square": ((-240, 240), (240, 240), (240, -240), (-240, -240)),
        "board": ((-512, 240), (512, 240), (512, -240), (-512, -240)),
    }
    turned = dice.chance(200) and shape == "triangle"

    def outline(size):
        return [cam.at(x + size * u // 256, y + size * (-v if turned else v) // 256, z) for u, v in outlines[shape]]

    sprite.poly(outline(reach), first)
    if dice.chance(120):
        return sprite
    sprite.poly(outline(reach * 68 // 100), second, solid=False)
    mark = scale(first, 130) if dice.chance(500) else (240, 238, 232)
    bar = reach // 6
    wide = reach * (14 if shape == "board" else 5) // 10
    points = (
        ((-wide, bar), (wide, bar), (wide, -bar), (-wide, -bar))
        if dice.chance(500)
        else ((-bar, reach // 2), (bar, reach // 2), (bar, -reach // 2), (-bar, -reach // 2))
    )
    sprite.poly([cam.at(x + u, y + v, z) for u, v in points], mark, solid=False)
    return sprite


def wire(cam: Camera, x: int, reach: int, y: int, z: int) -> Sprite:
    """A span wire over the street; too thin to carry a label of its own."""
    sprite = Sprite(0, z, "wire")
    sprite.line(
        (cam.at(x - reach, y + 40, z), cam.at(x, y, z), cam.at(x + reach, y + 40, z)),
        (60, 60, 64),
        1,
        solid=False,
    )
    return sprite


def tree(dice: Dice, cam: Camera, light: Light, x: int, z: int) -> Sprite:
    """Trunk and crown, both vegetation."""
    sprite, color = Sprite(21, z), tint(dice, FOLIAGE)
    top, crown = dice.between(420, 820), dice.between(130, 240)
    bark = tint(dice, ((86, 70, 54), (104, 92, 76), (64, 54, 46)))
    _post(sprite, cam, light, x, z, top - crown, dice.between(20, 40), bark)
    (u, v), reach = cam.at(x, top - crown, z), cam.span(crown, z)
    tall = reach * dice.between(80, 120) // 100
    for _ in range(9):
        a, b = u + dice.between(-reach // 2, reach // 2), v + dice.between(-tall // 2, tall // 2)
        sprite.oval(
            ((a - reach // 2, b - tall // 2), (a + reach // 2, b + tall // 2)),
            scale(color, dice.between(190, 236)),
        )
    leaves(
        sprite,
        dice,
        ((u - reach * 3 // 4, v - tall * 3 // 4), (u + reach * 3 // 4, v + tall * 3 // 4)),
        color,
        44,
        max(3, reach // 5),
    )
    if light.shadow > 30:
        lean = light.lean * 400 // 256
        sprite.shadow(
            [cam.at(x + lean + crown * c // 256, 0, max(240, z + 60 + crown * s // 512)) for c, s in CIRCLE],
            light.shadow,
        )
    return sprite


def static(dice: Dice, cam: Camera, x: int, z: int) -> Sprite:
    """A bin, cabinet, planter or poster column (void: static)."""
    sprite, color = Sprite(4, z), tint(dice, METAL if dice.chance(500) else MASONRY)
    half, top = dice.between(26, 60), dice.between(70, 170)
    points = [cam.at(x + u, y, z) for u, y in ((-half, 0), (half, 0), (half, top), (-half, top))]
    sprite.poly(points, color)
    sprite.poly(
        [cam.at(x + u, y, z) for u, y in ((-half, top - 20), (half, top - 20), (half, top), (-half, top))],
        scale(color, 190),
        solid=False,
    )
    return sprite


def dynamic(dice: Dice, cam: Camera, x: int, z: int) -> Sprite:
    """A dog or a cart: things that move but have no class (void: dynamic)."""
    sprite, color = Sprite(5, z), tint(dice, CLOTHES)
    length, top, thick = dice.between(34, 60), dice.between(50, 84), max(2, cam.span(9, z))
    for u in (-length + 8, length - 8):
        sprite.line((cam.at(x + u, top // 2, z), cam.at(x + u, 0, z)), scale(color, 190), thick)
    sprite.oval((cam.at(x - length, top, z), cam.at(x + length, top // 3, z)), color)
    sprite.oval((cam.at(x + length - 14, top + 22, z), cam.at(x + length + 22, top - 14, z)), color)
    return sprite


def rail(dice: Dice, cam: Camera, x: int, near: int, far: int) -> Sprite:
    """A guard rail along the street (void)."""
    sprite, color = Sprite(14, near, "structure"), tint(dice, METAL)
    for z in range(near, far, 300):
        sprite.poly(
            (cam.at(x, 0, z), cam.at(x, 0, z + 14), cam.at(x, 60, z + 14), cam.at(x, 60, z)),
            scale(color, 180),
        )
    sprite.poly((cam.at(x, 42, near), cam.at(x, 42, far), cam.at(x, 78, far), cam.at(x, 78, near)), scale(color, 276))
    sprite.line((cam.at(x, 60, near), cam.at(x, 60, far)), scale(color, 200), 1, solid=False)
    return sprite


def glyph(dice: Dice, cam: Camera, light: Light, number: int, x: int, z: int) -> Sprite:
    """Object of additional class `number`: a star or polygon; form, bars and footing encode the number."""
    sprite = Sprite(34 + number, z)
    corners, depth = 3 + number % 4, (256, 190, 120)[number // 4 % 3]
    raised, bars = 150 * (number // 12 % 2), number // 24 % 3
    first, second, reach = tint(dice, MASONRY), tint(dice, SIGN), dice.between(48, 60)
    if raised:
        _post(sprite, cam, light, x, z, raised + reach // 2, 18, first)
    points = []
    ring = CIRCLE[3:] + CIRCLE[:3]
    for index in range(2 * corners):
        c, s = ring[index * 6 // corners % 12]
        size = reach if index % 2 == 0 else reach * depth // 256
        points.append(cam.at(x + size * c // 256, raised + reach + size * s // 256, z))
    sprite.poly(points, first)
    for bar in range(bars + 1):
        y = raised + reach + (2 * bar - bars) * reach // 4
        wide = reach * (3 + number // 72) // 10
        sprite.poly(
            [cam.at(x + u, y + v, z) for u, v in ((-wide, 6), (wide, 6), (wide, -6), (-wide, -6))],
            second,
            solid=False,
        )
    return sprite
