"""Images without layouts: is a network better for images whose layouts nobody drew?

Three trainings for each seed, all of the kind that answers in any direction: on all pairs but with a part of the
layouts ("few"), on the pairs of these layouts alone ("alone"), and on all pairs with all layouts ("all").
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gcdp.evaluation.iou import alignment_miou
from gcdp.evaluation.statistics import seed_interval
from gcdp.experiments.datasets import open_pairs
from gcdp.experiments.directions import Directions
from gcdp.experiments.directions_methods import Method
from gcdp.experiments.profile import Profile
from gcdp.experiments.runs import Run, prepare_run
from gcdp.experiments.study import in_pipeline, train_trial
from gcdp.experiments.study_record import Trial

ARMS = {"few": "few_layouts", "alone": "any", "all": "any"}  # name of a training -> role of its model
OF_PAIRS = ("j", "frechet", "miou")


def arm_trials(profile: Profile, domain: str) -> dict[str, list[Trial]]:
    """The trainings of each arm, one for each seed; empty where the profile compares none."""
    settings = profile.directions
    if not settings.few_layouts:
        return {}
    every = len(open_pairs(profile, domain, "train"))
    few = max(1, round(profile.train_for(settings.few_layouts).labeled * every))
    pairs = {"few": every, "alone": few, "all": every}
    return {
        arm: [Trial(settings.models[role], pairs[arm], seed) for seed in settings.seeds] for arm, role in ARMS.items()
    }


def arm_run(profile: Profile, domain: str, trial: Trial) -> Run:
    """What the training of an arm takes, in results/<profile>/directions/<domain>, or in the pipeline's folders."""
    if trial.model == profile.directions.any and in_pipeline(profile, domain, trial):
        return prepare_run(profile, domain, trial.model)
    return prepare_run(profile, domain, trial.model, trial.seed, trial.pairs, place="directions")


def train_arm(profile: Profile, domain: str, trial: Trial) -> Path:
    """`gcdp.experiments.study.train_trial` for an arm."""
    return train_trial(profile, domain, trial, arm_run(profile, domain, trial))


def few_layouts(directions: Directions) -> dict[str, Any]:
    """{"layouts", "pairs", "seeds", "arms": {arm: {measure: ...}}, "differences": {"few - alone": ..., ...}}.

    Every measure holds the "values" of the seeds and their mean with its interval; a difference is that of the two
    trainings of a seed, which share their labeled pairs. Networks that are missing are trained. Empty where the profile
    compares none.
    """
    profile, domain = directions.profile, directions.domain
    trials = arm_trials(profile, domain)
    if not trials:
        return {}
    found = {
        arm: [measure_network(directions, ARMS[arm], train_arm(profile, domain, trial), trial) for trial in chosen]
        for arm, chosen in trials.items()
    }
    arms = {arm: _over_seeds(rows) for arm, rows in found.items()}
    differences = {
        f"few - {other}": _over_seeds(
            [
                {key: ours[key] - theirs[key] for key in ours}
                for ours, theirs in zip(found["few"], found[other], strict=True)
            ]
        )
        for other in ("alone", "all")
    }
    facts = {
        "layouts": trials["alone"][0].pairs,
        "pairs": trials["all"][0].pairs,
        "seeds": list(profile.directions.seeds),
    }
    return {**facts, "arms": arms, "differences": differences}


def measure_network(directions: Directions, role: str, folder: Path, trial: Trial) -> dict[str, float]:
    """What one network does in each direction, on the same captions and noise as the others."""
    steps = directions.profile.sampling.num_steps
    method = Method(f"few-{trial.key}", trial.key, role, steps)
    world = directions.world
    layouts = alignment_miou(world.layouts, directions.layouts(method, folder).layouts, world.classes)["miou"]
    images = directions.of_given_layouts(directions.images(method, folder).images)
    pairs = directions.pairs(role, folder, method.key)
    found = {"layout_miou": layouts, "image_miou": images["miou"], "image_frechet": images["frechet"]}
    found |= {f"pair_{key}": pairs[key] for key in OF_PAIRS if key in pairs}
    return {key: float(each["value"]) for key, each in found.items()}


def _over_seeds(rows: list[dict[str, float]]) -> dict[str, Any]:
    return {key: {**seed_interval([row[key] for row in rows]), "values": [row[key] for row in rows]} for key in rows[0]}
