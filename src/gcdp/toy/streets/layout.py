"""Composition of a scene: ground, rows along the street, and who stands where."""

from __future__ import annotations

from gcdp.toy.drawing import Dice, Sprite
from gcdp.toy.streets import facades, fixtures, ground, people
from gcdp.toy.streets.camera import Camera
from gcdp.toy.streets.light import Light
from gcdp.toy.streets.scene import EXTRA_PRESENCE, Scene
from gcdp.toy.streets.vehicles import SIZES, vehicle

# Where stretches of a row begin, in hundredths of the row's offset: the same columns of every picture.
_MARKS = (45, 105, 175, 270, 410, 620)


def _lay_ground(scene: Scene) -> None:
    dice, cam, street, has = scene.dice, scene.cam, scene.street, scene.has
    scene.ground.append(ground.sky(dice, cam, scene.light))
    label = 22 if has["terrain"] else 8 if has["sidewalk"] else 6
    scene.ground.append(ground.base(dice, cam, label))
    if has["road"]:
        for side in (-1, 1):
            outer = street.edge(side) + side * street.walk(side)
            if has["terrain"] and abs(street.row(side) - outer) > 100:
                scene.ground.append(ground.verge(dice, cam, outer, street.row(side) + side * 20))
            if street.walk(side):
                scene.ground += ground.sidewalk(dice, cam, street.edge(side), outer)
        scene.ground.append(ground.road(dice, cam, street, scene.light))
    else:
        scene.ground.append(ground.plaza(dice, cam, street))
    for name, number in (("parking", 9), ("ground", 6)):
        if has[name]:
            scene.ground.append(ground.patch(dice, cam, street, number))


