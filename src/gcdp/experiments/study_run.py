"""The study of a domain as notebooks take it: the released records, else trained and scored here, trial by trial."""

from __future__ import annotations

import shutil

from gcdp.errors import CheckpointError
from gcdp.experiments.datasets import open_pairs
from gcdp.experiments.profile import Profile
from gcdp.experiments.runs import released_folder
from gcdp.experiments.study import train_trial, trials
from gcdp.experiments.study_record import RELEASE, Study
from gcdp.experiments.study_scoring import Scoring, current


def make_study(profile: Profile, domain: str, min_area: int) -> Study:
    """The study of a domain: the released one, else what is missing of it is trained and scored here.

    For more than a small one run `make train-all` first, which uses all cores. Raises CheckpointError where the
    released one is missing or counts classes from another area on than `min_area`, and what trainings raise.
    """
    folder = profile.results_folder("study", domain)
    if profile.released:
        source = released_folder(profile, domain, "study") / RELEASE
        if not source.is_file():
            raise CheckpointError(f"{source} is missing: fetch it, or run profile '{profile.released}-scratch'")
        shutil.copyfile(source, folder / RELEASE)
    else:
        run_study(profile, domain)
    study = Study.load(folder)
    if study.setup.minimum_area != min_area:
        raise CheckpointError(
            f"{folder} counts classes from {study.setup.minimum_area} pixels on, the referee of this run is calibrated "
            f"to {min_area}: fetch the whole repository, or delete {folder} and run the study again"
        )
    return study


def run_study(profile: Profile, domain: str) -> None:
    """Train and score all trials in this process; what is there already is kept."""
    planned = list(trials(profile, len(open_pairs(profile, domain, "train"))))
    for trial in planned:
        train_trial(profile, domain, trial)
    scoring = Scoring(profile, domain)
    for name, do in (("validation", scoring.validate), ("test", scoring.test)):
        for trial in planned:
            if current(profile, domain, trial, name, scoring.setup.identity) is None:
                do(trial)
