"""The records of Fig. 8: which networks it compares, and how well clusters of their features agree with true classes.

    python -m gcdp.experiments.features --profile toy-scratch [--domains faces streets]

computes the records that a profile lacks, network by network; stop it at any time, the same command goes on.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch

from gcdp.errors import CheckpointError, GCDPError
from gcdp.experiments.datasets import open_pairs
from gcdp.experiments.features_grid import FeatureGrid
from gcdp.experiments.features_record import BASELINES, RELEASE, FeatureRecord, FeatureRecords
from gcdp.experiments.models import expected_card, model_folder, network_hash, open_model
from gcdp.experiments.profile import Profile, load_profile
from gcdp.experiments.runs import released_folder
from gcdp.experiments.study import in_pipeline, seeds_of
from gcdp.experiments.study_record import SUFFIX, Trial
from gcdp.generators.pipeline import Pipeline
from gcdp.network.unet import UNet
from gcdp.training.checkpoint import check_match, load_card

TOLERANCE = 0.05  # of a measure between two machines, whose last bits may send K-means to other clusters


def planned(profile: Profile, domain: str) -> list[Trial]:
    """The networks that Fig. 8 compares: the two models on all pairs, with their own seed and those of the study."""
    pairs, study = len(open_pairs(profile, domain, "train")), profile.study
    found = []
    for model in profile.features.models:
        repeated = seeds_of(profile, model) if model in (*study.models, *study.full_size) else ()
        found += [Trial(model, pairs, seed) for seed in dict.fromkeys((profile.train_for(model).seed, *repeated))]
    return found


def own_trial(profile: Profile, domain: str, model: str) -> Trial:
    """The network of the pipeline, results/<profile>/models/<domain>-<model>, as a trial."""
    return next(trial for trial in planned(profile, domain) if trial.model == model)


def network_folder(profile: Profile, domain: str, trial: Trial) -> Path | None:
    """Where a trained network lies; None where its training is not finished.

    Raises CheckpointError for one that does not fit the profile.
    """
    folder = profile.results_folder("study") / domain / trial.key
    if in_pipeline(profile, domain, trial):
        folder = model_folder(profile, domain, trial.model)
    if not (folder / "config.json").is_file():
        return None
    check_match(load_card(folder), expected_card(profile, domain, trial.model), folder)
    return folder


def current(grid: FeatureGrid, trial: Trial | None) -> FeatureRecord | None:
    """The kept record of a network, or of the baselines (None), as network and grid are now; else None."""
    weights = network_folder(grid.profile, grid.domain, trial) if trial else None
    if trial and weights is None:
        return None
    try:
        record = FeatureRecord.load(_path(grid, trial))
    except CheckpointError:
        return None
    network = network_hash(weights) if weights else ""
    return record if (record.identity, record.network) == (grid.identity, network) else None


def compute(grid: FeatureGrid, trial: Trial | None) -> FeatureRecord | None:
    """The record of a network, or of the baselines (None): that which is there, else computed and kept.

    None for a network that is not trained yet. Raises CheckpointError where the baselines need one that is not.
    """
    if (record := current(grid, trial)) is not None:
        return record
    if trial is None:
        trained = open_model(grid.profile, grid.domain, grid.settings.models[0])
        record = grid.record(grid.baselines(untrained(trained, grid.settings.seed)))
    else:
        weights = network_folder(grid.profile, grid.domain, trial)
        if weights is None:
            return None
        pipeline = open_model(grid.profile, grid.domain, trial.model, weights)
        record = grid.record(grid.cluster(pipeline), network_hash(weights))
    record.save(_path(grid, trial))
    return record


def untrained(pipeline: Pipeline, seed: int) -> Pipeline:
    """The network of a pipeline as it was before any training, its weights drawn with `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet(pipeline.card.unet).eval()
    return Pipeline(unet.to(pipeline.device), pipeline.process, pipeline.card, pipeline.network.encode)


def make_features(grid: FeatureGrid) -> FeatureRecords:
    """All records of a domain: the released ones, else those of every finished network.

    Missing ones are computed. Raises CheckpointError where the release is missing.
    """
    profile, domain, folder = grid.profile, grid.domain, records_folder(grid.profile, grid.domain)
    if profile.released:
        source = released_folder(profile, domain, "features") / RELEASE
        if not source.is_file():
            raise CheckpointError(f"{source} is missing: fetch it, or run profile '{profile.released}-scratch'")
        shutil.copyfile(source, folder / RELEASE)
        return FeatureRecords.load(folder)
    for trial in (*planned(profile, domain), None):
        compute(grid, trial)
    return FeatureRecords.load(folder, grid.identity)


def check_live(records: FeatureRecords, trial: Trial, live: FeatureRecord) -> float:
    """The largest difference of a measure between what was just computed of a network and its record.

    Raises CheckpointError where there is no such record, it is of another network or grid, or the difference is larger
    than `TOLERANCE`.
    """
    record = records.networks.get(trial)
    remedy = "fetch the whole repository, or compute the records again (python -m gcdp.experiments.features)"
    if record is None or record.network != live.network:
        raise CheckpointError(f"the records of features hold none of this network {trial.key}: {remedy}")
    if not set(live.values) <= set(record.values):
        raise CheckpointError(f"the record of {trial.key} was made for another grid of features: {remedy}")
    gaps = [np.abs(live.values[row].mean(1) - record.values[row].mean(1)).max() for row in live.values]
    if max(gaps) > TOLERANCE:
        raise CheckpointError(f"the record of {trial.key} is off by {max(gaps):.3f} from what was computed: {remedy}")
    return float(max(gaps))


def records_folder(profile: Profile, domain: str) -> Path:
    """results/<profile>/features/<domain>"""
    return profile.results_folder("features", domain)


def _path(grid: FeatureGrid, trial: Trial | None) -> Path:
    return records_folder(grid.profile, grid.domain) / f"{trial.key if trial else BASELINES}{SUFFIX}"


def main() -> None:
    """Command line: compute the records that a profile lacks."""
    parser = argparse.ArgumentParser(description="Cluster the features of every finished network of a profile.")
    parser.add_argument("--profile", required=True)
    parser.add_argument("--domains", nargs="+")
    given = parser.parse_args()
    try:
        for domain in given.domains or load_profile(given.profile).domains:
            grid = FeatureGrid(load_profile(given.profile, domain), domain)
            for trial in (*planned(grid.profile, domain), None):
                done, name = compute(grid, trial) is not None, trial.key if trial else BASELINES
                print(f"{domain} {name}: {'recorded' if done else 'not trained yet'}", flush=True)
    except GCDPError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
