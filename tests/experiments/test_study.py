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
from worlds.places import make_repository

import gcdp.experiments.study as study
from gcdp.errors import CheckpointError, DataError
from gcdp.evaluation.referees.segmenter import Reading
from gcdp.evaluation.scores import Scores
from gcdp.evaluation.statistics import without_interval
from gcdp.experiments.datasets import held_out
from gcdp.experiments.referees import Referees
from gcdp.experiments.study import COUNTS, make_study, run_study, settings_of, sizes, trials
from gcdp.experiments.study_record import RECORDS, Study, Trial
from gcdp.generators.samples import Samples
from gcdp.storage import save_tensors, write_json

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
        run.model_folder.mkdir(parents=True, exist_ok=True)
        (run.model_folder / "model.safetensors").write_bytes(key.encode())
        (run.model_folder / "config.json").touch()

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


def test_a_study_counts_classes_from_one_area_on(place):
    run(place)
    with pytest.raises(CheckpointError, match="counts classes from 1 pixels on, the referee now from 3: delete it"):
        run(place, min_area=3)


def records(**models):
    """A study by hand: for each model {(pairs, seed): (counts of each caption by COUNTS, Fréchet distance)}."""
    made = Study(2)
    for model, trainings in models.items():
        for (pairs, seed), (counts, distance) in trainings.items():
            trained = Trial(model, pairs, seed)
            made.trials[trained] = Scores({"frechet": without_interval(distance, N)}, guidance=1.0)
            for name, column in zip(COUNTS, counts, strict=True):
                made.tensors[f"{trained.key}/{name}"] = torch.tensor(column, dtype=torch.uint8)
    return made


N = 6
FULL = ([4] * N, [4] * N, [4] * N, [4] * N, [4] * N)  # both_1px, named, held_1px, both, held
HALF = ([3] * N, [4] * N, [6] * N, [2] * N, [5] * N)


def noisy(seed):
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 5, N).tolist(), [4] * N, [5] * N, rng.integers(1, 5, N).tolist(), [5] * N]


def test_known_differences():
    """Captions and seeds agree within each model, so that every interval is a point."""
    made = records(ours={(8, 1): (FULL, 1.0), (8, 2): (FULL, 2.0)}, theirs={(8, 1): (HALF, 3.0), (8, 2): (HALF, 5.0)})
    found = made.compare("ours", "theirs", 8)
    # recall 1 - 3/4; 1 - 2/4; precision 1 - 2/5; 1 - 3/6; F1 1 - 2 * 2 / (4 + 5)
    known = {"semantic_recall": 1 / 4, "semantic_recall_area": 1 / 2, "precision": 3 / 5, "f1": 5 / 9}
    known |= {"semantic_recall_pooled": 1 / 4, "semantic_recall_area_pooled": 1 / 2, "precision_1px": 1 / 2}
    assert set(found) == {*known, "frechet", "trainings"}
    for name, value in known.items():
        assert found[name] == pytest.approx({"value": value, "low": value, "high": value}), name
    # differences -2 and -3: mean -2.5, standard error 0.5, t(0.975, 1) = 12.706
    assert found["frechet"] == pytest.approx({"value": -2.5, "low": -2.5 - 6.353, "high": -2.5 + 6.353}, abs=1e-3)
    assert found["trainings"] == 2
    back = made.compare("theirs", "ours")
    assert back["f1"]["value"] == pytest.approx(-5 / 9) and back["frechet"]["value"] == 2.5


def test_recall_is_compared_by_the_mean_over_captions_and_pooled():
    counts = ([1, 0], [1, 4], [1, 1], [1, 0], [1, 1])  # 1 of 1 and 0 of 4
    nothing = ([0, 0], *counts[1:])
    found = records(ours={(8, 1): (counts, 1.0)}, theirs={(8, 1): (nothing, 1.0)}).compare("ours", "theirs")
    assert found["semantic_recall"]["value"] == (1 + 0) / 2 and found["semantic_recall_pooled"]["value"] == 1 / 5


def test_a_single_pair_of_trainings_has_no_interval_of_its_distance():
    found = records(ours={(8, 1): (FULL, 1.0)}, theirs={(8, 1): (HALF, 3.0)}).compare("ours", "theirs")
    assert found["frechet"] == {"value": -2.0, "low": None, "high": None}


