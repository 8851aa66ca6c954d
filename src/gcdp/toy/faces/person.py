"""Who is drawn: the traits of one face, its pose and its light, as rolled by the dice.

The hidden cause of most correlations is the sex: beards are men's, lipstick, earrings, necklaces and long hair
mostly women's. What a style hides (earrings under hair, bangs under a hat) is settled here or, where only the
rasterized picture can tell, in `gcdp.toy.faces.world`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from gcdp.toy.drawing import Color, Dice, Point
from gcdp.toy.palette import CLOTHES, scale, tint

COLUMNS = (
    "Bangs", "Black_Hair", "Blond_Hair", "Brown_Hair", "Bushy_Eyebrows", "Double_Chin", "Eyeglasses", "Gray_Hair",
    "Male", "Mouth_Slightly_Open", "No_Beard", "Pale_Skin", "Smiling", "Wavy_Hair", "Wearing_Earrings",
    "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace", "Long_Hair", "Dark_Skin",
)  # fmt: skip
HAIR = {
    "black": ((26, 24, 28), (34, 28, 28)),
    "brown": ((104, 66, 40), (98, 62, 38), (114, 74, 46)),
    "blond": ((226, 188, 110), (234, 204, 138), (214, 172, 92)),
    "gray": ((172, 172, 176), (192, 192, 194), (156, 158, 164)),
    "other": ((204, 74, 26), (212, 92, 34), (206, 40, 70), (40, 132, 136), (132, 72, 152)),
}
SKIN = {
    "pale": ((234, 206, 192), (232, 204, 186), (236, 210, 200)),
    "middle": ((222, 170, 130), (218, 164, 122), (212, 164, 126), (204, 150, 112), (192, 140, 102)),
    "dark": ((112, 72, 52), (98, 62, 44), (84, 54, 42)),
}
IRIS = ((70, 44, 28), (84, 56, 34), (60, 98, 140), (74, 118, 92), (96, 106, 112), (110, 80, 36))
LIPSTICK = ((196, 20, 44), (216, 30, 92), (150, 14, 62), (228, 58, 66))
RADIUS = 70  # of the head, in face units


@dataclass(frozen=True)
class Pose:
    """Where the face is on the canvas of 256 x 256.

    Face units: u to the right of the picture, v down, from the point between the eyes. `turn` and `tilt` are sines
    in 1/256 of the head's turn (positive: to the picture's right) and of its tilt, `size` is a scale in 1/256.
    """

    x: int
    y: int
    size: int
    turn: int
    tilt: int

    def at(self, u: int, v: int, relief: int = 0) -> Point:
        """Canvas point on the front of the head, `relief` units above it."""
        return self.rim(u, v, isqrt(max(0, RADIUS * RADIUS - u * u)) + relief)

    def rim(self, u: int, v: int, depth: int = 0) -> Point:
        """Canvas point of an outline, `depth` units in front of the head's axis."""
        cosine = isqrt(65536 - self.turn * self.turn)
        return self._place((u * cosine + (depth - RADIUS // 2) * self.turn) // 256, v)

    def body(self, u: int, v: int) -> Point:
        """Canvas point of the body, which neither turns nor tilts."""
        return self.x + u * self.size // 256, self.y + v * self.size // 256

    def span(self, length: int) -> int:
        """Canvas units, at least 1, of a length."""
        return max(1, length * self.size // 256)

    def _place(self, u: int, v: int) -> Point:
        cosine = isqrt(65536 - self.tilt * self.tilt)
        u = u * 17 // 16
        across, down = u * cosine - v * self.tilt, u * self.tilt + v * cosine
        return self.x + across * self.size // 65536, self.y + down * self.size // 65536


@dataclass(frozen=True)
class Person:
    """Traits of one face; `length` of the hair is "bald", "short", "bob" or "long", `hat` and `glasses` name a
    kind or are empty, `tucked` hair leaves the ears free."""

    male: bool
    skin: Color
    tone: str
    hair: Color
    hair_name: str
    length: str
    wavy: bool
    bangs: bool
    tucked: bool
    part: int
    brow: Color
    bushy: bool
    beard: bool
    smile: bool
    open_mouth: bool
    lips: Color
    lipstick: bool
    double_chin: bool
    glasses: str
    frame: Color
    hat: str
    hat_color: Color
    earrings: str
    jewel: Color
    necklace: str
    metal: Color
    iris: Color
    cloth: Color
    collar: str


_JEWELS = ((236, 200, 84), (226, 230, 238), (40, 168, 150), (214, 40, 60), (60, 84, 214), (248, 246, 240))
_METALS = ((240, 206, 92), (232, 236, 242), (250, 246, 236), (40, 40, 48), (206, 44, 58), (44, 150, 160))
_FRAMES = ((22, 22, 26), (34, 26, 24), (88, 24, 28), (26, 34, 84), (60, 60, 66))


def _near(dice: Dice, palette) -> Color:
    """A palette color with a little jitter: named colors of skin, hair and lips have to stay apart."""
    gain = dice.between(242, 264)
    return tuple(min(255, (c * gain >> 8) + dice.between(0, 5)) for c in dice.pick(palette))


def draw_person(dice: Dice) -> Person:
    """Roll one person."""
    male = dice.chance(430)
    tone = "dark" if dice.chance(105) else "pale" if dice.chance(190) else "middle"
    gray = dice.chance(120 if male else 40)
    weights = ("black",) * (16 if tone == "dark" else 5) + ("brown",) * 6 + ("other",)
    weights += () if tone == "dark" else ("blond",) * (3 if male else 6)
    hair_name = "gray" if gray else dice.pick(weights)
    hair = _near(dice, HAIR[hair_name])
    roll = dice.between(0, 999)
    steps = (("bald", 90), ("short", 840), ("bob", 910)) if male else (("bald", 4), ("short", 110), ("bob", 320))
    length = next((name for name, limit in steps if roll < limit), "long")
    hat = dice.pick(("cap", "beanie", "brim")) if dice.chance(78) else ""
    covered = length == "bald" or (hat and length == "short")
    tucked = length in ("bald", "short") or dice.chance(420)
    skin = _near(dice, SKIN[tone])
    lipstick = not male and dice.chance(620)
    natural = (skin[0] * 234 >> 8, skin[1] * 182 >> 8, skin[2] * 186 >> 8)
    beard = male and dice.chance(430)
    bangs = not hat and length != "bald" and dice.chance(150 if male else 320)
    collar = dice.pick(("crew", "shirt", "shirt", "vee", "roll") if male else ("crew", "vee", "bare", "bare", "roll"))
    necklace = dice.pick(("chain", "pearls")) if dice.chance(25 if male else 125) else ""
    brow_gain = dice.between(110, 176)
    return Person(
        male=male,
        skin=skin,
        tone=tone,
        hair=hair,
        hair_name=hair_name,
        length=length,
        wavy=not covered and dice.chance(200 if male else 420),
        bangs=bangs,
        tucked=tucked,
        part=dice.between(-34, 34),
        brow=scale(hair, brow_gain) if hair_name != "other" else (84, 52, 40),
        bushy=not (bangs or hat) and dice.chance(270 if male else 110),
        beard=beard,
        smile=dice.chance(460),
        open_mouth=dice.chance(420),
        lips=_near(dice, LIPSTICK) if lipstick else natural,
        lipstick=lipstick,
        double_chin=not beard and dice.chance(110),
        glasses=dice.pick(("round", "square", "square", "cat", "shades")) if dice.chance(102) else "",
        frame=dice.pick(_FRAMES),
        hat=hat,
        hat_color=tint(dice, CLOTHES),
        earrings=dice.pick(("hoop", "drop", "stone")) if tucked and dice.chance(90 if male else 720) else "",
        jewel=dice.pick(_JEWELS),
        necklace=necklace,
        metal=dice.pick(_METALS),
        iris=dice.pick(IRIS),
        cloth=tint(dice, CLOTHES),
        collar="bare" if necklace else collar,
    )


def draw_pose(dice: Dice) -> Pose:
    """Roll a pose: mostly frontal, the eyes near the middle of the picture."""
    turn = dice.between(-40, 40) if dice.chance(550) else dice.pick((-1, 1)) * dice.between(40, 84)
    tilt = dice.between(-10, 10) if dice.chance(600) else dice.between(-26, 26)
    return Pose(128 + dice.between(-6, 6), 114 + dice.between(-5, 5), dice.between(232, 262), turn, tilt)


def smooth(points: list[Point], rounds: int = 3) -> list[Point]:
    """Closed curve of a polygon, its corners cut `rounds` times."""
    for _ in range(rounds):
        cut = []
        for (a, b), (c, d) in zip(points, points[1:] + points[:1], strict=True):
            cut.append(((3 * a + c + 2) >> 2, (3 * b + d + 2) >> 2))
            cut.append(((a + 3 * c + 2) >> 2, (b + 3 * d + 2) >> 2))
        points = cut
    return points


def both(points: list[Point]) -> list[Point]:
    """Points of the right half, top to bottom, and their mirror images: a closed outline."""
    return points + [(-u, v) for u, v in reversed(points) if u]
