"""A study of faces: records of attributes and alignment, sweeps of every network, and trainings that are not repeated.

Referees are tiny networks trained for two steps; models are stand-ins but for one test. Random numbers state their
seeds.
"""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import stub_text
from worlds.places import FACES, leave_network, make_repository

import gcdp.experiments.study as study
from gcdp.errors import DataError
from gcdp.evaluation.scores import Scores
from gcdp.experiments.datasets import held_out
from gcdp.experiments.models import fit
from gcdp.experiments.referees import make_referees
from gcdp.experiments.runs import prepare_run
from gcdp.experiments.study import COUNTS, run_study
from gcdp.experiments.study_record import Study, Trial
from gcdp.generators.samples import Samples
from gcdp.storage import sha256

PLAN = {"seeds": [5, 6], "fractions": [0.5, 1.0], "models": ["joint", "gaussian"], "num_samples": 6, "num_val": 3}
PROFILE = FACES | {
    "study": PLAN | {"sweep": True, "claims": {"same_budget": ["joint", "gaussian"]}},
    "sampling": {"num_steps": 2, "guidances": [1.0, 2.0]},
}
TRIALS = [Trial(model, pairs, seed) for seed in (5, 6) for pairs in (8, 4) for model in ("joint", "gaussian")]
KEYS = [trial.key for trial in TRIALS]
MORE = ("attributes_shown", "attributes_named", "alignment", "captions")


