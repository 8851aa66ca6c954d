"""Ground of the street world: carriageway, sidewalks, verges, paint, tracks, the sky and the own hood."""

from __future__ import annotations

from dataclasses import dataclass

from gcdp.toy.drawing import HEIGHT, Color, Dice, Sprite
from gcdp.toy.palette import FOLIAGE, mix, scale, tint
from gcdp.toy.streets.camera import WIDTH, Camera
from gcdp.toy.streets.light import Light
from gcdp.toy.streets.palette import PAVEMENT, VEHICLE

NEAR, FAR = 240, 30000


@dataclass(frozen=True)
class Street:
    """Cross-section in cm: carriageway left..right, sidewalk widths (0 for none), facade offsets."""

    left: int
    right: int
    walk_left: int
    walk_right: int
    row_left: int
    row_right: int

    def edge(self, side: int) -> int:
        """Curb position of a side."""
        return self.left if side < 0 else self.right

    def row(self, side: int) -> int:
        """Facade position of a side."""
        return self.row_left if side < 0 else self.row_right

    def walk(self, side: int) -> int:
        """Sidewalk width of a side."""
        return self.walk_left if side < 0 else self.walk_right


def strip(cam: Camera, a: int, b: int, near: int = NEAR, far: int = FAR):
    """Corners of the ground rectangle x in a..b, z in near..far."""
    return cam.at(a, 0, near), cam.at(b, 0, near), cam.at(b, 0, far), cam.at(a, 0, far)


