"""The tasks behind a profile, in order of importance: data, referees, trainings, scores, then the records of figures.

A task is done when what it leaves on disk is there and is that of now. So a list of tasks goes on where it stopped,
whoever did the first part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, zip_longest

from gcdp.errors import DataError
from gcdp.experiments.datasets import (
    open_captions,
    open_pairs,
    open_text,
    prepare_captions,
    prepare_pairs,
    prepare_text,
)
from gcdp.experiments.directions_record import make_directions
from gcdp.experiments.features import compute, own_trial, planned
from gcdp.experiments.features import current as current_features
from gcdp.experiments.features_grid import FeatureGrid
from gcdp.experiments.few_layouts import arm_run, arm_trials, train_arm
from gcdp.experiments.guidance_record import make_guidance
from gcdp.experiments.models import fit
from gcdp.experiments.profile import Profile
from gcdp.experiments.referees import make_referees, open_referee, seen_area
from gcdp.experiments.runs import Run, prepare_run
from gcdp.experiments.sections import SPLITS
from gcdp.experiments.selection import trained_models
from gcdp.experiments.strokes_record import make_strokes
from gcdp.experiments.study import group, in_pipeline, is_trained, seeds_of, train_trial, trial_run, trials
from gcdp.experiments.study_record import Trial
from gcdp.experiments.study_scoring import Scoring, current, study_identity
from gcdp.toy.worlds import WORLDS

KINDS = ("data", "referees", "train", "validate", "test", "features", "directions", "guidance", "strokes")
PASS = {"validate": "validation", "test": "test"}


@dataclass(frozen=True, order=True)
class Task:
    """One piece of work: its domain, one of KINDS, and what it is about, a trial or a model of the pipeline."""

    domain: str
    kind: str
    model: str = ""
    trial: Trial | None = None

    @property
    def name(self) -> str:
        """What it is called in the table, and its files."""
        about = self.trial.key if self.trial else self.model
        return "-".join(part for part in (self.domain, self.kind, about) if part)

    @property
    def kin(self) -> tuple[str, ...]:
        """What tasks that take about as long have in common."""
        return self.kind, self.domain, self.trial.model if self.trial else self.model


def data_tasks(profiles: dict[str, Profile]) -> list[Task]:
    """One for each domain: pairs, captions and encoded text."""
    return [Task(domain, "data") for domain in profiles]


def plan(profiles: dict[str, Profile]) -> list[Task]:
    """All other tasks, the most important first; those of the domains take turns.

    Per domain: the referees; all models with the first seed on all pairs; the other models of the pipeline; further
    seeds; fewer pairs; halves drawn given the other, and what is trained for their record alone; features; guidance of
    each half; strokes. Networks are scored as soon as they are trained. The data must be there.
    """
    turns = zip_longest(*(_domain_plan(profile, domain) for domain, profile in profiles.items()))
    return [task for task in chain.from_iterable(turns) if task is not None]


def _domain_plan(profile: Profile, domain: str) -> list[Task]:
    tasks, study = [Task(domain, "referees")], profile.study
    repeated = _study_trials(profile, domain)
    inside = {trial.model for trial in repeated if in_pipeline(profile, domain, trial)}
    others = [Task(domain, "train", model) for model in trained_models(profile) if model not in inside]
    first = [trial for trial in repeated if trial.seed == study.seeds[0] and trial.pairs == repeated[0].pairs]
    for trial in repeated:
        tasks += [Task(domain, "train", trial=trial), Task(domain, "validate", trial=trial)]
        if trial.seed == seeds_of(profile, trial.model)[-1]:
            tasks += [Task(domain, "test", trial=each) for each in group(profile, trial)]
        if trial == first[-1]:
            tasks += others
    return [
        *(tasks if repeated else [*tasks, *others]),
        *_direction_tasks(profile, domain),
        *_feature_tasks(profile, domain),
        *([Task(domain, "guidance")] if profile.guidance.model else []),
        *([Task(domain, "strokes")] if profile.strokes.models else []),
    ]


def _study_trials(profile: Profile, domain: str) -> list[Trial]:
    return list(trials(profile, len(open_pairs(profile, domain, "train")))) if profile.study.models else []


def _feature_tasks(profile: Profile, domain: str) -> list[Task]:
    """Fig. 8: one for each network, and one for what is learned by none."""
    looked_into = [*planned(profile, domain), None] if profile.features.models else []
    return [Task(domain, "features", trial=trial) for trial in looked_into]


def _direction_tasks(profile: Profile, domain: str) -> list[Task]:
    """Fig. 9: one for each training on few layouts, and one for the record of all."""
    if not profile.directions.diagonal:
        return []
    arms = dict.fromkeys(trial for trials in arm_trials(profile, domain).values() for trial in trials)
    return [Task(domain, "directions", trial=trial) for trial in (*arms, None)]


def needs(profile: Profile, task: Task) -> set[Task]:
    """The tasks that have to be done before this one."""
    if task.kind == "validate":
        return {Task(task.domain, "referees"), Task(task.domain, "train", trial=task.trial)}
    if task.kind == "test":
        return {Task(task.domain, "validate", trial=each) for each in group(profile, task.trial)}
    if task.kind == "features":
        trial = task.trial or own_trial(profile, task.domain, profile.features.models[0])
        if trial in _study_trials(profile, task.domain):
            return {Task(task.domain, "train", trial=trial)}
        return {Task(task.domain, "train", trial.model)}
    if task.kind == "directions" and task.trial is None:
        arms = {other for other in _direction_tasks(profile, task.domain) if other.trial}
        networks = {_own_training(profile, task.domain, model) for model in profile.directions.networks.values()}
        return {Task(task.domain, "referees"), *arms, *networks}
    if task.kind == "guidance":
        return {Task(task.domain, "referees"), _own_training(profile, task.domain, profile.guidance.model)}
    if task.kind == "strokes":
        networks = {_own_training(profile, task.domain, model) for model in profile.strokes.models.values()}
        return {Task(task.domain, "referees"), *networks}
    return set()


def _own_training(profile: Profile, domain: str, model: str) -> Task:
    """The task that trains a network of the pipeline: as a trial of the study where it is one."""
    mine = (t for t in _study_trials(profile, domain) if t.model == model and in_pipeline(profile, domain, t))
    trial = next(mine, None)
    return Task(domain, "train", trial=trial) if trial else Task(domain, "train", model)


def training(profile: Profile, task: Task) -> Run:
    """What a task of kind "train" trains."""
    if task.trial:
        return trial_run(profile, task.domain, task.trial)
    return prepare_run(profile, task.domain, task.model)


def is_done(profile: Profile, task: Task) -> bool:
    """Whether what a task leaves is there, and is that of now; asked once the tasks that it needs are done.

    Of referees and of the records of Fig. 9, of guidance and of strokes it is never said: `make_referees` and the like
    keep what is that of now. Asking computes on a GPU for a record, and a process that has used one cannot start others
    that do. Raises CheckpointError where a network is there that was trained in another way, DataError where data
    cannot be read that no program can draw anew.
    """
    domain, trial = task.domain, task.trial
    if task.kind == "data":
        return _has_data(profile, domain)
    if task.kind == "train":
        return is_trained(profile, domain, trial.model if trial else task.model, training(profile, task))
    if task.kind in ("referees", "guidance", "strokes") or (task.kind == "directions" and not trial):
        return False
    if task.kind == "features":
        return current_features(FeatureGrid(profile, domain), trial) is not None
    if task.kind == "directions":
        return is_trained(profile, domain, trial.model, arm_run(profile, domain, trial))
    return current(profile, domain, trial, PASS[task.kind], study_identity(profile, domain)) is not None


def do(profile: Profile, task: Task) -> None:
    """Do a task, going on where it stopped. Raises what its training or scoring raises."""
    domain = task.domain
    if task.kind == "data":
        prepare_pairs(profile, domain)
        prepare_captions(profile, domain)
        prepare_text(profile, domain)
    elif task.kind == "referees":
        make_referees(profile, domain)
    elif task.kind == "train" and task.trial:
        train_trial(profile, domain, task.trial)
    elif task.kind == "train":
        run = prepare_run(profile, domain, task.model)
        if not is_trained(profile, domain, task.model, run):
            fit(profile, task.model, run)
    elif task.kind == "features":
        compute(FeatureGrid(profile, domain), task.trial)
    elif task.kind == "directions" and task.trial:
        train_arm(profile, domain, task.trial)
    elif task.kind == "directions":
        make_directions(profile, domain, _area(profile, domain))
    elif task.kind == "guidance":
        make_guidance(profile, domain, _area(profile, domain))
    elif task.kind == "strokes":
        make_strokes(profile, domain)
    else:
        scoring = Scoring(profile, domain)
        (scoring.validate if task.kind == "validate" else scoring.test)(task.trial)


def _area(profile: Profile, domain: str) -> int:
    return seen_area(profile, domain, open_referee(profile, domain))


def _has_data(profile: Profile, domain: str) -> bool:
    data = profile.domain(domain)
    try:
        sizes = {open_pairs(profile, domain, split).size for split in SPLITS}
        for split in SPLITS:
            open_captions(profile, domain, split)
        open_text(profile, domain)
    except DataError as error:
        if data.source in WORLDS:
            return False
        raise DataError(
            f"pairs, captions or text of {domain} are missing: run the notebooks 01 to 03 of profile "
            f"'{profile.name}' first, `make PROFILE={profile.name} STAGES=text`"
        ) from error
    return data.source not in WORLDS or sizes == {tuple(data.size)}
