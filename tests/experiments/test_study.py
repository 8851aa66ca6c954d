"""Repeated trainings: their order, going on after an interruption, the choice of guidance, and differences.

Networks are stand-ins: "good" paints the captions' own layouts at one guidance, "poor" a single class, "lever"
nothing. Random numbers state their seeds.
"""

import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from worlds.hand_made import FULL, study_by_hand
from worlds.places import leave_network, make_repository

import gcdp.experiments.study as study
from gcdp.errors import CheckpointError
from gcdp.evaluation.referees.segmenter import Reading
from gcdp.experiments.datasets import held_out
from gcdp.experiments.referees import Referees
from gcdp.experiments.study import COUNTS, make_study, run_study, settings_of, sizes, trials
from gcdp.experiments.study_record import RECORDS, Study, Trial
from gcdp.generators.samples import Samples
from gcdp.storage import write_json

RELEASE = Path(__file__).resolve().parents[2] / "tools" / "release_weights.py"
PLAN = {"seeds": [4, 7], "fractions": [0.5, 1.0], "models": ["good", "poor"], "ablations": ["lever"], "num_samples": 4}
PROFILE = {
    "models": {"good": {}, "poor": {"layout": False}, "lever": {"train": {"diagonal": 0.5}}},
    "study": PLAN | {"num_val": 2},
    "sampling": {"num_steps": 2, "guidances": [1.0, 2.0, 3.0]},
}


def trial(key):
    """The training of that name."""
    model, pairs, seed = key.rsplit("-", 2)
    return Trial(model, int(pairs), int(seed[1:]))


KEYS = [
    f"{model}-{pairs}-s{seed}" for seed in (4, 7) for pairs in (4, 2) for model in ("good", "poor")
] + ["lever-4-s4"]  # fmt: skip


class Painter:
    """Images whose first channel is the label of a pixel; which one depends on model, split and guidance."""

    dtype = "float32"

    def __init__(self, model, worlds, log):
        self.model, self.worlds, self.log = model, worlds, log

    def sample(self, captions, guidance, seed, progress=False, **sampling):
        assert sampling == {"num_steps": 2, "eta": 1.0, "order": 1, "threshold": 0.95}
        split = next(name for name, world in self.worlds.items() if world.captions == captions)
        self.log.append((self.model, split, guidance))
        layouts = self.worlds[split].layouts.copy()
        # guidance 2 is best on validation captions, 3 on test captions, which must not be looked at
        if self.model == "poor" or guidance != {"val": 2.0, "test": 3.0}[split]:
            layouts[:] = 10
        if self.model == "lever":
            layouts[:] = 19  # the unlabeled class: nothing is shown, so precision has no cases
        return Samples(np.stack([layouts] * 3, -1), layouts, captions, [], {})


def read(images):
    """A referee that sees the first channel; its features are two moments of it."""
    layouts = images[..., 0]
    return Reading(layouts, np.stack([layouts.mean((1, 2)), layouts.std((1, 2))], 1).astype(np.float32))


@pytest.fixture
def place(repository, monkeypatch):
    """Profile and folder of a study, with what is trained and drawn on the way, and the training that fails."""
    profile = make_repository(repository, **PROFILE)
    worlds = {split: held_out(profile, "streets", split, count) for split, count in (("val", 2), ("test", 4))}
    place = SimpleNamespace(profile=profile, folder=repository / "study", trained=[], drawn=[], fails=None)

    def fit(profile, model, run):
        key = run.model_folder.name
        place.trained.append((key, len(run.pairs), run.config.seed))
        if key == place.fails:
            raise KeyboardInterrupt
        leave_network(run)

    monkeypatch.setattr(study, "fit", fit)
    monkeypatch.setattr(study, "open_model", lambda p, d, model, folder: Painter(model, worlds, place.drawn))
    monkeypatch.setattr(study, "open_referees", lambda profile, domain: Referees(SimpleNamespace(read=read)))
    return place


def run(place, min_area=1):
    run_study(place.profile, "streets", place.folder, min_area)
    return Study.load(place.folder)


def test_most_pairs_come_first_and_levers_last(repository):
    assert [each.key for each in trials(make_repository(repository, **PROFILE), 4)] == KEYS
    plain = make_repository(repository, **PROFILE | {"study": {"seeds": [4, 7], "models": ["good", "poor"]}})
    assert [each.pairs for each in trials(plain, 9)] == [9, 9, 9, 9]


