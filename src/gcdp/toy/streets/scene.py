"""State of a scene under composition: classes called for, light, camera, cross-section, free places."""

from __future__ import annotations

from gcdp.toy.drawing import Dice, Sprite
from gcdp.toy.streets.camera import Camera
from gcdp.toy.streets.ground import Street
from gcdp.toy.streets.light import draw_light

# Chance per mille that a scene calls for a class: the long tail in one place. Occlusion hides up to
# about a third of the small ones again.
PRESENCE: dict[str, int] = {
    "road": 985,
    "sidewalk": 930,
    "building": 965,
    "wall": 300,
    "fence": 380,
    "pole": 955,
    "traffic light": 420,
    "traffic sign": 720,
    "vegetation": 940,
    "terrain": 430,
    "sky": 950,
    "person": 580,
    "rider": 200,
    "car": 930,
    "truck": 130,
    "bus": 130,
    "train": 60,
    "motorcycle": 130,
    "bicycle": 350,
    "static": 300,
    "dynamic": 60,
    "ground": 60,
    "parking": 70,
    "guard rail": 40,
    "bridge": 40,
    "ego vehicle": 350,
}
# Chance per mille of each additional class.
EXTRA_PRESENCE = 40
MOTORIZED_RIDER = 170


def _conditional(total: int, given: int) -> int:
    """Chance that, joined to an independent event of chance `given`, makes `total` (per mille)."""
    return max(0, (total - given) * 1000 // (1000 - given))


class Scene:
    """Collects sprites of one scene and keeps objects on the ground from overlapping."""

    def __init__(self, dice: Dice):
        self.dice, self.light = dice, draw_light(dice)
        self.cam = Camera(dice.between(186, 326), dice.between(92, 126), dice.between(440, 500), dice.between(125, 165))
        self.has = {name: dice.chance(chance) for name, chance in PRESENCE.items()}
        self.ground: list[Sprite] = []
        self.rows: list[Sprite] = []
        self.objects: list[Sprite] = []
        self.front: list[Sprite] = []
        self.taken: list[tuple[int, int, int, int]] = []
        self.bonds = 0
        has = self.has
        self.motorized = has["rider"] and dice.chance(MOTORIZED_RIDER)
        ridden = PRESENCE["rider"] * MOTORIZED_RIDER // 1000
        self.parked = {
            "motorcycle": dice.chance(_conditional(PRESENCE["motorcycle"], ridden)),
            "bicycle": dice.chance(_conditional(PRESENCE["bicycle"], PRESENCE["rider"] - ridden)),
        }
        self.street = self._street()

    def _street(self) -> Street:
        dice, has = self.dice, self.has
        left, right = -dice.between(280, 720), dice.between(220, 520)
        walks = [dice.between(210, 460) if has["sidewalk"] and dice.chance(880) else 0 for _ in range(2)]
        if has["sidewalk"] and not any(walks):
            walks[dice.between(0, 1)] = 260
        verges = [dice.between(220, 560) if has["terrain"] and dice.chance(700) else 30 for _ in range(2)]
        return Street(left, right, walks[0], walks[1], left - walks[0] - verges[0], right + walks[1] + verges[1])

    def bond(self) -> int:
        """A fresh number for sprites that stay or go together."""
        self.bonds += 1
        return self.bonds

    def spot(self, choose, half: int, deep: int) -> tuple[int, int] | None:
        """A free (x, z) proposed by `choose`, or None after 30 refusals; the footprint becomes taken."""
        for _ in range(30):
            x, z = choose()
            box = (x - half, x + half, z, z + deep)
            seen = self.cam.at(x, 0, z)[0]
            if 6 < seen < 506 and all(
                box[1] < a or box[0] > b or box[3] < c or box[2] > d for a, b, c, d in self.taken
            ):
                self.taken.append(box)
                return x, z
        return None

    def sprites(self) -> list[Sprite]:
        """All sprites, back to front."""
        return self.ground + self.rows + sorted(self.objects, key=lambda s: -s.depth) + self.front
