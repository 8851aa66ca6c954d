"""Records of features: what the grid holds, what is computed and what is kept, releases, and what is refused.

Networks are drawn and not trained; seeds are those of their trials.
"""

import sys

import numpy as np
import pytest
import torch
from worlds.places import make_repository
from worlds.tiny import awake

import gcdp.experiments.features as features
from gcdp.errors import CheckpointError, ConfigError
from gcdp.evaluation.agreement import AGREEMENT
from gcdp.experiments.features import (
    check_live,
    compute,
    current,
    make_features,
    network_folder,
    own_trial,
    planned,
)
from gcdp.experiments.features_grid import FeatureGrid
from gcdp.experiments.features_record import BASELINES, FeatureRecord, FeatureRecords, Row
from gcdp.experiments.models import network_hash, open_model
from gcdp.experiments.profile import load_profile
from gcdp.experiments.study import trial_run
from gcdp.experiments.study_record import SUFFIX, Trial
from gcdp.network.unet import UNet
from gcdp.training.checkpoint import load_card, load_model, save_model, with_training
from gcdp.weights import to_half

GRID = {
    "models": ["joint", "gaussian"], "taps": ["up.0", "last"], "times": [100, 800], "clusters": [2, 3],
    "num_images": 2, "shown_clusters": 3,
}  # fmt: skip
STUDY = {"models": ["joint", "gaussian"], "seeds": [5, 7], "num_samples": 2, "num_val": 2}
JOINT, GAUSSIAN, SECOND = Trial("joint", 4, 5), Trial("gaussian", 4, 5), Trial("joint", 4, 7)


def leave(profile, trial, seed=None):
    """A network of a trial where its training would leave it, its weights drawn with the seed of the trial."""
    run = trial_run(profile, "streets", trial)
    torch.manual_seed(trial.seed if seed is None else seed)
    weights = awake(UNet(run.card.unet)).state_dict()
    save_model(run.model_folder, {k: v.half().float() for k, v in weights.items()}, with_training(run.card))
    return run.model_folder


def make_grid(repository, **changes):
    make_repository(repository, study=STUDY, features=GRID | changes)
    return FeatureGrid(load_profile("tiny", "streets"), "streets")


@pytest.fixture
def grid(repository):
    """The grid of a profile whose two own networks are trained."""
    grid = make_grid(repository)
    for trial in (JOINT, GAUSSIAN):
        leave(grid.profile, trial)
    return grid


@pytest.fixture
def computed(monkeypatch):
    """Names of the records that are written."""
    names, save = [], FeatureRecord.save
    monkeypatch.setattr(
        FeatureRecord, "save", lambda record, path: (names.append(path.name.removesuffix(SUFFIX)), save(record, path))
    )
    return names


def test_networks_of_the_pipeline_and_of_the_study_are_compared(grid):
    assert planned(grid.profile, "streets") == [JOINT, SECOND, GAUSSIAN, Trial("gaussian", 4, 7)]
    assert own_trial(grid.profile, "streets", "gaussian") == GAUSSIAN
    assert network_folder(grid.profile, "streets", SECOND) is None
    assert network_folder(grid.profile, "streets", JOINT).name == "streets-joint"


def test_the_grid_holds_every_block_time_and_number_under_every_condition(grid):
    records = make_features(grid)
    assert list(records.networks) == [GAUSSIAN, JOINT] and len(records.networks[GAUSSIAN].values) == 16
    rows = set(records.networks[JOINT].values)
    assert rows == {
        Row(f"{condition}{other}", tap, time, clusters)
        for condition in ("paired", "blank", "swapped") for other in ("", "_other")
        for tap in ("up.0", "last") for time in (100, 800) for clusters in (2, 3)
    }  # fmt: skip
    of_baselines = {row.condition: 0 for row in records.baselines.values}
    for row in records.baselines.values:
        of_baselines[row.condition] += 1
    assert of_baselines == {
        "untrained": 8, "noised_colors": 4, "smoothed_colors": 4, "noised_layout": 2, "clean_colors": 2, "position": 2,
        "other_layout": 1,
    }  # fmt: skip
    shapes = {each.shape for record in records.by_name().values() for each in record.values.values()}
    assert shapes == {(len(AGREEMENT), 2)}


