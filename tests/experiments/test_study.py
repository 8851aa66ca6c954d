"""Repeated trainings: which and where, the choice of guidance, what is scored anew, and what is refused.

Networks are stand-ins that only bear a name: "good" paints the captions' own layouts at one guidance, "poor" a single
class. Random numbers state their seeds.
"""

import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from worlds.places import leave_network, make_repository

import gcdp.experiments.study as study
import gcdp.experiments.study_scoring as scoring
from gcdp.errors import CheckpointError, ConfigError
from gcdp.evaluation.referees.segmenter import Reading
from gcdp.experiments.referees import Referees
from gcdp.experiments.runs import prepare_run
from gcdp.experiments.study import group, settings_of, sizes, training_seconds, trial_weights, trials
from gcdp.experiments.study_record import RELEASE, Record, Study, Trial
from gcdp.experiments.study_run import make_study, run_study
from gcdp.generators.samples import Samples

RELEASE_TOOL = Path(__file__).resolve().parents[2] / "tools" / "release_weights.py"
PLAN = {
    "seeds": [5, 7], "sizes": [2, "all"], "models": ["good", "poor"], "full_size": ["lever"], "num_samples": 4,
    "num_val": 2, "swaps": 1,
}  # fmt: skip
PROFILE = {
    "models": {"good": {}, "poor": {"layout": False}, "lever": {"train": {"diagonal": 0.5}}},
    "study": PLAN,
    "sampling": {"num_steps": 2, "guidances": [1.0, 2.0, 3.0]},
}
KEYS = ["good-4-s5", "poor-4-s5", "lever-4-s5", "good-4-s7", "poor-4-s7"]
KEYS += [f"{model}-2-s{seed}" for seed in (5, 7) for model in ("good", "poor")] + ["lever-4-s7"]


class Painter:
    """Images whose first channel is the label of a pixel; which one depends on model, captions and guidance."""

    dtype = "float32"

    def __init__(self, model, worlds, log):
        self.model, self.worlds, self.log = model, worlds, log

    def sample(self, captions, guidance, seed, progress=False, **sampling):
        split = next((name for name, world in self.worlds.items() if world.captions == captions), "swaps")
        self.log.append((self.model, split, guidance, seed))
        layouts = np.resize(self.worlds["val" if split == "val" else "test"].layouts, (len(captions), 8, 16)).copy()
        # guidance 2 is best on validation captions, 3 on test captions, which must not be looked at
        if self.model == "poor" or guidance != {"val": 2.0}.get(split, 3.0):
            layouts[:] = 10
        return Samples(np.stack([layouts] * 3, -1), None if self.model == "poor" else layouts, captions, [], {})


def read(images):
    """A referee that sees the first channel, of photographs some label or other; its features are two moments."""
    layouts = images[..., 0] % 20
    return Reading(layouts, np.stack([layouts.mean((1, 2)), layouts.std((1, 2))], 1).astype(np.float32))


@pytest.fixture
def place(repository, monkeypatch):
    """Profile of a study, and what is trained and drawn on the way."""
    profile = make_repository(repository, **PROFILE)
    worlds = scoring.worlds(profile, "streets")
    place = SimpleNamespace(profile=profile, root=repository, trained=[], drawn=[], fails=None, referees=["one"])
    place.folder = repository / "results/tiny/study/streets"

    def fit(profile, model, run):
        key = (run.model_folder.name, len(run.pairs), run.config.seed)
        place.trained.append(key)
        if key[0] == place.fails:
            raise KeyboardInterrupt
        leave_network(run)
        run.model_folder.joinpath("curve.csv").write_text(
            "step,image,layout,learning_rate,pairs_per_second,val_image,val_layout\n2,1,1,0,4,,\n3,1,1,0,2,,\n"
        )

    monkeypatch.setattr(study, "fit", fit)
    monkeypatch.setattr(scoring, "open_model", lambda p, d, model, folder: Painter(model, worlds, place.drawn))
    monkeypatch.setattr(scoring, "open_referees", lambda profile, domain: Referees(SimpleNamespace(read=read)))
    monkeypatch.setattr(scoring, "referee_hashes", lambda profile, domain: place.referees)
    monkeypatch.setattr(scoring, "calibrate_area", lambda *args: {"area": 2})
    return place