def test_shares_become_numbers_of_pairs_each_once(repository):
    def of(*fractions):
        return make_repository(repository, **PROFILE | {"study": PLAN | {"fractions": list(fractions)}})

    assert sizes(of(0.25, 0.5, 1.0), 2000) == [500, 1000, 2000]
    assert sizes(of(1.0, 0.25), 2975) == [744, 2975]  # rounded to the nearest, in rising order
    assert sizes(of(0.0, 0.1, 0.2), 4) == [1]  # at least one pair, equal numbers once


def test_every_training_has_its_seed_pairs_and_records(place):
    found = run(place)
    assert [key for key, *_ in place.trained] == KEYS and set(found.trials) == {trial(key) for key in KEYS}
    assert all(key == f"{key.split('-')[0]}-{pairs}-s{seed}" for key, pairs, seed in place.trained)
    assert set(found.tensors) == {f"{key}/{name}" for key in KEYS for name in (*COUNTS, "features")}
    assert all(found.tensors[f"{key}/named"].shape == (4,) for key in KEYS)
    # two classes may be named more than once: the counts are those of the captions, whatever is drawn
    assert all(torch.equal(found.tensors[f"{KEYS[0]}/named"], found.tensors[f"{key}/named"]) for key in KEYS)
    assert not any(found.tensors[f"lever-4-s4/{name}"].any() for name in ("both", "held", "both_1px", "held_1px"))
    assert "precision" not in found.trials[trial("lever-4-s4")]
    for key in ("good-4-s4", "poor-2-s7"):
        scores = found.trials[trial(key)]
        both, named = found.tensors[f"{key}/both_1px"], found.tensors[f"{key}/named"]
        assert float(both.sum() / named.sum()) == pytest.approx(scores.value("semantic_recall_pooled"))
        assert float((both / named).mean()) == pytest.approx(scores.value("semantic_recall"))
    for name in ("semantic_recall", "semantic_recall_pooled", "f1"):
        hits, cases = found.ratios("good", name, 4)[0]  # of the first seed
        assert hits.sum() / cases.sum() == pytest.approx(found.trials[trial("good-4-s4")].value(name))


def test_guidance_is_chosen_once_on_validation_captions(place):
    found = run(place)
    assert found.guidance["good"] == 2.0 and found.trials[trial("good-2-s7")].guidance == 2.0
    assert found.guidance["poor"] == 1.0  # all equal: the least
    assert [point.guidance for point in found.validation["good"]] == [1.0, 2.0, 3.0]
    good = [(split, guidance) for model, split, guidance in place.drawn if model == "good"]
    assert good == [("val", 1.0), ("val", 2.0), ("val", 3.0)] + [("test", 2.0)] * 4


def test_an_interrupted_study_goes_on_without_repeating_itself(place, repository):
    place.fails = KEYS[5]
    with pytest.raises(KeyboardInterrupt):
        run(place)
    assert set(Study.load(place.folder).trials) == {trial(key) for key in KEYS[:5]}
    drawn, place.fails = len(place.drawn), None
    found = run(place)
    assert [key for key, *_ in place.trained] == [*KEYS[:6], *KEYS[5:]]
    assert set(found.trials) == {trial(key) for key in KEYS}
    # good and poor have their guidance: one drawing each for the rest, and 3 + 1 of the lever
    assert len(place.drawn) - drawn == 3 + 4
    files = [(place.folder / name).read_bytes() for name in ("study.json", RECORDS)]
    whole = shutil.move(place.folder, repository / "interrupted") and run(place)
    assert (whole.trials, whole.guidance, whole.validation) == (found.trials, found.guidance, found.validation)
    assert (place.folder / "study.json").read_bytes() == files[0]
    assert all(torch.equal(whole.tensors[key], value) for key, value in found.tensors.items())
    count = len(place.trained), len(place.drawn)
    run(place)
    assert (len(place.trained), len(place.drawn)) == count  # finished: nothing is left to do