def test_conditions_change_what_the_network_is_given(grid):
    pipeline = open_model(grid.profile, "streets", "joint")
    paired, blank, swapped = (grid.noised(pipeline, name, 100) for name in ("paired", "blank", "swapped"))
    assert paired[1] == swapped[1] == (100, 100) and blank[1] == (100, 1000)
    assert torch.equal(paired[0].x, blank[0].x) and torch.equal(paired[0].x, swapped[0].x)
    layouts = torch.from_numpy(grid.world.layouts.astype(np.int64))
    own = (paired[0].y == layouts).double().mean()
    assert own > 0.8 and (swapped[0].y == layouts.flip(0)).double().mean() > 0.8  # two pairs: each is the other's next
    assert (blank[0].y == layouts).double().mean() < 0.3
    rows = dict(grid.cluster(pipeline, taps=["up.0"], times=[800], clusters=[3]))
    assert not np.array_equal(rows[Row("paired", "up.0", 800, 3)], rows[Row("blank", "up.0", 800, 3)])


def test_labels_as_clusters_are_held_against_the_layouts(grid):
    values = make_features(grid).baselines.values
    assert values[Row("noised_layout", time=100)][1].mean() > values[Row("noised_layout", time=800)][1].mean()
    truth = grid.record([(Row("paired", "", 0, 20), grid.world.layouts)])
    assert np.allclose(truth.values[Row("paired", "", 0, 20)].mean(1), 1)
    other = grid.record([(Row("paired", "", 0, 20), grid.others)])
    assert np.allclose(other.values[Row("paired_other", "", 0, 20)].mean(1), 1)


def test_only_what_is_missing_is_computed(grid, computed):
    first = make_features(grid)
    assert computed == ["joint-4-s5", "gaussian-4-s5", BASELINES]
    again = make_features(grid)
    assert len(computed) == 3 and again.networks[JOINT].values.keys() == first.networks[JOINT].values.keys()
    leave(grid.profile, SECOND)
    assert SECOND in make_features(grid).networks and computed[3:] == ["joint-4-s7"]
    leave(grid.profile, GAUSSIAN, seed=9)
    make_features(grid)
    assert computed[4:] == ["gaussian-4-s5"]


def test_a_run_that_was_stopped_goes_on_with_the_next_network(grid, computed, monkeypatch):
    cluster = FeatureGrid.cluster

    def stopped(self, pipeline, *args):
        if pipeline.process.categorical is None:
            raise KeyboardInterrupt
        return cluster(self, pipeline, *args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(FeatureGrid, "cluster", stopped)
        make_features(grid)
    make_features(grid)
    assert computed == ["joint-4-s5", "gaussian-4-s5", BASELINES]


def test_records_of_another_grid_or_damaged_ones_are_computed_again(grid, repository, computed):
    make_features(grid)
    assert FeatureGrid(load_profile("tiny", "streets"), "streets").identity == grid.identity
    assert make_grid(repository, shown_tap="mid").identity == grid.identity  # decides nothing
    other = make_grid(repository, clusters=[3])
    assert other.identity != grid.identity and current(other, JOINT) is None
    (repository / "results/tiny/features/streets/joint-4-s5.safetensors.xz").write_bytes(b"damaged")
    compute(grid, JOINT)
    assert computed[3:] == ["joint-4-s5"]


def test_baselines_need_the_network_of_both_halves(repository):
    grid = make_grid(repository)
    with pytest.raises(CheckpointError, match="streets-joint"):
        make_features(grid)


def test_unknown_taps_are_refused_with_those_there_are(grid, repository):
    with pytest.raises(ConfigError, match=r"the network has no tap 'up.3': choose from down.0, down.1, mid, up.1"):
        make_features(make_grid(repository, taps=["up.3"]))


def test_a_network_of_another_kind_is_refused(grid, repository):
    shifted = {"layout_shift": -1.0, "layout_schedule": "shifted"}
    make_repository(repository, study=STUDY, features=GRID, diffusion=shifted)
    with pytest.raises(CheckpointError, match="was trained with"):
        make_features(FeatureGrid(load_profile("tiny", "streets"), "streets"))


def test_a_release_holds_all_records_and_the_network_that_is_there(grid, repository):
    leave(grid.profile, SECOND)
    made = make_features(grid)
    path = made.release(repository / "weights/tiny-streets-features")
    assert path.name == "features.safetensors.xz"
    folder = network_folder(grid.profile, "streets", JOINT)
    unet, _, _ = load_model(folder)
    save_model(folder, to_half(unet.state_dict()), load_card(folder))
    make_repository(repository, study=STUDY, features=GRID, released="tiny")
    released = FeatureGrid(load_profile("tiny", "streets"), "streets")
    records = make_features(released)
    assert records.by_name().keys() == made.by_name().keys()
    for row, values in records.networks[JOINT].values.items():
        assert np.allclose(values, made.networks[JOINT].values[row])
    pipeline = open_model(released.profile, "streets", "joint")
    rows = released.cluster(pipeline, ("paired",), ["up.0"], [800], [3])
    live = released.record(rows, network_hash(folder))
    assert check_live(records, JOINT, live) < 1e-5
    with pytest.raises(CheckpointError, match="hold none of this network joint-4-s7"):
        check_live(records, SECOND, live)
    with pytest.raises(CheckpointError, match="made for another grid"):
        check_live(records, JOINT, FeatureRecord(live.network, "", {Row("paired", "up.0", 50, 3): np.zeros((4, 2))}))
    off = {row: values + 0.1 for row, values in live.values.items()}
    with pytest.raises(CheckpointError, match=r"is off by 0\.100 from what was computed"):
        check_live(records, JOINT, FeatureRecord(live.network, "", off))


def test_a_missing_release_is_named(repository):
    make_repository(repository, features=GRID, released="tiny")
    (repository / "weights/tiny-streets-features").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="xz is missing: fetch it, or run profile 'tiny-scratch'"):
        make_features(FeatureGrid(load_profile("tiny", "streets"), "streets"))