def _build_rows(scene: Scene) -> None:
    dice, cam, light, has = scene.dice, scene.cam, scene.light, scene.has
    makers = {
        "building": facades.building,
        "wall": facades.wall,
        "fence": facades.fence,
        "vegetation": facades.hedge,
    }
    masses = [name for name in ("building", "vegetation") if has[name]]
    end = dice.between(3500, 8000)
    closed = not has["sky"]
    scene.rows += facades.backdrop(dice, cam, light, end, masses, closed)
    slots = {(side, k): None for side in (-1, 1) for k in range(len(_MARKS) - 1)}
    # The two nearer stretches are taken first: there a fence or a wall is large enough to be seen.
    middle = dice.shuffled([(-1, 3), (1, 3)]) + dice.shuffled([(side, k) for side in (-1, 1) for k in (1, 2)])
    for name in ("wall", "fence"):
        for _ in range(dice.between(1, 2) if has[name] else 0):
            slots[middle.pop()] = name
    for name in masses:
        slots[middle.pop()] = name
    weights = {"building": 9, "vegetation": 3}
    fill = [name for name in masses for _ in range(weights[name])] + ["open"] * (3 if has["sky"] else 1)
    for side in (-1, 1):
        x = scene.street.row(side)
        marks = [abs(x) * mark // 100 + dice.between(0, 80) for mark in _MARKS]
        for k in reversed(range(len(marks) - 1)):
            near, far = max(200, marks[k]), min(marks[k + 1] + 40, end)
            if far - near < 150:
                continue
            kind = slots[side, k] or dice.pick(fill)
            if kind in ("wall", "fence", "open"):
                behind = facades.far_row(dice, cam, light, x, near, far, masses)
                scene.rows += [behind] if behind else []
            if kind != "open":
                scene.rows.append(makers[kind](dice, cam, light, x, near, far))
    if has["building"] and light.shadow > 30 and dice.chance(600):
        # Houses on the sunny side darken the ground before them.
        row = scene.street.row(-1 if light.lean > 0 else 1)
        scene.ground[-1].shadow(ground.strip(cam, row, row + 5 * light.lean), light.shadow * 3 // 4)
    if has["bridge"]:
        scene.rows.append(facades.bridge(dice, cam, dice.between(2500, 3400)))


def _drive(scene: Scene, kind: str, near: int, far: int) -> None:
    dice, street = scene.dice, scene.street
    width, _, length = SIZES[kind]
    across = dice.chance({"car": 25, "train": 350}.get(kind, 150))
    if across:
        near = max(near, 1000, length * 4 // 3)
        far = near + 900
    half, deep = (length // 2, width) if across else (width // 2, length)

    def choose():
        z = dice.between(near, far)
        if across:
            return dice.between(-length // 3, length // 3), z
        lane = dice.pick(("own", "oncoming", "parked", "parked"))
        if lane == "own":
            return dice.between(-60, 60) + (0 if z > 900 or kind == "car" else 260), max(z, 850)
        if lane == "oncoming":
            return max(street.left + half + 20, -340 + dice.between(-40, 40)), z
        side = dice.pick((-1, 1))
        return street.edge(side) - side * (half + dice.between(10, 40)), z

    spot = scene.spot(choose, half, deep)
    if spot is None:
        return
    x, z = spot
    heading = dice.pick(("left", "right")) if across else ("toward" if x < -150 and dice.chance(800) else "away")
    if kind == "train" and not across:
        scene.ground.append(ground.tracks(dice, scene.cam, x))
    scene.objects.append(vehicle(dice, scene.cam, scene.light, kind, x, z, heading))


def _traffic(scene: Scene) -> None:
    dice, has = scene.dice, scene.has
    for kind, near, far in (("train", 900, 2400), ("bus", 850, 2300), ("truck", 800, 2200)):
        if has[kind]:
            _drive(scene, kind, near, far)
    if has["car"]:
        _drive(scene, "car", 620, 1500)
        for _ in range(dice.pick((0, 1, 2, 2, 3, 4, 5, 6))):
            _drive(scene, "car", 560, 3600)


def _beside(scene: Scene, inner: int, outer: int, near: int, far: int, sides=(-1, 1)):
    """Proposes a place inner..outer cm beyond a curb."""

    def choose():
        side = scene.dice.pick(sides)
        x = scene.street.edge(side) + side * scene.dice.between(inner, outer)
        # Not nearer than where the place enters the picture.
        first = max(near, scene.cam.focal * abs(x) // max(60, scene.cam.vx - 14 if x < 0 else 498 - scene.cam.vx))
        return x, scene.dice.between(first, max(far, first + 250))

    return choose


def _two_wheelers(scene: Scene) -> None:
    dice, cam, light = scene.dice, scene.cam, scene.light
    painters = {"bicycle": people.bicycle, "motorcycle": people.motorcycle}
    riders = dice.pick((1, 1, 1, 2)) if scene.has["rider"] else 0
    for index in range(riders):
        mount = "motorcycle" if scene.motorized and index == 0 else "bicycle"
        turn = dice.pick((10, 9, 7, 4, 2)) * dice.pick((-1, 1))
        if scene.motorized and index == 1:
            break
        spot = scene.spot(_beside(scene, -220, 120, 560, 1300), 30 + 5 * abs(turn), 120)
        if spot:
            bond = scene.bond()
            scene.objects.append(painters[mount](dice, cam, light, *spot, turn, bond))
            scene.objects.append(people.rider(dice, cam, *spot, turn, mount, bond))
    for kind in ("motorcycle", "bicycle"):
        for index in range(dice.pick((1, 1, 2)) if scene.parked[kind] else 0):
            turn = dice.pick((10, 10, 8, 5)) * dice.pick((-1, 1))
            spot = scene.spot(_beside(scene, -40, 150, 500, 900 if index == 0 else 1700), 20 + 6 * abs(turn), 60)
            if spot:
                scene.objects.append(painters[kind](dice, cam, light, *spot, turn))


def _walkers(scene: Scene) -> None:
    dice = scene.dice
    for index in range(dice.pick((1, 2, 2, 3, 4, 6)) if scene.has["person"] else 0):
        far = 1050 if index == 0 else 2200
        choose = _beside(scene, 30, 200, 560, far)
        if dice.chance(150):
            choose = _beside(scene, -400, 0, 800, 1500)
        spot = scene.spot(choose, 34, 50)
        if spot:
            scene.objects.append(people.person(dice, scene.cam, scene.light, *spot))


def _furniture(scene: Scene) -> None:
    dice, cam, light, has = scene.dice, scene.cam, scene.light, scene.has
    for name, maker in (("traffic light", fixtures.traffic_light), ("traffic sign", fixtures.sign)):
        for index in range(dice.pick((1, 2, 2, 3)) if has[name] else 0):
            low = dice.between(190, 240) + (50 if name == "traffic sign" else 0)
            near = cam.focal * (low + (70 if name == "traffic sign" else 150) - cam.eye) // (cam.hy - 2)
            spot = scene.spot(_beside(scene, 20, 130, near, near + (250 if index == 0 else 1000)), 30, 60)
            if spot and has["pole"] and dice.chance(830):
                bond = scene.bond()
                scene.objects.append(fixtures.pole(dice, cam, light, *spot, low + dice.between(70, 130), bond))
                scene.objects.append(maker(dice, cam, light, spot[0], low, spot[1], bond))
            elif name == "traffic light" or not has["pole"]:
                x, y = dice.between(-260, 260), dice.between(330, 370)
                z = cam.focal * (y + 130 - cam.eye) // (cam.hy - 4) + dice.between(0, 300)
                scene.objects.append(fixtures.wire(cam, x, 1400, y + 120, z))
                scene.objects.append(maker(dice, cam, light, x, y, z))
    for index in range(dice.between(1, 5) if has["pole"] else 0):
        spot = scene.spot(_beside(scene, 20, 90, 620, 1000 if index == 0 else 3000), 14, 40)
        if spot:
            top = dice.between(560, 900) if index == 0 or dice.chance(700) else dice.between(90, 320)
            scene.objects.append(fixtures.pole(dice, cam, light, *spot, top))
    for _ in range(dice.pick((0, 0, 1, 2, 3)) if has["vegetation"] else 0):
        spot = scene.spot(_beside(scene, 60, 320, 700, 3000), 30, 60)
        if spot:
            scene.objects.append(fixtures.tree(dice, cam, light, *spot))


def _void(scene: Scene) -> None:
    dice, cam, has = scene.dice, scene.cam, scene.has
    for name, maker in (("static", fixtures.static), ("dynamic", fixtures.dynamic)):
        spot = scene.spot(_beside(scene, 30, 200, 560, 1600), 60, 60) if has[name] else None
        if spot:
            scene.objects.append(maker(dice, cam, *spot))
    if has["guard rail"]:
        side = dice.pick((-1, 1))
        x = scene.street.edge(side) + side * 15
        scene.rows.append(fixtures.rail(dice, cam, x, 700, 2600))
    if has["ego vehicle"]:
        scene.front.append(ground.hood(dice, scene.light))


def compose(dice: Dice, extra_classes: int = 0) -> tuple[list[Sprite], Camera, Light]:
    """Sprites of a scene back to front, its camera and its light."""
    scene = Scene(dice)
    _lay_ground(scene)
    _build_rows(scene)
    _two_wheelers(scene)
    _traffic(scene)
    _walkers(scene)
    _furniture(scene)
    _void(scene)
    # Drawn last, so that the shared classes of a seed do not depend on the number of additional ones.
    chosen = [k for k in range(extra_classes) if dice.chance(EXTRA_PRESENCE)]
    for number in dice.shuffled(chosen)[:8]:
        spot = scene.spot(_beside(scene, -120, 240, 520, 1300), 50, 60)
        if spot:
            scene.objects.append(fixtures.glyph(dice, scene.cam, scene.light, number, *spot))
    return scene.sprites(), scene.cam, scene.light