def test_a_study_that_is_killed_while_it_writes_loses_one_record_at_most(place, monkeypatch):
    write = Path.write_text

    def killed(path, text, **settings):
        write(path, text[: len(text) // 2], **settings)
        raise KeyboardInterrupt

    place.fails = KEYS[2]
    with pytest.raises(KeyboardInterrupt):
        run(place)
    place.fails = None
    monkeypatch.setattr(Path, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        Study.load(place.folder).save(place.folder)
    monkeypatch.setattr(Path, "write_text", write)
    assert set(Study.load(place.folder).trials) == {trial(key) for key in KEYS[:2]}
    assert set(run(place).trials) == {trial(key) for key in KEYS}


def test_a_study_that_counted_classes_from_another_area_on_is_scored_anew(place, capsys):
    run(place, min_area=1)
    trained = len(place.trained)
    assert run(place, min_area=2).minimum_area == 2 and len(place.trained) == trained
    assert "scored with other settings, referees or code: all trainings are scored anew" in capsys.readouterr().out


def released(repository):
    made, folder = study_by_hand(ours={(8, 1): (FULL, 1.0)}), repository / "weights/tiny-streets-study"
    made.save(folder)
    return folder


def test_a_released_study_is_installed(repository):
    profile = make_repository(repository, **PROFILE, released="tiny")
    with pytest.raises(CheckpointError, match=r"weights/tiny-streets-study is missing: .* 'tiny-scratch'"):
        make_study(profile, "streets", 2)
    released(repository)
    assert make_study(profile, "streets", 2).trials_of("ours") == [Trial("ours", 8, 1)]
    assert (repository / "results/tiny/study/streets" / RECORDS).is_file()
    with pytest.raises(CheckpointError, match=r"from 2 pixels on, the referee .* to 3: .* profile 'tiny-scratch'"):
        make_study(profile, "streets", 3)


def test_a_release_holds_the_records_and_no_training(place, repository):
    shutil.copy(repository / "params/tiny.yaml", repository / "params/tiny-scratch.yaml")
    made = study_by_hand(ours={(8, 1): (FULL, 1.0)})
    source = repository / "results/tiny-scratch/study/streets"
    made.save(source)
    write_json(source / "ours-8-s1" / "config.json", {})
    runpy.run_path(str(RELEASE))["release"]("tiny", "streets", "study")
    target = repository / "weights/tiny-streets-study"
    assert sorted(path.name for path in target.iterdir()) == [RECORDS, "study.json"]
    assert make_study(make_repository(repository, **PROFILE, released="tiny"), "streets", 2).trials == made.trials


def test_without_a_release_the_study_is_run(place):
    assert set(make_study(place.profile, "streets", 1).trials) == {trial(key) for key in KEYS}


def test_damaged_records_are_refused(repository):
    folder = released(repository)
    (folder / RECORDS).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=RECORDS):
        Study.load(folder)
    (folder / "study.json").write_text('{"trials":')
    with pytest.raises(CheckpointError, match=r"study\.json is missing or damaged: run the study again"):
        Study.load(folder)


def test_settings_tell_two_models_apart(repository):
    profile = make_repository(repository, **PROFILE)
    good, lever = settings_of(profile, "good"), settings_of(profile, "lever")
    assert {key for key in good if good[key] != lever[key]} == {"diagonal"}
    assert not settings_of(profile, "poor")["layout"]


def test_the_command_line_says_in_one_sentence_what_is_missing(repository, monkeypatch):
    make_repository(repository, **PROFILE)
    monkeypatch.setattr(sys, "argv", ["study", "--profile", "tiny", "--output", "out"])
    with pytest.raises(SystemExit, match=r"^error: .*streets\.json is missing: run the notebook 04_evaluators first$"):
        study.main()


PAINT = Painter.sample


@pytest.mark.parametrize("change", ["sampling", "referee", "code"])
def test_scores_of_other_settings_referees_or_code_are_made_anew(place, monkeypatch, change):
    """A kept trial used to be taken whatever had changed since."""
    run(place)
    drawn, trained = len(place.drawn), len(place.trained)
    if change == "sampling":
        place.profile = make_repository(
            place.folder.parent, **PROFILE | {"sampling": PROFILE["sampling"] | {"eta": 0.5}}
        )
        monkeypatch.setattr(
            Painter, "sample", lambda self, captions, eta, **rest: PAINT(self, captions, eta=1.0, **rest)
        )
    elif change == "referee":
        monkeypatch.setattr(study, "referee_hashes", lambda profile, domain: ["another"])
    else:
        monkeypatch.setattr(study, "source_fingerprint", lambda module: "of an edit")
    again = run(place)
    assert len(place.trained) == trained and set(again.trials) == {trial(key) for key in KEYS}
    # kept drawings serve another referee; another sampler draws everything anew
    assert (len(place.drawn) == 2 * drawn) == (change == "sampling")


@pytest.mark.parametrize("change", ["recipe", "network", "code"])
def test_a_network_of_another_recipe_or_code_is_refused(place, monkeypatch, change):
    """A finished training used to be taken by the name of its folder."""
    run(place)
    changes = {"recipe": {"train": {"steps": 9, "batch_size": 2, "seed": 5}}, "network": {}, "code": {}}[change]
    if change == "network":
        changes = {"diffusion": {"layout_weight": 0.5}}
    if change == "code":
        monkeypatch.setattr("gcdp.experiments.runs.source_fingerprint", lambda module: "of an edit")
    place.profile = make_repository(place.folder.parent, **PROFILE | changes)
    with pytest.raises(CheckpointError, match=r"good-4-s4 was trained with other settings, pairs or code .* delete it"):
        run(place)
