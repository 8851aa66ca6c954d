"""What lines a street: buildings, walls, fences, hedges, and the backdrop at its end."""

from __future__ import annotations

from gcdp.toy.drawing import HEIGHT, Dice, Sprite
from gcdp.toy.palette import FOLIAGE, MASONRY, mix, scale, tint
from gcdp.toy.streets.camera import WIDTH, Camera
from gcdp.toy.streets.light import Light
from gcdp.toy.streets.palette import GLASS, METAL


class Face:
    """A vertical plane along the street at x, from near to far."""

    def __init__(self, cam: Camera, x: int, near: int, far: int):
        self.cam, self.x, self.near, self.far = cam, x, near, far

    def quad(self, a: int, b: int, low: int, high: int):
        """Corners of the rectangle z in a..b, y in low..high."""
        at, x = self.cam.at, self.x
        return at(x, low, a), at(x, low, b), at(x, high, b), at(x, high, a)

    def end(self, low: int, high: int, reach: int):
        """Corners of the wall that faces the camera at the near end, reaching outward by `reach`."""
        at, x, z = self.cam.at, self.x, self.near
        return at(x, low, z), at(x + reach, low, z), at(x + reach, high, z), at(x, high, z)


def _courses(sprite: Sprite, face: Face, low: int, high: int, step: int, color) -> None:
    """Horizontal joints, left out where they would be finer than the canvas shows."""
    at, x = face.cam.at, face.x
    step = max(step, face.far * 3 // face.cam.focal)
    for y in range(low + step, high, step):
        sprite.line((at(x, y, face.near), at(x, y, face.far)), color, 1, solid=False)


def _windows(sprite: Sprite, face: Face, dice: Dice, height: int, light: Light, gain: int) -> None:
    storey, bay = dice.between(270, 340), dice.between(190, 360)
    part, rise = dice.between(40, 75), dice.between(45, 70)
    glass, frame = scale(tint(dice, GLASS), gain), scale(tint(dice, MASONRY), gain)
    framed, lit_rate = dice.chance(500), 420 if light.dark else 30
    for base in range(340, height - storey + 60, storey):
        for a in range(face.near + bay // 4, face.far - bay // 2, bay):
            b = a + bay * part // 100
            if face.cam.focal * abs(face.x) // a - face.cam.focal * abs(face.x) // b < 2:
                break
            low, high = base + 70, base + 70 + storey * rise // 100
            if framed:
                sprite.poly(face.quad(a - 12, b + 12, low - 14, high + 14), frame, solid=False)
            lit = dice.chance(lit_rate)
            pane = (236, 206, 130) if lit else glass
            sprite.poly(face.quad(a, b, low, high), pane, solid=False, glow=lit and light.dark)


def _shops(sprite: Sprite, face: Face, dice: Dice, light: Light, gain: int) -> None:
    band, step = scale(tint(dice, MASONRY), gain), dice.between(260, 460)
    sprite.poly(face.quad(face.near, face.far, 0, 330), band, solid=False)
    for a in range(face.near + 30, face.far - step // 2, step):
        b = a + step * 3 // 4
        door = dice.chance(350)
        pane = scale(tint(dice, GLASS), gain)
        lit = light.dark and dice.chance(600)
        sprite.poly(
            face.quad(a, a + step // 3 if door else b, 0 if door else 60, 250),
            (244, 222, 160) if lit else pane,
            solid=False,
            glow=lit,
        )
        if dice.chance(400):
            sprite.poly(face.quad(a, b, 255, 310), scale(tint(dice, MASONRY), gain), solid=False)


def building(dice: Dice, cam: Camera, light: Light, x: int, near: int, far: int) -> Sprite:
    """A row house along the street at x."""
    sprite, face = Sprite(11, (near + far) // 2, "structure"), Face(cam, x, near, far)
    side = -1 if x < 0 else 1
    gain, height = light.side(side), dice.between(620, 1900)
    stone = tint(dice, MASONRY)
    color = scale(stone, gain)
    sprite.poly(face.end(0, height, side * 1400), scale(stone, 236))
    sprite.poly(face.quad(near, far, 0, height), color)
    if dice.chance(450):
        _courses(sprite, face, 0, height, 60, scale(color, 234))
    if dice.chance(600):
        _shops(sprite, face, dice, light, gain)
    _windows(sprite, face, dice, height, light, gain)
    roof = scale(tint(dice, MASONRY), gain * 3 // 4)
    if dice.chance(450):
        rise = dice.between(140, 320)
        at = cam.at
        sprite.poly(
            (
                at(x, height, near),
                at(x, height, far),
                at(x + side * 200, height + rise, far),
                at(x + side * 200, height + rise, near),
            ),
            roof,
        )
    else:
        sprite.poly(face.quad(near, far, height - 30, height + 25), roof)
    return sprite


def wall(dice: Dice, cam: Camera, light: Light, x: int, near: int, far: int) -> Sprite:
    """A freestanding wall of brick courses or of panels, in the colors of buildings."""
    sprite, face = Sprite(12, (near + far) // 2, "structure"), Face(cam, x, near, far)
    side = -1 if x < 0 else 1
    gain, height = light.side(side), dice.between(190, 330)
    stone = tint(dice, MASONRY)
    color = scale(stone, gain)
    sprite.poly(face.end(0, height, side * 40), scale(stone, 220))
    sprite.poly(face.quad(near, far, 0, height), color)
    if dice.chance(550):
        _courses(sprite, face, 0, height, 26, scale(color, 206))
    else:
        for a in range(near, far, 240):
            sprite.poly(face.quad(a, a + 26, 0, height), scale(color, 206), solid=False)
    for _ in range(dice.between(0, 3)):
        a = dice.between(near, max(near, far - 200))
        sprite.poly(
            face.quad(a, min(far, a + dice.between(80, 260)), 40, dice.between(90, 150)),
            mix(color, tint(dice, MASONRY), 110),
            solid=False,
        )
    sprite.poly(face.quad(near, far, height - 22, height + 8), scale(color, 290))
    return sprite


def fence(dice: Dice, cam: Camera, light: Light, x: int, near: int, far: int) -> Sprite:
    """Pickets and rails of wood or metal before the dark of what lies behind."""
    sprite, face = Sprite(13, (near + far) // 2, "structure"), Face(cam, x, near, far)
    gain, height = light.side(-1 if x < 0 else 1), dice.between(120, 230)
    bar = scale(tint(dice, MASONRY if dice.chance(600) else METAL), gain)
    sprite.poly(face.quad(near, far, 0, height - 12), mix(scale(tint(dice, FOLIAGE), 150), scale(bar, 120), 128))
    step, thick = dice.between(34, 70), dice.between(14, 26)
    a = near
    while a < far:
        # Pickets thin out with distance, as fine ones would turn into one gray tone.
        pace = max(step, a * a // max(1, abs(x)) * 3 // cam.focal)
        sprite.poly(face.quad(a, min(far, a + pace * thick // step), 0, height), bar)
        a += pace
    for y in (height // 5, height * 4 // 5):
        sprite.poly(face.quad(near, far, y, y + 12), scale(bar, 226), solid=False)
    return sprite


def leaves(sprite: Sprite, dice: Dice, box, color, count: int, coarse: int) -> None:
    """Cover a canvas box with blobs of leaves, lighter toward the top."""
    (x0, y0), (x1, y1) = box
    if x1 <= x0 or y1 <= y0:
        return
    for _ in range(count):
        x, y = dice.between(x0, x1), dice.between(y0, y1)
        radius = dice.between(coarse // 2, coarse)
        gain = 296 - 110 * (y - y0) // (y1 - y0) + dice.between(-34, 34)
        sprite.oval(((x - radius, y - radius * 3 // 4), (x + radius, y + radius * 3 // 4)), scale(color, gain))


def hedge(dice: Dice, cam: Camera, light: Light, x: int, near: int, far: int) -> Sprite:
    """Bushes, or a row of trees, in place of a facade."""
    sprite, face = Sprite(21, (near + far) // 2, "structure"), Face(cam, x, near, far)
    side = -1 if x < 0 else 1
    color = scale(tint(dice, FOLIAGE), light.side(side))
    height = dice.between(150, 280) if dice.chance(400) else dice.between(450, 1000)
    sprite.poly(face.end(0, height, side * 500), scale(color, 190))
    sprite.poly(face.quad(near, far, 0, height), scale(color, 214))
    for index in range(12):
        z = far - (far - near) * index // 11
        foot, head = cam.at(x, 0, z), cam.at(x, height, z)
        coarse = max(3, cam.span(dice.between(70, 120), z))
        if -60 < foot[0] < WIDTH + 60:
            leaves(
                sprite,
                dice,
                ((foot[0] - coarse, head[1]), (foot[0] + coarse, foot[1] - coarse)),
                color,
                7,
                coarse,
            )
    return sprite


def far_row(dice: Dice, cam: Camera, light: Light, x: int, near: int, far: int, kinds) -> Sprite | None:
    """Something set back behind a low or open stretch: a house, trees, or nothing."""
    kind = dice.pick(tuple(kinds) + ("open",))
    x += (700 if x > 0 else -700) + x // 4
    if kind == "building":
        return building(dice, cam, light, x, near, far)
    return hedge(dice, cam, light, x, near, far) if kind == "vegetation" else None


def backdrop(dice: Dice, cam: Camera, light: Light, distance: int, kinds, closed: bool) -> list[Sprite]:
    """What closes the view at `distance` cm; `closed` covers the whole sky with it."""
    sprites, x = [], -20
    foot = cam.at(0, 0, distance)[1] + 1
    if not kinds and not closed:
        return sprites
    while x < WIDTH:
        kind = dice.pick(tuple(kinds) or ("building",))
        width = dice.between(36, 130)
        if kind == "building":
            high = -4 if closed else cam.hy - cam.span(dice.between(300, 1500), distance)
            sprites.append(_block(dice, distance, light, (x, high, x + width, foot)))
        else:
            high = -4 if closed else cam.hy - cam.span(dice.between(250, 900), distance)
            sprite = Sprite(21, distance, "structure")
            color = tint(dice, FOLIAGE)
            coarse = dice.between(7, 14)
            sprite.poly(
                ((x, high + coarse), (x + width, high + coarse), (x + width, foot), (x, foot)),
                scale(color, 206),
            )
            leaves(
                sprite,
                dice,
                ((x, high), (x + width, foot - coarse)),
                color,
                min(90, 10 + width * (foot - high) // (coarse * coarse)),
                coarse,
            )
            sprites.append(sprite)
        x += width - dice.between(0, 6)
    return sprites


def _block(dice: Dice, distance: int, light: Light, box) -> Sprite:
    x0, y0, x1, y1 = box
    sprite = Sprite(11, distance, "structure")
    color = scale(tint(dice, MASONRY), dice.between(200, 256))
    sprite.poly(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), color)
    pane = scale(tint(dice, GLASS), 256)
    step, storey = dice.between(9, 14), dice.between(10, 16)
    for y in range(y0 + 5, min(y1, HEIGHT) - storey, storey):
        for x in range(x0 + 4, x1 - step // 2, step):
            lit = light.dark and dice.chance(300)
            sprite.poly(
                ((x, y), (x + step // 2, y), (x + step // 2, y + storey // 2), (x, y + storey // 2)),
                (230, 200, 130) if lit else pane,
                solid=False,
                glow=lit,
            )
    return sprite


def bridge(dice: Dice, cam: Camera, z: int) -> Sprite:
    """A deck across the street with its underside, void in the label table."""
    sprite = Sprite(15, z, "structure")
    low, high, back = dice.between(520, 620), dice.between(700, 860), z + 900
    color = tint(dice, MASONRY)
    sprite.poly(
        (cam.at(-6000, low, back), cam.at(6000, low, back), cam.at(6000, low, z), cam.at(-6000, low, z)),
        scale(color, 120),
    )
    sprite.poly((cam.at(-6000, low, z), cam.at(6000, low, z), cam.at(6000, high, z), cam.at(-6000, high, z)), color)
    for y in (low + 30, high - 40):
        sprite.line((cam.at(-6000, y, z), cam.at(6000, y, z)), scale(color, 210), 2, solid=False)
    return sprite