def run(place):
    run_study(place.profile, "streets")
    return Study.load(place.folder)


def test_all_pairs_come_first_and_every_seed_has_its_own_subset(repository):
    profile = make_repository(repository, **PROFILE)
    assert [each.key for each in trials(profile, 4)] == KEYS
    assert (sizes(profile, 4) == [2, 4] and sizes(profile, 2) == sizes(profile, 1) * 2) or sizes(profile, 2) == [2]
    assert group(profile, Trial("good", 2, 7)) == [Trial("good", 2, 5), Trial("good", 2, 7)]
    rows = {
        (model, pairs, seed): prepare_run(profile, "streets", model, seed, pairs).pairs.rows.tolist()
        for model in ("good", "poor") for pairs in (1, 2, 3) for seed in range(8)
    }  # fmt: skip
    assert all(rows["good", pairs, seed] == rows["poor", pairs, seed] for pairs in (1, 2, 3) for seed in range(8))
    assert all(
        set(rows["good", 1, seed]) < set(rows["good", 2, seed]) < set(rows["good", 3, seed]) for seed in range(8)
    )
    assert len({tuple(rows["good", 2, seed]) for seed in range(8)}) > 2
    assert prepare_run(profile, "streets", "good", 3, 4).pairs.rows.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"sizes": [0]}, r"sizes must be numbers of pairs of at least 1, or 'all', got 0"),
        ({"sizes": ["most"]}, r"or 'all', got 'most'"),
        ({"seeds": [1, 1]}, "seeds names an entry twice"),
        ({"models": ["joint"], "full_size": ["joint"]}, "full_size repeats some of models"),
    ],
)
def test_a_slip_in_the_plan_is_refused(repository, plan, message):
    with pytest.raises(ConfigError, match=f"study: .*{message}"):
        make_repository(repository, study=plan)


def test_every_trial_is_trained_once_and_has_its_records(place):
    found = run(place)
    trained = KEYS[3:]
    own = [f"streets-{model}" for model in ("good", "poor", "lever")]  # all pairs, own seed: the pipeline's training
    assert [key for key, *_ in place.trained] == own + trained
    assert set(found.tests) == set(found.validations) == {Trial.of(key) for key in KEYS}
    assert (
        trial_weights(place.profile, "streets", Trial("good", 4, 5)) == place.root / "results/tiny/models/streets-good"
    )
    whole, part = found.tests[Trial("good", 4, 5)], found.tests[Trial("good", 2, 5)]
    assert list(whole.points) == [1.0, 2.0, 3.0] and list(part.points) == [2.0] and part.guidance == 2.0
    assert whole.facts == {"steps": 3, "batch_size": 2, "seconds": 2 * 2 / 4 + 1 * 2 / 2}
    assert set(whole.chosen.bits) == {"seen_1px", "seen", "drawn"} and "miou" in whole.chosen.scalars
    assert set(found.tests[Trial("poor", 4, 5)].chosen.bits) == {"seen_1px", "seen"}
    assert whole.points[3.0].bits["seen_1px"].sum() > whole.points[1.0].bits["seen_1px"].sum()
    classes = found.setup.named["test/classes"]
    assert classes.shape[0] == 4 and np.array_equal(whole.points[3.0].bits["seen_1px"] & classes, classes)


def test_guidance_is_chosen_on_validation_captions_of_all_seeds(place):
    found = run(place)
    assert {record.guidance for trial, record in found.tests.items() if trial.model == "good"} == {2.0}
    assert {record.guidance for trial, record in found.tests.items() if trial.model == "poor"} == {1.0}  # all equal
    (place.folder / "good-2-s7" / "validation.safetensors.xz").unlink()
    assert scoring.chosen_guidance(place.profile, "streets", Trial("good", 2, 5), found.setup.identity) is None
    with pytest.raises(CheckpointError, match="good-2-s5 has no guidance yet: validate every seed of it first"):
        scoring.Scoring(place.profile, "streets").test(Trial("good", 2, 5))


def test_the_two_versions_of_a_swap_share_their_noise(place):
    run(place)
    swaps = [seed for model, split, _, seed in place.drawn if split == "swaps"]
    assert swaps and all(seeds == swaps[0] for seeds in swaps) and len(set(swaps[0])) == len(swaps[0])