class Painter:
    """The held-out images themselves, darker for every model but the joint one, and for low guidance."""

    dtype = "float32"

    def __init__(self, model, worlds, log):
        self.model, self.worlds, self.log = model, worlds, log

    def sample(self, captions, guidance, seed, progress=False, **sampling):
        assert sampling == {"num_steps": 2, "eta": 1.0, "order": 1, "threshold": 0.95}
        split = next(name for name, world in self.worlds.items() if world.captions == captions)
        self.log.append((self.model, split, guidance))
        world, dark = self.worlds[split], 1 + (self.model != "joint") + (guidance < 2)
        layouts = world.layouts.copy() if self.model == "joint" else None
        return Samples(world.images // dark, layouts, captions, [], {})


def place_in(root, patch):
    """Profile and folder of a study in `root`, what is trained and drawn on the way, and what fails."""
    profile = make_repository(root, **PROFILE)
    worlds = {split: held_out(profile, "faces", split, count) for split, count in (("val", 3), ("test", 6))}
    place = SimpleNamespace(profile=profile, folder=root / "study", trained=[], drawn=[], fails=None)

    def fitted(profile, model, run):
        place.trained.append((run.model_folder.name, [int(row) for row in run.pairs.rows], run.config.seed))
        if run.model_folder.name == place.fails:
            raise KeyboardInterrupt
        leave_network(run)

    patch.setattr(study, "fit", fitted)
    patch.setattr(study, "open_model", lambda p, d, model, folder: Painter(model, worlds, place.drawn))
    return place


@pytest.fixture(scope="module")
def measured(prepared_faces, tmp_path_factory):
    """A repository of faces whose referees are trained."""
    root = tmp_path_factory.mktemp("measured")
    shutil.copytree(prepared_faces, root, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        stub_text(patch)
        make_referees(make_repository(root, **PROFILE), "faces")
    return root


@pytest.fixture
def place(measured, stub_encoder, tmp_path, monkeypatch):
    """A study that was not begun, in a copy of that repository."""
    shutil.copytree(measured, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return place_in(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def done(measured, tmp_path_factory):
    """A finished study, and the place where it was made."""
    root = tmp_path_factory.mktemp("done")
    shutil.copytree(measured, root, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        stub_text(patch)
        place = place_in(root, patch)
        return run(place), place


def run(place, **changes):
    profile = make_repository(place.folder.parent, **PROFILE | changes)
    run_study(profile, "faces", place.folder, 2)
    return Study.load(place.folder)


def test_attributes_and_alignment_are_kept_for_every_caption(done):
    found, place = done
    assert [key for key, *_ in place.trained] == KEYS and set(found.trials) == set(TRIALS)
    assert set(found.tensors) == {f"{key}/{name}" for key in KEYS for name in (*COUNTS, *MORE, "features")}
    for trial in TRIALS:
        scores, tensors = found.trials[trial], {n: found.tensors[f"{trial.key}/{n}"].double() for n in MORE}
        assert all(values.shape == (6,) for values in tensors.values())
        recall = tensors["attributes_shown"].sum() / tensors["attributes_named"].sum()
        assert float(recall) == pytest.approx(scores["attribute_recall"]["value"])
        assert float(tensors["alignment"].mean()) == pytest.approx(scores["alignment"]["value"], abs=1e-4)
        assert {"attribute_recall", "alignment"} <= set(scores.chance) and tensors["captions"].sum() == 6


def test_smaller_subsets_lie_inside_larger_ones_whatever_the_seed(done):
    _, place = done
    rows = {key: rows for key, rows, _ in place.trained}
    assert len({tuple(rows[key]) for key in KEYS if "-4-" in key}) == 1
    assert all(rows[key] == list(range(8)) for key in KEYS if "-8-" in key)
    assert len(rows["joint-4-s5"]) == 4 and rows["joint-4-s5"] != [0, 1, 2, 3]


def test_an_interrupted_study_of_faces_goes_on(place):
    short = PROFILE["study"] | {"seeds": [5]}
    place.fails = KEYS[3]
    with pytest.raises(KeyboardInterrupt):
        run(place, study=short)
    before, place.fails = Study.load(place.folder), None
    assert set(before.trials) == set(before.sweeps) == set(TRIALS[:3])
    found = run(place, study=short)
    assert [key for key, *_ in place.trained] == [*KEYS[:4], KEYS[3]]
    assert set(found.trials) == set(found.sweeps) == set(TRIALS[:4])
    assert all(torch.equal(found.tensors[key], values) for key, values in before.tensors.items())
    written, drawn = (place.folder / "study.json").read_bytes(), len(place.drawn)
    run(place, study=short)
    assert len(place.drawn) == drawn and (place.folder / "study.json").read_bytes() == written


def test_a_sweep_has_the_form_of_an_evaluation(done):
    found, place = done
    for trial in TRIALS:
        curve = found.curve(trial)
        assert [point.guidance for point in curve.points] == [1.0, 2.0]
        assert curve.guidance == found.guidance[trial.model] and curve.chosen == found.trials[trial]
    scales = [g for model, split, g in place.drawn if (model, split) == ("joint", "test")]
    assert sorted(scales) == [1.0] * 4 + [2.0] * 4  # each network at each scale, once
    again = Study.load(place.folder)
    assert (again.trials, again.sweeps, again.validation) == (found.trials, found.sweeps, found.validation)


def test_without_sweep_only_the_chosen_scale_is_scored(place):
    found = run(place, study=PROFILE["study"] | {"sweep": False, "seeds": [5]})
    assert not found.sweeps
    assert len([entry for entry in place.drawn if entry[1] == "test"]) == len(found.trials) == 4
    with pytest.raises(DataError, match=r"holds no sweep of joint-8-s5: set study\.sweep"):
        found.curve(Trial("joint", 8, 5))


def test_all_measures_are_compared_for_every_number_of_pairs(done):
    found, _ = done
    for pairs in (4, 8):
        gain = found.compare("joint", "gaussian", pairs)
        recalls = {f"semantic_recall{kind}" for kind in ("", "_pooled", "_area", "_area_pooled")}
        assert set(gain) == {
                *recalls, "attribute_recall", "attribute_recall_mean", "alignment", "frechet", "trainings"
            }  # fmt: skip
        assert gain["trainings"] == 2
        for name in ("attribute_recall", "alignment"):
            mine, yours = (
                [found.trials[Trial(m, pairs, s)].value(name) for s in (5, 6)] for m in ("joint", "gaussian")
            )
            assert gain[name]["value"] == pytest.approx(np.mean(mine) - np.mean(yours), abs=1e-4)
            assert gain[name]["low"] <= gain[name]["value"] <= gain[name]["high"]
    back = found.compare("gaussian", "joint", 4)
    assert back["alignment"]["value"] == pytest.approx(-found.compare("joint", "gaussian", 4)["alignment"]["value"])


def test_attributes_of_each_trial_are_ratios_by_hand():
    """Two seeds of three captions: shown 2 of 4 and 3 of 4, scores of 10 and 20."""
    made = Study(2)
    for seed, shown, score in ((1, [1, 1, 0], 10.0), (2, [2, 1, 0], 20.0)):
        trial = Trial("ours", 8, seed)
        made.trials[trial] = Scores({})
        columns = {"attributes_shown": shown, "attributes_named": [2, 1, 1], "captions": [1] * 3}
        made.tensors |= {
            f"{trial.key}/{name}": torch.tensor(column, dtype=torch.uint8) for name, column in columns.items()
        }
        made.tensors[f"{trial.key}/alignment"] = torch.full((3,), score)
    recall = [hits.sum() / cases.sum() for hits, cases in made.ratios("ours", "attribute_recall")]
    assert recall == [0.5, 0.75]
    assert [hits.sum() / cases.sum() for hits, cases in made.ratios("ours", "alignment", 8)] == [10, 20]
    assert made.ratios("ours", "alignment", 4) == []


def test_rows_of_subsets_take_the_first_training_on_each_number(done):
    found, _ = done
    rows = found.first_scores()
    assert {model: list(points) for model, points in rows.items()} == {"gaussian": [4, 8], "joint": [4, 8]}
    assert rows["joint"][4] == found.trials[Trial("joint", 4, 5)]
    brief = rows["joint"][4].brief().to_dict()
    assert {"attribute_recall", "per_attribute", "alignment", "chance", "guidance"} <= set(brief)
    assert "areas" not in brief and "per_class" not in brief


@pytest.mark.parametrize(("seed", "finished", "steps"), [(5, True, 3), (6, True, 3), (5, False, 3), (5, True, 4)])
def test_what_the_pipeline_trained_is_not_trained_again(place, seed, finished, steps):
    leave_network(prepare_run(place.profile, "faces", "joint"), steps=steps)
    made = place.profile.results_folder("models", "faces-joint")
    if not finished:
        (made / "config.json").unlink()
    weights = (made / "model.safetensors").read_bytes()
    before = sorted(made.parent.rglob("*"))
    assert place.profile.train.seed == 5
    run(place, study=PROFILE["study"] | {"seeds": [seed], "models": ["joint"], "sweep": False})
    # only a finished network of its own seed, recipe and all pairs is the same training
    keys = [] if (seed, finished, steps) == (5, True, 3) else [f"joint-8-s{seed}"]
    assert [key for key, *_ in place.trained] == [*keys, f"joint-4-s{seed}"]
    assert sorted(made.parent.rglob("*")) == before and (made / "model.safetensors").read_bytes() == weights


def test_networks_of_their_own_are_studied_from_end_to_end(measured, stub_encoder, tmp_path, monkeypatch):
    shutil.copytree(measured, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    plan = PROFILE["study"] | {"seeds": [5], "num_val": 2}
    sampling = PROFILE["sampling"] | {"guidances": [2.0]}
    profile = make_repository(tmp_path, **PROFILE | {"study": plan, "sampling": sampling})
    fit(profile, "joint", prepare_run(profile, "faces", "joint"))
    models = tmp_path / "results/tiny/models"
    before = {path: sha256(path) for path in models.rglob("*") if path.is_file()}
    run_study(profile, "faces", tmp_path / "study", 2)
    assert {path: sha256(path) for path in models.rglob("*") if path.is_file()} == before
    found = Study.load(tmp_path / "study")
    assert set(found.trials) == {trial for trial in TRIALS if trial.seed == 5}
    assert not (tmp_path / "results/tiny/study/faces/joint-8-s5/config.json").exists()
    assert "miou" not in found.trials[Trial("gaussian", 4, 5)]
    assert np.isfinite(found.compare("joint", "gaussian", 4)["alignment"]["value"])
    with pytest.raises(DataError, match="'joint' and 'latent' were trained with other seeds or pairs"):
        found.compare("joint", "latent")