def test_a_profile_without_models_has_no_figure(repository):
    make_repository(repository)
    with pytest.raises(ConfigError, match=r"profile 'tiny' has no Fig. 8: name two models in features.models"):
        FeatureGrid(load_profile("tiny", "streets"), "streets")


def test_numbers_keep_their_means_and_their_scatter_on_disk(tmp_path):
    rng = np.random.default_rng(0)
    values = {Row("paired", "mid", t, 2): rng.normal(0.4, 0.1, (len(AGREEMENT), 100)) for t in (1, 2)}
    values[Row("paired", "mid", 3, 2)] = np.ones((len(AGREEMENT), 100))
    FeatureRecord("network", "identity", values).save(tmp_path / "one")
    again = FeatureRecord.load(tmp_path / "one")
    assert (again.network, again.identity) == ("network", "identity") and again.values.keys() == values.keys()
    for row, kept in again.values.items():
        assert np.allclose(kept.mean(1), values[row].mean(1), atol=1e-6)
        assert np.allclose(kept.std(1), values[row].std(1), rtol=0.01)
    assert (tmp_path / "one").stat().st_size < 3000
    assert FeatureRecords.load(tmp_path).by_name() == {}


def test_the_command_says_what_is_not_trained_yet(grid, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["features", "--profile", "tiny", "--domains", "streets"])
    features.main()
    assert capsys.readouterr().out.splitlines() == [
        "streets joint-4-s5: recorded", "streets joint-4-s7: not trained yet", "streets gaussian-4-s5: recorded",
        "streets gaussian-4-s7: not trained yet", "streets baselines: recorded",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ["joint"]}, r"models must be a model of both halves and an image-only one, got \['joint'\]"),
        ({"models": ["gaussian", "joint"]}, "'gaussian' must be a diffusion of both halves"),
        ({"models": ["joint", "joint"]}, "'joint' must be a diffusion of the image alone"),
        ({"times": [900, 100]}, r"times must be at least one number, in rising order, got \[900, 100\]"),
        ({"times": [800, 1001]}, "features.times must be at most T = 1000"),
        ({"shown_time": 700}, r"shown_time 700 is not in the grid: choose one of \[100, 800\]"),
        ({"clusters": [1, 3]}, "clusters must be within 2..256"),
        ({"num_images": 1}, "num_images must be at least 2"),
    ],
)
def test_settings_that_make_no_grid_are_refused(repository, changes, message):
    with pytest.raises(ConfigError, match=message):
        make_repository(repository, features=GRID | changes)