def test_an_interrupted_study_goes_on_without_repeating_itself(place):
    place.fails = KEYS[4]
    with pytest.raises(KeyboardInterrupt):
        run(place)
    before, place.fails = len(place.trained), None
    found = run(place)
    assert [key for key, *_ in place.trained[before:]] == KEYS[4:] and len(found.tests) == len(KEYS)
    count = len(place.trained), len(place.drawn)
    run(place)
    assert (len(place.trained), len(place.drawn)) == count  # finished: nothing is left to do


@pytest.mark.parametrize("change", ["referee", "code", "network", "grid"])
def test_scores_of_another_referee_code_network_or_grid_are_made_anew(place, monkeypatch, change):
    first = run(place)
    trained, drawn = len(place.trained), len(place.drawn)
    if change == "referee":
        place.referees = ["another"]
    elif change == "code":
        monkeypatch.setattr(scoring, "source_fingerprint", lambda module: "of an edit")
    elif change == "grid":
        sampling = PROFILE["sampling"] | {"guidances": [1.0, 3.0]}
        place.profile = make_repository(place.root, **PROFILE | {"sampling": sampling})
    else:
        record = Record.load(place.folder / "good-2-s5", "test")
        Record("another", record.identity, record.points, record.guidance).save(place.folder / "good-2-s5", "test")
    again = run(place)
    assert len(place.trained) == trained and set(again.tests) == set(first.tests)
    if change in ("referee", "code", "grid"):
        assert all(record.identity != first.setup.identity for record in again.tests.values())
    assert len(place.drawn) == drawn or change == "grid"  # drawings are kept for the next referee
    assert again.tests[Trial("good", 2, 5)].network == first.tests[Trial("good", 2, 5)].network


@pytest.mark.parametrize("change", ["recipe", "network", "code"])
def test_a_network_of_another_recipe_or_code_is_refused(place, monkeypatch, change):
    run(place)
    changes = {"recipe": {"train": {"steps": 9, "batch_size": 2, "seed": 5}}}.get(change, {})
    if change == "network":
        changes = {"diffusion": {"layout_weight": 0.5}}
    if change == "code":
        monkeypatch.setattr("gcdp.experiments.runs.source_fingerprint", lambda module: "of an edit")
    place.profile = make_repository(place.root, **PROFILE | changes)
    with pytest.raises(
        CheckpointError, match=r"streets-good was trained with other settings, pairs or code .* delete it"
    ):
        run(place)


def test_a_release_is_one_file_and_is_installed(place):
    made = run(place)
    shutil.copy(place.root / "params/tiny.yaml", place.root / "params/tiny-scratch.yaml")
    (place.root / "results/tiny").rename(place.root / "results/tiny-scratch")
    profile = make_repository(place.root, **PROFILE, released="tiny")
    with pytest.raises(CheckpointError, match=r"weights/tiny-streets-study is missing"):
        make_study(profile, "streets", 2)
    runpy.run_path(str(RELEASE_TOOL))["release"]("tiny", "streets", "study")
    target = place.root / "weights/tiny-streets-study"
    assert [path.name for path in target.iterdir()] == [RELEASE]
    found = make_study(profile, "streets", 2)
    assert found.tests.keys() == made.tests.keys() and found.setup.identity == made.setup.identity
    with pytest.raises(CheckpointError, match=r"from 2 pixels on, the referee of this run is calibrated to 3"):
        make_study(profile, "streets", 3)


def test_settings_tell_two_models_apart(repository):
    profile = make_repository(repository, **PROFILE)
    good, lever = settings_of(profile, "good"), settings_of(profile, "lever")
    assert {key for key in good if good[key] != lever[key]} == {"diagonal"}
    assert not settings_of(profile, "poor")["layout"]


def test_seconds_of_a_training_follow_from_its_curve(tmp_path):
    (tmp_path / "curve.csv").write_text("step,image,pairs_per_second\n10,1,20\n20,1,40\n25,1,\n")
    assert training_seconds(tmp_path, 4) == 4 * 10 / 20 + 4 * 10 / 40
