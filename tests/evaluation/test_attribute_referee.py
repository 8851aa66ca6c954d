"""The attribute referee: it reads a world of plain traces, it resumes, and its measures are what one counts by hand."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import cpu_alone
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import tiny, tiny_attributes
from worlds.tiny_attributes import NETWORK, TABLE, Traces, pairs_of

from gcdp.data.attributes import AttributeTable
from gcdp.data.images import to_tensor
from gcdp.data.pairs import build_store
from gcdp.errors import CheckpointError, ConfigError, DataError, TrainingError
from gcdp.evaluation.attribute_recall import attribute_cases, attribute_recall, classifier_report
from gcdp.evaluation.chance import mismatched, of_others
from gcdp.evaluation.referees.attributes import (
    AttributeNet,
    AttributeNetConfig,
    AttributeReferee,
    ImageTrunk,
    load_attributes,
    save_attributes,
)
from gcdp.evaluation.referees.files import GUARD
from gcdp.evaluation.referees.segmenter import (
    SegmentationNet,
    SegmenterConfig,
    load_segmenter,
    save_segmenter,
)
from gcdp.experiments.referee_training import train_attributes
from gcdp.storage import load_tensors

pytestmark = pytest.mark.usefixtures("on_the_cpu")

HANDMADE = AttributeTable.of(["Smiling", "Male", "Wearing_Hat", "Eyeglasses", "Bangs"])
CAPTIONS = ["She is smiling and wears a hat.", "He has eyeglasses.", "This is a man.", "She is smiling."]
PRESENT = np.array([[1, 0, 0, 0, 0], [1, 1, 1, 1, 0], [0, 1, 1, 0, 1], [0, 0, 0, 1, 0]], bool)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return build_store(Traces(64), "train", tiny.SIZE, tmp_path_factory.mktemp("world") / "pairs", (1.0, 1.2))


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """An uninterrupted run: its folder, in it state and model."""
    folder = tmp_path_factory.mktemp("whole")
    with cpu_alone():
        fit(store, folder)
    return folder


@pytest.fixture
def stored(tmp_path):
    save_attributes(tmp_path, network().state_dict(), NETWORK, TABLE, {"scenes": 7})
    return tmp_path


def fit(store, folder, pairs=None, **recipe) -> AttributeReferee:
    pairs = pairs_of(store) if pairs is None else pairs
    recipe = replace(tiny_attributes.RECIPE, **recipe)
    return train_attributes(NETWORK, pairs, recipe, folder / "state", folder / "model")


def network(config: AttributeNetConfig = NETWORK) -> AttributeNet:
    torch.manual_seed(0)
    return AttributeNet(config, len(TABLE.names))


def random_images(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *tiny.SIZE, 3), dtype=np.uint8)


def test_it_reads_unseen_pictures_of_its_world(trained, tmp_path):
    unseen = build_store(Traces(64), "test", tiny.SIZE, tmp_path / "test")
    referee = load_attributes(trained / "model", "cpu")
    report = classifier_report(referee.read(unseen.images), unseen.attributes, unseen.attribute_table)
    assert report["macro_recall"] > 0.95 and report["mean_accuracy"] > 0.95 and report["n"] == 64
    captions = [caption for (caption,) in unseen.captions]
    recall = attribute_recall(referee.present(unseen.images), captions, referee.table)
    assert recall["micro"]["value"] > 0.95 and set(recall["per_attribute"]) == {"Smiling", "Wearing_Hat", "Beard"}
    hits, named = attribute_cases(of_others(referee.present(unseen.images)), captions, referee.table)
    assert hits.sum() / named.sum() < 0.7


def test_the_folder_tells_what_was_done(trained):
    referee = load_attributes(trained / "model")
    assert (referee.table, referee.config, referee.name) == (TABLE, NETWORK, "attribute classifier")
    assert (referee.facts["scenes"], referee.facts["split"], referee.facts["recipe"]["steps"]) == (64, "train", 60)
    assert (trained / "model" / "curve.csv").read_text() == (trained / "state" / "curve.csv").read_text()
    weights = load_tensors(trained / "model" / "model.safetensors")[0].values()
    assert all(torch.equal(w, w.half().float()) for w in weights if w.is_floating_point())


def test_an_interruption_leaves_no_trace(store, trained, tmp_path):
    pairs = pairs_of(store, tiny.Deadly)
    pairs.signum, pairs.at = signal.SIGTERM, 6 * tiny_attributes.RECIPE.batch_size + 2
    with pytest.raises(TrainingError, match="referee was interrupted at step 7 of 60; run again to go on"):
        fit(store, tmp_path, pairs)
    assert not (tmp_path / "model").exists()
    fit(store, tmp_path)
    for part in ("model/model.safetensors", "state/state.safetensors"):
        ours, theirs = load_tensors(tmp_path / part)[0], load_tensors(trained / part)[0]
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_state_of_other_settings_or_attributes_is_refused(store, tmp_path):
    fit(store, tmp_path, steps=2)
    with pytest.raises(CheckpointError, match="state holds a run with other settings"):
        fit(store, tmp_path, steps=2, seed=1)
    renamed = Traces(64)
    renamed.attribute_table = AttributeTable.of(("Bangs", *tiny_attributes.COLUMNS[1:]))
    with pytest.raises(CheckpointError, match="state holds a run with other settings"):
        fit(build_store(renamed, "train", tiny.SIZE, tmp_path / "renamed", (1.0, 1.2)), tmp_path, steps=2)


def test_pairs_without_attributes_are_refused(tmp_path):
    store = build_store(tiny.Scenes(8), "train", tiny.SIZE, tmp_path / "pairs", (1.0, 1.2))
    with pytest.raises(DataError, match="pairs holds no attributes that captions name: build the store from a source"):
        fit(store, tmp_path, pairs=pairs_with_captions(store))


def pairs_with_captions(store):
    store.captions = [["unread"]] * len(store)
    return pairs_of(store)


def test_a_trace_of_one_pixel_reaches_the_logits():
    """The mean over all positions alone would hardly notice an earring."""
    torch.manual_seed(0)
    trunk = ImageTrunk((8, 12, 16)).eval()
    images = torch.zeros(1, 3, 32, 32)
    dotted = images.clone()
    dotted[0, 0, 20, 9] = 1
    mean, largest = (trunk(dotted) - trunk(images)).abs().chunk(2, 1)
    assert largest.max() > 5 * mean.max() > 0
    maps = []
    trunk.levels[-1].register_forward_hook(lambda *args: maps.append(args[-1].shape[2:]))
    trunk(images)
    assert maps == [(8, 8)]


def test_probabilities_are_those_of_the_logits_and_nan_where_not_read(stored):
    referee, images = load_attributes(stored, "cpu"), random_images(70)  # more than a batch
    probabilities = referee.read(images)
    expected = network().eval()(to_tensor(images)).sigmoid().detach().numpy()
    assert probabilities.shape == (70, 4) and probabilities.dtype == np.float32
    assert np.isnan(probabilities[:, 1]).all()
    np.testing.assert_allclose(probabilities[:, [0, 2, 3]], expected[:, [0, 2, 3]], rtol=1e-4)
    present = referee.present(images)
    assert present.dtype == bool and not present[:, 1].any()
    np.testing.assert_array_equal(present[:, [0, 2, 3]], expected[:, [0, 2, 3]] >= 0.5)
    with pytest.raises(DataError, match="a referee reads uint8 images"):
        referee.read(images.astype(np.float32))


def test_what_is_saved_is_what_is_loaded_in_half_precision_too(stored, tmp_path):
    loaded, original = load_attributes(stored).network.state_dict(), network().state_dict()
    assert all(torch.equal(loaded[name], original[name]) for name in original)
    halves = {k: v.half() if v.is_floating_point() else v for k, v in original.items()}
    save_attributes(tmp_path / "half", halves, NETWORK, TABLE, {})
    assert load_attributes(tmp_path / "half", "cpu").read(random_images(1)).dtype == np.float32


def test_damaged_altered_and_foreign_folders_are_refused(stored, tmp_path):
    card = json.loads((stored / "config.json").read_text())
    table = {**card["attributes"], "names": ["Wearing_Hat", "Male", "Smiling", "Beard"]}  # would swap two readings
    for change, message in (
        ({"attributes": {"names": 3}}, r"is not the card of such a referee \(attribute table is malformed"),
        ({"attribute_net": {"width": [8]}}, "'width' is unknown; did you mean 'widths'"),
        ({"sha256": "0"}, "does not match its checksum"),
    ):
        changed = {**card, **change}
        (stored / "config.json").write_text(json.dumps({**changed, "hash": GUARD.hash(changed)}))
        with pytest.raises(CheckpointError, match=message):
            load_attributes(stored)
    (stored / "config.json").write_text(json.dumps({**card, "attributes": table}))
    with pytest.raises(CheckpointError, match="was changed after it was saved"):
        load_attributes(stored)
    segmenter = SegmentationNet(SegmenterConfig((4, 6)), 5)
    save_segmenter(tmp_path / "other", segmenter.state_dict(), segmenter.config, tiny.TABLE, {})
    with pytest.raises(CheckpointError, match=r"config\.json is not the card of such a referee"):
        load_attributes(tmp_path / "other")
    (stored / "config.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match=r"config\.json is not the card of such a referee"):
        load_segmenter(stored)
    path = stored / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="does not match its checksum"):
        load_attributes(stored)


@pytest.mark.parametrize("settings", [{"widths": ()}, {"widths": (8, 0)}, {"blocks": 0}])
def test_impossible_sizes_are_refused(settings):
    with pytest.raises(ConfigError, match=f"^{next(iter(settings))} "):
        AttributeNetConfig(**settings)


def test_recall_counted_by_hand():
    """Named: smiling and hat | eyeglasses | nothing | smiling. Found of them: smiling | eyeglasses | - | none."""
    hits, named = attribute_cases(PRESENT, CAPTIONS, HANDMADE)
    assert hits.dtype == named.dtype == np.int64
    assert named.tolist() == [[1, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0] * 5, [1, 0, 0, 0, 0]]
    assert hits.tolist() == [[1, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0] * 5, [0] * 5]
    recall = attribute_recall(PRESENT, CAPTIONS, HANDMADE)
    assert recall["micro"]["value"] == 2 / 4 and recall["micro"]["n"] == 4
    assert recall["mean"]["value"] == pytest.approx((1 / 2 + 1 + 0) / 3) and recall["mean"]["n"] == 3
    values = {name: (estimate["value"], estimate["n"]) for name, estimate in recall["per_attribute"].items()}
    assert values == {"Smiling": (0.5, 2), "Wearing_Hat": (0.0, 1), "Eyeglasses": (1.0, 1), "Bangs": (None, 0)}
    assert recall["macro"] == pytest.approx((0.5 + 0 + 1) / 3)
    assert recall["micro"]["low"] <= 0.5 <= recall["micro"]["high"]


def test_chance_counted_by_hand():
    """The first image against eyeglasses, the second against nothing, the third smiling, the last smiling and hat."""
    chance = attribute_recall(PRESENT, mismatched(CAPTIONS), HANDMADE)
    assert chance["micro"]["value"] == 0 / 4 and chance["per_attribute"]["Smiling"]["n"] == 2
    everything = attribute_recall(np.ones_like(PRESENT), mismatched(CAPTIONS), HANDMADE)
    assert everything["micro"]["value"] == everything["macro"] == 1


def test_captions_that_name_nothing_have_no_recall():
    recall = attribute_recall(PRESENT, ["This is a man.", "", "a", "b"], HANDMADE)
    assert recall["micro"]["value"] is recall["macro"] is None


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 12))
@settings(max_examples=15, deadline=None)
def test_micro_lies_between_the_attributes_and_more_present_never_hurts(seed, count):
    rng = np.random.default_rng(seed)
    present = rng.random((count, len(HANDMADE.names))) < 0.5
    captions = [CAPTIONS[i] for i in rng.integers(len(CAPTIONS), size=count)]
    hits, named = attribute_cases(present, captions, HANDMADE)
    assert (hits <= named).all() and (hits <= present).all() and not named[:, 1].any()
    recall = attribute_recall(present, captions, HANDMADE)
    values = [e["value"] for e in recall["per_attribute"].values() if e["value"] is not None]
    if values:
        assert min(values) - 1e-12 <= recall["micro"]["value"] <= max(values) + 1e-12
        more = attribute_recall(present | (rng.random(present.shape) < 0.3), captions, HANDMADE)
        assert more["micro"]["value"] >= recall["micro"]["value"]


def test_the_report_counted_by_hand():
    table = AttributeTable.of(["Smiling", "Male", "Wearing_Hat"])
    probabilities = np.array([[0.9, np.nan, 0.1], [0.5, np.nan, 0.2], [0.2, np.nan, 0.3], [0.6, np.nan, 0.4]])
    truth = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 1], [1, 0, 0]], np.uint8)
    assert classifier_report(probabilities, truth, table) == {
        "macro_recall": pytest.approx((2 / 3 + 0) / 2),
        "macro_precision": pytest.approx(2 / 3),  # a hat is never seen
        "mean_accuracy": pytest.approx((0.5 + 0.75) / 2),
        "n": 4,
        "recall": {"Smiling": pytest.approx(2 / 3), "Wearing_Hat": 0.0},
        "precision": {"Smiling": pytest.approx(2 / 3), "Wearing_Hat": None},
        "accuracy": {"Smiling": 0.5, "Wearing_Hat": 0.75},
        "base_rate": {"Smiling": 0.75, "Wearing_Hat": 0.25},
    }


def test_tables_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match=r"need one row a caption and one column an attribute, \(3, 5\), got \(4, 5\)"):
        attribute_recall(PRESENT, CAPTIONS[:3], HANDMADE)
    with pytest.raises(DataError, match="one row an image and one column for each of the 5 attributes"):
        classifier_report(PRESENT, PRESENT[:, :4], HANDMADE)
