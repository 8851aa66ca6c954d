"""What is drawn after strokes: every method over the strength, and where it has one the number of gradient steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gcdp.experiments.profile import Profile
from gcdp.generators.stroke_guided import Guide

ROLES = ("joint", "image_only")
LABELS = {
    "sdedit": "SDEdit",
    "loopback": "loopback",
    "ilvr": "ILVR",
    "gradop": "GradOP",
    "gradop_plus": "GradOP+",
    "gradop_network": "GradOP+ through the network",
}
NAMED = ("sdedit", "gradop_plus")  # also drawn with names
FAR, NEAR = 2.5, 1 / 3  # times as many gradient steps as usual, and as few
NETWORK_STEPS = 3  # of the descent through the network, each two calls and one back


@dataclass(frozen=True)
class StrokeTrial:
    """One setting of one method for the model of a role."""

    role: str
    guide: Guide

    @property
    def key(self) -> str:
        """Its name in records and folders."""
        guide = self.guide
        told = "" if guide.naming == "none" else f"-{guide.naming}" + ("" if guide.certainty == 1 else "-soft")
        return f"{self.role}-{guide.method}{told}-{guide.strength:g}-{guide.steps}"


def stroke_trials(profile: Profile) -> list[StrokeTrial]:
    """All settings of a profile, the curves over the strength first.

    At the middle strength GradOP+ has other numbers of steps too, descends through the network, and is told names by
    attention and, by the joint model's layout, as likely but not certain.
    """
    settings = profile.strokes
    middle = settings.strengths[len(settings.strengths) // 2]
    plain = Guide(strength=middle, steps=settings.steps, naming="none")
    some = {"loopback": settings.strengths[1:3], "gradop": settings.strengths[1:3]}
    trials = []
    for role in ROLES:
        curves = [
            replace(plain, method=method, strength=strength)
            for method in ("sdedit", "loopback", "ilvr", "gradop", "gradop_plus")
            for strength in some.get(method, settings.strengths)
        ]
        more = [replace(plain, steps=max(1, round(factor * settings.steps))) for factor in (NEAR, FAR)]
        more += [replace(plain, method="gradop_network", steps=min(NETWORK_STEPS, settings.steps))]
        more += [replace(plain, naming="attention")]
        if role == "joint":
            told = [replace(guide, naming="layout") for guide in curves if guide.method in NAMED]
            more += [*told, replace(plain, naming="layout", certainty=settings.certainty)]
        trials += [StrokeTrial(role, guide) for guide in (*curves, *more)]
    return list(dict.fromkeys(trials))
