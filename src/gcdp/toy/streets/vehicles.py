"""Cars, trucks, buses and trains: one palette, told apart by outline, windows and wheels."""

from __future__ import annotations

from gcdp.toy.drawing import CIRCLE, Color, Dice, Sprite
from gcdp.toy.palette import scale, tint
from gcdp.toy.streets.camera import Camera
from gcdp.toy.streets.light import Light
from gcdp.toy.streets.palette import GLASS, VEHICLE

LABELS = {"car": 26, "truck": 27, "bus": 28, "train": 31}
SIZES = {"car": (178, 150, 410), "truck": (245, 340, 750), "bus": (250, 310, 1100), "train": (265, 345, 2400)}
TIRE, RIM = (26, 26, 28), (140, 142, 146)


class Body:
    """Places a vehicle in the world: its face toward the camera and the one long side in view."""

    def __init__(self, cam: Camera, x: int, z: int, size, across: int):
        self.cam, self.x, self.z, self.across = cam, x, z, across
        self.width, self.height, self.length = size
        half = self.width // 2
        self.side_x = x - half if x > 0 else x + half
        # Seen from straight behind, the long side is hidden.
        self.side_seen = bool(across) or abs(x) > half

    def face(self, u: int, y: int):
        """Point of the near face; u in cm from its middle."""
        return self.cam.at(self.x + u, y, self.z)

    def side(self, a: int, y: int, inset: int = 0):
        """Point of the long side; a in cm from its near (or leading) end."""
        if self.across:
            return self.cam.at(self.x + self.across * (a - self.length // 2), y, self.z + inset)
        sign = 1 if self.x > 0 else -1
        return self.cam.at(self.side_x + sign * inset, y, self.z + a)

    def face_rect(self, u0, u1, y0, y1):
        """Axis-parallel rectangle on the near face."""
        return self.face(u0, y0), self.face(u1, y0), self.face(u1, y1), self.face(u0, y1)

    def side_rect(self, a0, a1, y0, y1, inset=0):
        """Rectangle on the long side."""
        return (
            self.side(a0, y0, inset),
            self.side(a1, y0, inset),
            self.side(a1, y1, inset),
            self.side(a0, y1, inset),
        )

    def wheel(self, sprite: Sprite, a: int, radius: int) -> None:
        """A wheel on the long side."""
        for reach, color in ((radius, TIRE), (radius // 2, RIM)):
            sprite.poly(
                [self.side(a + reach * c // 256, radius + reach * s // 256) for c, s in CIRCLE],
                color,
                solid=reach == radius,
            )


def _lamps(sprite: Sprite, body: Body, light: Light, away: bool, low: int) -> None:
    color = (206, 44, 36) if away else (250, 246, 220)
    half = body.width // 2
    for sign in (-1, 1):
        u = sign * (half - 20)
        if light.dark:
            sprite.oval(
                (body.face(u - 26, low - 12), body.face(u + 26, low + 34)),
                scale(color, 170),
                solid=False,
                glow=True,
            )
        sprite.poly(body.face_rect(u - 15, u + 15, low, low + 20), color, solid=False, glow=light.dark)


def _shadow(sprite: Sprite, body: Body, light: Light) -> None:
    at, z, lean = body.cam.at, body.z, light.lean * body.height // 256
    if body.across:
        a, b, far = body.x - body.length // 2, body.x + body.length // 2, z + body.width
    else:
        a, b, far = body.x - body.width // 2, body.x + body.width // 2, z + body.length
    near = max(200, z - 22)
    if light.shadow > 30:
        sprite.shadow((at(a, 0, near), at(b, 0, near), at(b + lean, 0, far), at(a + lean, 0, far)), light.shadow)
    sprite.shadow((at(a - 8, 0, near), at(b + 8, 0, near), at(b + 8, 0, far), at(a - 8, 0, far)), 150)


def _car(sprite: Sprite, body: Body, dice: Dice, light: Light, color: Color, away: bool) -> None:
    length, width, height = body.length, body.width, body.height
    waist, half, top = height * 58 // 100, width // 2, height
    glass, dim = tint(dice, GLASS), scale(color, 206)
    rear, front = (dice.pick((60, 180)), dice.between(640, 760)) if away else (dice.between(240, 330), 900)
    a0, a1, a2, a3 = (
        length * rear // 1000,
        length * (rear + 90) // 1000,
        length * (front - 130) // 1000,
        length * front // 1000,
    )
    if body.side_seen:
        cabin = (body.side(a0, waist), body.side(a1, top, 18), body.side(a2, top, 18), body.side(a3, waist))
        sprite.poly(cabin, dim)
        sprite.poly(body.side_rect(0, length, 26, waist + 4), dim)
        middle = (a1 + a2) // 2
        for a, b in ((a0 + 26, middle - 7), (middle + 7, a3 - 26)):
            lean = 30 if a < middle - 60 and b < middle else 0
            sprite.poly(
                (
                    body.side(a, waist + 6, 4),
                    body.side(a + lean, top - 14, 14),
                    body.side(b - (0 if lean else 30), top - 14, 14),
                    body.side(b, waist + 6, 4),
                ),
                glass,
                solid=False,
            )
        sprite.line((body.side(middle, 40), body.side(middle, waist)), scale(dim, 190), 1, solid=False)
        for a in (length // 5, length * 4 // 5):
            body.wheel(sprite, a, 33)
    if body.across:
        return
    at, x, zc = body.cam.at, body.x, body.z + a0
    up = half * 78 // 100
    sprite.poly(
        (
            at(x - half + 6, waist, zc),
            at(x + half - 6, waist, zc),
            at(x + up, top, zc + 20),
            at(x - up, top, zc + 20),
        ),
        color,
    )
    sprite.poly(
        (
            at(x - half + 18, waist + 6, zc),
            at(x + half - 18, waist + 6, zc),
            at(x + up - 8, top - 12, zc + 20),
            at(x - up + 8, top - 12, zc + 20),
        ),
        glass,
        solid=False,
    )
    for sign in (-1, 1):
        sprite.poly(body.face_rect(sign * (half - 26), sign * half, 0, 36), TIRE)
    sprite.poly(body.face_rect(-half, half, 24, waist), color)
    sprite.poly(
        (
            body.face(-half, waist),
            body.face(half, waist),
            at(x + half - 6, waist, zc),
            at(x - half + 6, waist, zc),
        ),
        scale(color, 276),
    )
    sprite.poly(body.face_rect(-half, half, 22, 36), scale(color, 120), solid=False)
    if away:
        sprite.poly(body.face_rect(-24, 24, 44, 58), (222, 220, 208), solid=False)
    else:
        sprite.poly(body.face_rect(-half + 44, half - 44, 42, 64), scale(color, 90), solid=False)
    _lamps(sprite, body, light, away, waist - 26)


def _truck(sprite: Sprite, body: Body, dice: Dice, light: Light, color: Color, away: bool) -> None:
    length, half, top = body.length, body.width // 2, body.height
    cargo, dim = tint(dice, VEHICLE), 214
    cab = 190
    # Going away the cab is at the far end of the long side, coming toward us at the near one.
    c0, c1, b0, b1 = (length - cab, length, 0, length - cab - 40) if away else (0, cab, cab + 40, length)
    if body.side_seen:
        sprite.poly(body.side_rect(0, length, 45, 92), (52, 52, 56))
        sprite.poly(body.side_rect(c0, c1, 50, 255), scale(color, dim))
        sprite.poly(body.side_rect(c0 + 50, c1 - 30, 150, 225), tint(dice, GLASS), solid=False)
        sprite.poly(body.side_rect(b0, b1, 88, top), scale(cargo, dim))
        for a in range(b0 + 70, b1 - 20, 90):
            sprite.poly(body.side_rect(a, a + 10, 92, top - 6), scale(cargo, 184), solid=False)
        for a in (length // 8, length * 5 // 8, length * 7 // 8):
            body.wheel(sprite, a, 48)
    if body.across:
        return
    for sign in (-1, 1):
        sprite.poly(body.face_rect(sign * (half - 48), sign * half, 0, 80), TIRE)
    if away:
        sprite.poly(body.face_rect(-half, half, 84, top), cargo)
        for u in (-half + 8, -5, half - 14):
            sprite.poly(body.face_rect(u, u + 7, 92, top - 10), scale(cargo, 170), solid=False)
        sprite.poly(body.face_rect(-half, half, top - 14, top), scale(cargo, 190), solid=False)
        sprite.poly(body.face_rect(-half, half, 62, 88), (56, 56, 60))
        _lamps(sprite, body, light, True, 66)
        return
    at, x, z = body.cam.at, body.x, body.z + cab + 40
    sprite.poly((at(x - half, 90, z), at(x + half, 90, z), at(x + half, top, z), at(x - half, top, z)), cargo)
    sprite.poly(body.face_rect(-half + 8, half - 8, 45, 260), color)
    sprite.poly(body.face_rect(-half + 22, half - 22, 160, 232), tint(dice, GLASS), solid=False)
    sprite.poly(body.face_rect(-half + 40, half - 40, 90, 140), scale(color, 110), solid=False)
    _lamps(sprite, body, light, False, 62)


def _bus(sprite: Sprite, body: Body, dice: Dice, light: Light, color: Color, away: bool) -> None:
    length, half, top = body.length, body.width // 2, body.height
    glass, dim, band = tint(dice, GLASS), scale(color, 214), tint(dice, VEHICLE)
    lit = light.dark
    pane = (238, 214, 150) if lit else glass
    if body.side_seen:
        sprite.poly(body.side_rect(0, length, 30, top), dim)
        sprite.poly(body.side_rect(0, length, 70, 105), scale(band, 214), solid=False)
        for a in range(25, length - 90, 140):
            sprite.poly(body.side_rect(a, a + 118, 135, 250), pane, solid=False, glow=lit)
        for a in (length // 5, length * 3 // 4):
            body.wheel(sprite, a, 48)
    if body.across:
        return
    for sign in (-1, 1):
        sprite.poly(body.face_rect(sign * (half - 40), sign * half, 0, 60), TIRE)
    sprite.poly(body.face_rect(-half, half, 28, top), color)
    sprite.poly(body.face_rect(-half, half, 70, 105), band, solid=False)
    sprite.poly(body.face_rect(-half + 14, half - 14, 165 if away else 120, 255), glass, solid=False)
    sprite.poly(body.face_rect(-half + 50, half - 50, 266, 298), (30, 30, 34), solid=False)
    sprite.poly(body.face_rect(-half + 62, half - 70, 274, 290), (244, 180, 60), solid=False, glow=True)
    _lamps(sprite, body, light, away, 44)


def _train(sprite: Sprite, body: Body, dice: Dice, light: Light, color: Color, away: bool) -> None:
    length, half, top = body.length, body.width // 2, body.height
    glass, dim, band = tint(dice, GLASS), scale(color, 210), tint(dice, VEHICLE)
    if body.side_seen:
        sprite.poly(body.side_rect(0, length, 14, top), dim)
        sprite.poly(body.side_rect(0, length, 14, 50), (50, 50, 54), solid=False)
        sprite.poly(body.side_rect(0, length, 155, 265), glass, solid=False)
        for a in range(130, length - 80, 330):
            sprite.poly(body.side_rect(a, a + 95, 52, 285), scale(band, 200), solid=False)
            sprite.poly(body.side_rect(a + 10, a + 85, 110, 262), glass, solid=False)
        for a in range(-4, length, 800):
            sprite.poly(body.side_rect(max(0, a), a + 26, 14, top), (44, 44, 48), solid=False)
    pan = body.side(300, top) if body.across else body.cam.at(body.x, top, body.z + 250)
    reach = body.cam.span(100, body.z + 250)
    sprite.line((pan, (pan[0] - reach // 2, pan[1] - reach // 2), (pan[0], pan[1] - reach)), (50, 50, 54), 2)
    if body.across:
        return
    nose = [
        body.face(u * half // 100, y)
        for u, y in (
            (-94, 12),
            (94, 12),
            (100, 110),
            (86, top - 40),
            (56, top),
            (-56, top),
            (-86, top - 40),
            (-100, 110),
        )
    ]
    sprite.poly(nose, color)
    for sign in (-1, 1):
        sprite.poly(
            (
                body.face(sign * 6, 150),
                body.face(sign * (half - 14), 150),
                body.face(sign * (half - 28), 270),
                body.face(sign * 6, 270),
            ),
            glass,
            solid=False,
        )
    sprite.poly(body.face_rect(-half + 10, half - 10, 12, 46), (46, 46, 50), solid=False)
    sprite.poly(body.face_rect(-50, 50, 290, 322), (240, 186, 70), solid=False, glow=True)
    _lamps(sprite, body, light, away, 74)
    sprite.oval((body.face(-14, 96), body.face(14, 124)), (250, 244, 214), solid=False, glow=light.dark)


_PAINTERS = {"car": _car, "truck": _truck, "bus": _bus, "train": _train}


def vehicle(dice: Dice, cam: Camera, light: Light, kind: str, x: int, z: int, heading: str) -> Sprite:
    """A vehicle whose near face is at z; heading is "away", "toward", "left" or "right"."""
    width, height, length = SIZES[kind]
    if kind == "car":
        height = dice.between(140, 196)
    across = {"left": -1, "right": 1}.get(heading, 0)
    body = Body(cam, x, z, (width, height * dice.between(95, 105) // 100, length), across)
    sprite = Sprite(LABELS[kind], z)
    _shadow(sprite, body, light)
    _PAINTERS[kind](sprite, body, dice, light, tint(dice, VEHICLE), heading != "toward")
    return sprite
