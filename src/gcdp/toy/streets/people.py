"""People, riders, bicycles and motorcycles."""

from __future__ import annotations

from gcdp.toy.drawing import Dice, Sprite
from gcdp.toy.palette import CLOTHES, scale, tint
from gcdp.toy.streets.camera import Camera
from gcdp.toy.streets.light import Light
from gcdp.toy.streets.palette import SKIN, VEHICLE


class Board:
    """A plane that faces the camera at (x, z); `turn` / 10 shortens its horizontal axis, its sign mirrors."""

    def __init__(self, cam: Camera, x: int, z: int, turn: int = 10):
        self.cam, self.x, self.z, self.turn = cam, x, z, turn

    def at(self, u: int, y: int):
        """Canvas point u cm right of the anchor and y cm above ground."""
        return self.cam.at(self.x + u * self.turn // 10, y, self.z)

    def disc(self, u: int, y: int, radius: int):
        """Box of a disc turned with the plane, at least 5 cm wide to either side."""
        reach = max(5, radius * abs(self.turn) // 10)
        middle = self.x + u * self.turn // 10
        return self.cam.at(middle - reach, y + radius, self.z), self.cam.at(middle + reach, y - radius, self.z)

    def ball(self, u: int, y: int, width: int, height: int):
        """Box of an upright ellipse that does not turn."""
        middle = self.x + u * self.turn // 10
        return self.cam.at(middle - width, y + height, self.z), self.cam.at(middle + width, y - height, self.z)

    def span(self, length: int) -> int:
        """Design units of a length here."""
        return self.cam.span(length, self.z)


def _cast(sprite: Sprite, cam: Camera, light: Light, x: int, z: int, half: int, height: int) -> None:
    near = max(200, z - 12)
    if light.shadow > 30:
        lean = light.lean * height // 256
        sprite.shadow(
            (
                cam.at(x - half, 0, near),
                cam.at(x + half, 0, near),
                cam.at(x + half + lean, 0, z + height),
                cam.at(x - half + lean, 0, z + height),
            ),
            light.shadow,
        )
    sprite.shadow(
        (
            cam.at(x - half, 0, near),
            cam.at(x + half, 0, near),
            cam.at(x + half, 0, z + 40),
            cam.at(x - half, 0, z + 40),
        ),
        90,
    )


def person(dice: Dice, cam: Camera, light: Light, x: int, z: int) -> Sprite:
    """Someone who stands or walks."""
    sprite = Sprite(24, z)
    board = Board(cam, x, z, dice.pick((-10, 10)))
    tall = dice.between(150, 192)
    _cast(sprite, cam, light, x, z, 26, tall)
    coat, legs, skin = tint(dice, CLOTHES), tint(dice, CLOTHES), tint(dice, SKIN)
    hip, neck = tall * 50 // 100, tall * 84 // 100
    stride, width = dice.between(6, 30), dice.between(19, 26)
    thick = max(2, board.span(17))
    sprite.line((board.at(-5, hip), board.at(-stride, 2)), scale(legs, 226), thick)
    sprite.line((board.at(5, hip), board.at(stride, 2)), legs, thick)
    skirt = dice.between(0, 12) if dice.chance(300) else 0
    low = hip - (tall // 6 if skirt else 6)
    sprite.poly(
        (
            board.at(-width, neck - 6),
            board.at(-width // 2, neck + 2),
            board.at(width // 2, neck + 2),
            board.at(width, neck - 6),
            board.at(width - 5 + skirt, low),
            board.at(-width + 5 - skirt, low),
        ),
        coat,
    )
    swing = dice.between(-14, 14)
    arm = max(2, board.span(11))
    for sign in (-1, 1):
        sprite.line(
            (board.at(sign * width, neck - 8), board.at(sign * (width + 4) + swing, hip - 4)),
            scale(coat, 214),
            arm,
        )
    if dice.chance(250):
        u = dice.pick((-1, 1)) * (width + 8)
        sprite.poly(
            (
                board.at(u - 11, hip - 36),
                board.at(u + 11, hip - 36),
                board.at(u + 11, hip),
                board.at(u - 11, hip),
            ),
            tint(dice, CLOTHES),
        )
    sprite.oval(board.ball(0, tall - 14, 12, 15), skin)
    if dice.chance(800):
        sprite.oval(board.ball(0, tall - 6, 13, 9), tint(dice, CLOTHES), solid=False)
    return sprite


def bicycle(dice: Dice, cam: Camera, light: Light, x: int, z: int, turn: int, bond: int | None = None) -> Sprite:
    """Two thin large wheels and a frame of tubes; the wheels' open discs carry the label too."""
    sprite, board = Sprite(33, z, bond=bond), Board(cam, x, z, turn)
    color = tint(dice, VEHICLE)
    _cast(sprite, cam, light, x, z, 50 * abs(turn) // 10, 60)
    thin, tube = max(2, board.span(6)), max(2, board.span(6))
    for u in (-54, 54):
        sprite.oval(board.disc(u, 36, 36), None)
        if abs(turn) < 4:
            sprite.oval(board.disc(u, 36, 36), (30, 30, 32))
        else:
            sprite.ring(board.disc(u, 36, 36), (30, 30, 32), thin)
            for a, b in ((0, 32), (30, 0)):
                sprite.line((board.at(u - a, 36 - b), board.at(u + a, 36 + b)), (120, 120, 122), 1, solid=False)
    for a, b in (
        ((-54, 36), (-20, 78)),
        ((-54, 36), (0, 34)),
        ((0, 34), (-22, 84)),
        ((0, 34), (40, 76)),
        ((-20, 76), (42, 80)),
        ((54, 36), (38, 96)),
    ):
        sprite.line((board.at(*a), board.at(*b)), color, tube)
    bar = max(2, board.span(5))
    grip = cam.at(x + 38 * turn // 10 - 22, 98, z), cam.at(x + 38 * turn // 10 + 22, 100, z)
    sprite.line(grip, (36, 36, 38), bar)
    sprite.oval(board.ball(-24, 90, 13, 5), (34, 32, 32))
    return sprite


def motorcycle(dice: Dice, cam: Camera, light: Light, x: int, z: int, turn: int, bond: int | None = None) -> Sprite:
    """Two thick wheels, engine, tank, seat and fairing: a solid low mass."""
    sprite, board = Sprite(32, z, bond=bond), Board(cam, x, z, turn)
    color = tint(dice, VEHICLE)
    _cast(sprite, cam, light, x, z, max(30, 80 * abs(turn) // 10), 80)
    for u in (-68, 68):
        reach = board.disc(u, 33, 33)
        if abs(turn) < 4:
            reach = board.ball(u, 33, 13, 33)
        sprite.oval(reach, (26, 26, 28))
        sprite.oval(board.disc(u, 33, 15), (128, 130, 134), solid=False)
    girth = 10 if abs(turn) < 4 else 0
    at = cam.at

    def part(points, fill):
        outline = [board.at(u, y) for u, y in points]
        sprite.poly(outline, fill)
        if girth:
            low, high = min(y for _, y in points), max(y for _, y in points)
            sprite.poly((at(x - 24, low, z), at(x + 24, low, z), at(x + 22, high, z), at(x - 22, high, z)), fill)

    part(((-40, 22), (36, 22), (46, 62), (-46, 62)), (70, 72, 76))
    part(((-88, 66), (-26, 58), (-16, 84), (-84, 88)), (36, 34, 34))
    part(((-22, 58), (44, 58), (36, 98), (-6, 98)), color)
    part(((40, 50), (76, 56), (58, 116), (36, 100)), scale(color, 224))
    sprite.line((board.at(68, 33), board.at(46, 112)), (110, 112, 116), max(2, board.span(9)))
    sprite.line(
        (at(x + 40 * turn // 10 - 30, 112, z), at(x + 40 * turn // 10 + 30, 114, z)),
        (34, 34, 36),
        max(2, board.span(8)),
    )
    sprite.oval(board.ball(66, 88, 11, 11), (246, 240, 214), solid=False, glow=light.dark)
    return sprite


def rider(dice: Dice, cam: Camera, x: int, z: int, turn: int, mount: str, bond: int) -> Sprite:
    """Someone leaning forward on a mount, legs toward the pedals or pegs."""
    sprite, board = Sprite(25, z - 1, bond=bond), Board(cam, x, z, turn)
    coat, legs, skin = tint(dice, CLOTHES), tint(dice, CLOTHES), tint(dice, SKIN)
    heavy = mount == "motorcycle"
    seat = (-24, 90) if heavy else (-22, 94)
    thick = max(3, board.span(18))
    foot = dice.between(16, 46)
    for knee, pedal, gain in (((14, 76), (2, foot), 210), ((18, 64), (4, 60 - foot), 256)):
        sprite.line((board.at(*seat), board.at(*knee), board.at(*pedal)), scale(legs, gain), thick)
    if abs(turn) < 4:
        for sign in (-1, 1):
            sprite.line((cam.at(x + sign * 12, 92, z), cam.at(x + sign * 20, 40, z)), legs, thick)
        sprite.poly(
            (cam.at(x - 18, 86, z), cam.at(x + 18, 86, z), cam.at(x + 25, 142, z), cam.at(x - 25, 142, z)),
            coat,
        )
    lean = dice.between(8, 24)
    sprite.poly(
        (
            board.at(seat[0] - 16, seat[1] - 4),
            board.at(seat[0] + 16, seat[1] - 4),
            board.at(lean + 16, 144),
            board.at(lean - 20, 148),
        ),
        coat,
    )
    sprite.line((board.at(lean, 138), board.at(22, 112), board.at(40, 104)), scale(coat, 214), max(2, board.span(12)))
    sprite.oval(board.ball(lean + 6, 164, 13, 15), skin)
    if heavy or dice.chance(500):
        sprite.oval(board.ball(lean + 5, 168, 16, 15 if heavy else 10), tint(dice, CLOTHES))
    elif dice.chance(800):
        sprite.oval(board.ball(lean + 4, 172, 13, 8), tint(dice, CLOTHES), solid=False)
    return sprite