def sky(dice: Dice, cam: Camera, light: Light) -> Sprite:
    """Bands of the sky's gradient, clouds and sometimes the sun."""
    sprite = Sprite(23, 0, "sky")
    bottom = cam.hy + 4
    for y in range(0, bottom, 4):
        color = mix(light.sky_top, light.sky_low, min(256, 256 * y // bottom))
        sprite.poly(((0, y), (WIDTH, y), (WIDTH, bottom), (0, bottom)), color, glow=True)
    if light.cloudy:
        cloud = mix(light.sky_low, (250, 250, 250) if not light.dark else (70, 72, 84), 120)
        for _ in range(dice.between(2, 7)):
            x, y, reach = dice.between(0, WIDTH), dice.between(0, cam.hy), dice.between(20, 70)
            for _ in range(5):
                u, v = x + dice.between(-reach, reach), y + dice.between(-6, 6)
                sprite.oval(
                    ((u - reach // 2, v - reach // 6), (u + reach // 2, v + reach // 6)),
                    mix(cloud, light.sky_low, dice.between(0, 120)),
                    solid=False,
                    glow=True,
                )
    return sprite


def base(dice: Dice, cam: Camera, label: int) -> Sprite:
    """Everything below the horizon that nothing else covers."""
    sprite = Sprite(label, 0, "ground")
    color = tint(dice, FOLIAGE if label == 22 else PAVEMENT)
    sprite.poly(((0, cam.hy), (WIDTH, cam.hy), (WIDTH, HEIGHT), (0, HEIGHT)), color)
    if label == 22:
        _tufts(sprite, dice, cam, color, -4000, 4000)
    return sprite


def _tufts(sprite: Sprite, dice: Dice, cam: Camera, color: Color, a: int, b: int) -> None:
    """Flat patches of grass and earth, longer than tall, unlike leaves."""
    other = tint(dice, FOLIAGE)
    for _ in range(46):
        z = dice.between(4, 40)
        z = z * z * 3 + 250
        x = dice.between(a, b)
        width, tall = dice.between(30, 120), dice.between(20, 160)
        x0, x1 = max(a, x - width), min(b, x + width)
        sprite.poly(strip(cam, x0, x1, z, z + tall), mix(color, other, dice.between(0, 200)), solid=False)


def verge(dice: Dice, cam: Camera, a: int, b: int) -> Sprite:
    """A strip of grass or earth along the street."""
    sprite, color = Sprite(22, 0, "ground"), tint(dice, FOLIAGE)
    sprite.poly(strip(cam, a, b), color)
    _tufts(sprite, dice, cam, color, min(a, b), max(a, b))
    return sprite


def sidewalk(dice: Dice, cam: Camera, curb: int, outer: int) -> list[Sprite]:
    """Slabs with joints and a curb stone toward the carriageway."""
    sprite, color = (
        Sprite(8, 0, "ground"),
        tint(dice, PAVEMENT if dice.chance(700) else ((160, 120, 104), (170, 156, 132))),
    )
    color = scale(color, 280)
    sprite.poly(strip(cam, curb, outer), color)
    joint, pace = scale(color, 214), dice.between(60, 160)
    for x in range(min(curb, outer) + pace, max(curb, outer), pace):
        sprite.line((cam.at(x, 0, NEAR), cam.at(x, 0, 4000)), joint, 1, solid=False)
    z = NEAR
    while z < 2600:
        sprite.line((cam.at(curb, 0, z), cam.at(outer, 0, z)), joint, 1, solid=False)
        z += max(pace, z * z // 26000)
    step = 24 if outer > curb else -24
    sprite.poly(strip(cam, curb, curb + step), scale(color, 300), solid=False)
    sprite.poly(strip(cam, curb, curb - step // 2), scale(color, 150), solid=False)
    return [sprite]


def road(dice: Dice, cam: Camera, street: Street, light: Light) -> Sprite:
    """Asphalt with patches, lane paint and sometimes a crossing."""
    sprite, color = Sprite(7, 0, "ground"), tint(dice, PAVEMENT)
    sprite.poly(strip(cam, street.left, street.right), color)
    for _ in range(dice.between(1, 6)):
        z, x = dice.between(400, 2600), dice.between(street.left, street.right - 100)
        sprite.poly(
            strip(cam, x, min(street.right, x + dice.between(60, 300)), z, z + dice.between(60, 500)),
            scale(color, dice.between(222, 284)),
            solid=False,
        )
    paint = mix(color, (240, 238, 226) if dice.chance(850) else (224, 184, 60), dice.between(120, 240))
    _lanes(sprite, dice, cam, street, paint)
    if dice.chance(260):
        z = dice.between(700, 2000)
        for x in range(street.left + 40, street.right - 60, 100):
            sprite.poly(strip(cam, x, x + 50, z, z + 320), paint, solid=False)
    if dice.chance(200):
        x, z = dice.between(-120, 120), dice.between(600, 1300)
        sprite.oval((cam.at(x - 40, 0, z + 90), cam.at(x + 40, 0, z)), scale(color, 170), solid=False)
    return sprite


def _lanes(sprite: Sprite, dice: Dice, cam: Camera, street: Street, paint: Color) -> None:
    if dice.chance(450):
        for x in (street.left + 40, street.right - 40):
            sprite.poly(strip(cam, x - 7, x + 7), paint, solid=False)
    middle = dice.between(-230, -150)
    lines = [x for x in range(middle - 680, street.right - 120, 340) if x > street.left + 120]
    dash, gap = dice.between(200, 420), dice.between(250, 600)
    for x in lines:
        if dice.chance(200):
            continue
        if x == middle and dice.chance(250):
            sprite.poly(strip(cam, x - 8, x + 8), paint, solid=False)
            continue
        for z in range(dice.between(250, 700), 6000, dash + gap):
            sprite.poly(strip(cam, x - 8, x + 8, z, z + dash), paint, solid=False)


def plaza(dice: Dice, cam: Camera, street: Street) -> Sprite:
    """Paved ground from row to row where no carriageway exists (a pedestrian street): sidewalk."""
    sprite, color = Sprite(8, 0, "ground"), scale(tint(dice, PAVEMENT), 276)
    sprite.poly(strip(cam, street.row_left, street.row_right), color)
    joint = scale(color, 208)
    for x in range(street.row_left, street.row_right, 110):
        sprite.line((cam.at(x, 0, NEAR), cam.at(x, 0, 5000)), joint, 1, solid=False)
    z = NEAR
    while z < 3000:
        sprite.line((cam.at(street.row_left, 0, z), cam.at(street.row_right, 0, z)), joint, 1, solid=False)
        z += max(90, z * z // 22000)
    return sprite


def tracks(dice: Dice, cam: Camera, x: int) -> Sprite:
    """Two rails sunk into the ground; they keep the label of what they lie in."""
    sprite = Sprite(7, 0, "ground")
    for rail in (x - 72, x + 72):
        sprite.poly(strip(cam, rail - 7, rail + 7), (74, 70, 68), solid=False)
        sprite.poly(strip(cam, rail - 2, rail + 3), (170, 170, 168), solid=False)
    return sprite


def patch(dice: Dice, cam: Camera, street: Street, label: int) -> Sprite:
    """A parking bay (9) along a curb or a patch of other ground (6)."""
    sprite, color = Sprite(label, 0, "ground"), scale(tint(dice, PAVEMENT), 236)
    side = dice.pick((-1, 1))
    edge = street.edge(side)
    inner, near = edge - side * 240, dice.between(500, 900)
    far = near + dice.between(900, 2500)
    sprite.poly(strip(cam, inner, edge, near, far), color)
    for z in range(near, far, 560 if label == 9 else 230):
        sprite.poly(
            strip(cam, inner, edge, z, z + 16),
            (214, 212, 204) if label == 9 else scale(color, 200),
            solid=False,
        )
    return sprite


def hood(dice: Dice, light: Light) -> Sprite:
    """The own car's hood at the bottom edge."""
    sprite, color = Sprite(1, 300, "structure"), scale(tint(dice, VEHICLE), 170)
    top, lean = HEIGHT - dice.between(14, 30), dice.between(-30, 30)
    sprite.oval(((-110 + lean, top), (WIDTH + 110 + lean, HEIGHT + 90)), color)
    sprite.oval(((-40 + lean, top + 5), (WIDTH + 40 + lean, HEIGHT + 40)), mix(color, light.sky_low, 70), solid=False)
    sprite.oval(((-20 + lean, top + 10), (WIDTH + 20 + lean, HEIGHT + 40)), color, solid=False)
    return sprite