def test_a_model_against_itself_differs_by_nothing():
    made = records(ours={(8, seed): (noisy(seed), float(seed)) for seed in (1, 2, 3)})
    found = made.compare("ours", "ours")
    for name in ("semantic_recall", "semantic_recall_area", "precision", "precision_1px", "f1", "frechet"):
        assert found[name]["value"] == 0 and found[name]["low"] <= 0 <= found[name]["high"], name
    assert found["semantic_recall"]["high"] > 0  # another three seeds would have differed


def test_sizes_stand_together_or_apart():
    sizes = {(8, 1): (FULL, 1.0), (8, 2): (FULL, 1.0), (4, 1): (HALF, 2.0), (4, 2): (HALF, 2.0)}
    made = records(ours=sizes, theirs=dict.fromkeys(sizes, (HALF, 4.0)))
    assert [each.key for each in made.trials_of("ours")] == ["ours-4-s1", "ours-4-s2", "ours-8-s1", "ours-8-s2"]
    assert made.compare("ours", "theirs", 4)["semantic_recall"]["value"] == 0
    together = made.compare("ours", "theirs")
    assert together["trainings"] == 4 and together["semantic_recall"]["value"] == pytest.approx(1 / 8)
    assert together["semantic_recall"]["low"] < 0.05 and together["frechet"]["value"] == pytest.approx(-2.5)


def test_only_paired_trainings_are_compared():
    made = records(ours={(8, 1): (FULL, 1.0), (8, 2): (FULL, 1.0)}, theirs={(8, 1): (HALF, 1.0), (8, 3): (HALF, 1.0)})
    for theirs in ("theirs", "absent"):
        with pytest.raises(DataError, match=f"'ours' and '{theirs}' were trained with other seeds or pairs"):
            made.compare("ours", theirs)


def released(repository):
    made, folder = records(ours={(8, 1): (FULL, 1.0)}), repository / "weights/tiny-streets-study"
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
    made = records(ours={(8, 1): (FULL, 1.0)})
    source = repository / "results/tiny-scratch/study/streets"
    made.save(source)
    write_json(source / "ours-8-s1" / "config.json", {})
    runpy.run_path(str(RELEASE))["release"]("tiny", "streets", "study")
    target = repository / "weights/tiny-streets-study"
    assert sorted(path.name for path in target.iterdir()) == [RECORDS, "study.json"]
    assert make_study(make_repository(repository, **PROFILE, released="tiny"), "streets", 2).trials == made.trials


def test_without_a_release_the_study_is_run(place):
    assert set(make_study(place.profile, "streets", 1).trials) == {trial(key) for key in KEYS}


def test_a_release_of_the_first_format_is_read_by_the_names_of_today(repository):
    """Recall was pooled then; the paper's follows from the counts of captions, where they were kept."""
    estimate = {"value": 0.2, "low": 0.1, "high": 0.3, "n": 2}
    old = {"semantic_recall": estimate, "semantic_recall_area": estimate, "frechet": estimate, "kid": {"value": 0.5}}
    old |= {"miou": {"value": None, "low": None, "high": None, "n": 0}, "minimum_area": 2, "fsd_of": "referee"}
    old |= {"chance": {"semantic_recall": estimate}}
    facts = {"model": "ours", "pairs": 8, "seed": 1, "guidance": 2.0, "scores": old}
    content = {"minimum_area": 2, "guidance": {"ours": 2.0}, "trials": {"ours-8-s1": facts}}
    content |= {"val": {"ours": {"1": old, "2": old}}, "sweeps": {"ours-8-s1": {"1": old, "2": old}}}
    folder, counts = repository / "study", {"both_1px": [1, 0], "named": [1, 4], "both": [0, 4]}
    write_json(folder / "study.json", content)
    save_tensors(folder / RECORDS, {f"ours-8-s1/{name}": torch.tensor(each) for name, each in counts.items()})
    made = Study.load(folder)
    scores = made.trials[Trial("ours", 8, 1)]
    assert (scores.value("semantic_recall_pooled"), scores.value("semantic_recall")) == (0.2, 1 / 2)
    assert scores.value("semantic_recall_area") == 1 / 2 and "miou" not in scores and scores.value("kid") == 0.5
    assert scores.guidance == 2.0 and set(scores.chance) == {"semantic_recall_pooled"}
    assert [point.guidance for point in made.validation["ours"]] == [1.0, 2.0]
    curve = made.curve(Trial("ours", 8, 1))
    assert curve.chosen == scores and "semantic_recall" not in curve.points[0]
    made.save(folder)
    assert Study.load(folder).trials == made.trials


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
