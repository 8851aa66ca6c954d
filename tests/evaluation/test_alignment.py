"""The alignment referee of toy worlds: two towers that learn a separable world, and what their score is worth."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from worlds import tiny, tiny_attributes
from worlds.tiny_attributes import PoolingStub, Traces, pairs_of

from gcdp.data.pairs import build_store
from gcdp.errors import CheckpointError, ConfigError, DataError, TrainingError
from gcdp.evaluation.referees.alignment import (
    AlignmentReferee,
    PooledText,
    TwoTower,
    TwoTowerConfig,
    TwoTowerReferee,
    alignment_estimate,
    info_nce,
    load_two_tower,
    retrieval,
    save_two_tower,
)
from gcdp.evaluation.referees.attributes import load_attributes
from gcdp.evaluation.referees.files import GUARD
from gcdp.experiments.referee_training import train_two_tower
from gcdp.storage import load_tensors
from gcdp.text.encoder import load_encoder

pytestmark = pytest.mark.usefixtures("on_the_cpu")

CONFIG = TwoTowerConfig((8, 12), embedding=8, hidden=16)
ENCODER = PoolingStub()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return build_store(Traces(96), "train", tiny.SIZE, tmp_path_factory.mktemp("world") / "pairs", (1.0, 1.2))


@pytest.fixture
def stored(tmp_path):
    save_two_tower(tmp_path, network().state_dict(), CONFIG, PooledText(ENCODER).to_dict(), {"scenes": 7})
    return tmp_path


def network() -> TwoTower:
    torch.manual_seed(0)
    return TwoTower(CONFIG, ENCODER.width)


def fit(store, folder, pairs=None, **recipe) -> TwoTowerReferee:
    pairs = pairs_of(store) if pairs is None else pairs
    recipe = replace(tiny_attributes.RECIPE, **recipe)
    return train_two_tower(CONFIG, pairs, PooledText(ENCODER), recipe, folder / "state", folder / "model")


def random_images(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *tiny.SIZE, 3), dtype=np.uint8)


def test_own_captions_score_above_others_on_unseen_pictures(store, tmp_path):
    referee = fit(store, tmp_path, steps=120)
    unseen = build_store(Traces(64), "test", tiny.SIZE, tmp_path / "test")
    captions = [caption for (caption,) in unseen.captions]
    worth = retrieval(referee, unseen.images, captions)
    # Of sixteen captions two differ only by man and woman, which no picture shows: they are told apart by luck.
    assert worth["auc"] > 0.85 and worth["top1_of_32"] > 0.4 and worth["n"] == 64
    own, other = (referee.score(unseen.images, texts) for texts in (captions, captions[1:] + captions[:1]))
    assert alignment_estimate(own)["low"] > alignment_estimate(other)["high"]
    assert load_two_tower(tmp_path / "model", ENCODER).facts["recipe"]["steps"] == 120


def test_an_interruption_leaves_no_trace(store, tmp_path):
    pairs = pairs_of(store, tiny.Deadly)
    pairs.signum, pairs.at = signal.SIGTERM, 4 * tiny_attributes.RECIPE.batch_size + 2
    with pytest.raises(TrainingError, match="referee was interrupted at step 5 of 10; run again to go on"):
        fit(store, tmp_path / "cut", pairs, steps=10)
    for part in ("cut", "whole"):
        fit(store, tmp_path / part, steps=10)
    for file in ("model/model.safetensors", "state/state.safetensors"):
        ours, theirs = (load_tensors(tmp_path / part / file)[0] for part in ("cut", "whole"))
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_other_settings_are_refused(store, tmp_path):
    fit(store, tmp_path, steps=2)
    with pytest.raises(CheckpointError, match="state holds a run with other settings"):
        fit(store, tmp_path, steps=2, seed=1)
    with pytest.raises(ConfigError, match="batch_size must be at least 2 for an alignment referee, got 1"):
        fit(store, tmp_path, batch_size=1)


def test_the_loss_is_infonce_in_both_directions():
    torch.manual_seed(0)
    logits = torch.randn(4, 4)
    rows, columns = logits.log_softmax(1).diagonal(), logits.log_softmax(0).diagonal()
    torch.testing.assert_close(info_nce(logits), -(rows + columns).mean() / 2)
    assert info_nce(100 * torch.eye(3)) < 1e-6


def test_scores_are_a_hundred_cosines(stored):
    referee, images = load_two_tower(stored, ENCODER, "cpu"), random_images(70)  # more than a batch
    captions = [f"picture {i % 3}" for i in range(70)]
    seen, said = referee.embed_images(images), referee.embed_captions(captions)
    for vectors in (seen, said):
        assert vectors.shape == (70, 8) and vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    scores = referee.score(images, captions)
    assert scores.shape == (70,) and scores.dtype == np.float32
    np.testing.assert_allclose(scores, 100 * (seen * said).sum(1), rtol=1e-5)
    np.testing.assert_allclose(referee.score(images[3:5], captions[3:5]), scores[3:5], rtol=1e-3, atol=1e-3)
    assert isinstance(referee, AlignmentReferee) and referee.name == "toy alignment score"
    assert "clip" not in referee.name.lower()
    with pytest.raises(DataError, match="need one caption an image, got 69 captions for 70 images"):
        referee.score(images, captions[1:])


def test_a_caption_is_encoded_once():
    class Counting(PoolingStub):
        asked = ()

        def pooled(self, captions, batch_size=64):
            self.asked = (*self.asked, *captions)
            return super().pooled(captions, batch_size)

    pooled_text = PooledText(Counting())
    first = pooled_text(["red hat", "a face", "red hat"])
    again = pooled_text(["a face", "blue hat"])
    assert pooled_text.encoder.asked == ("red hat", "a face", "blue hat")
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(first[1], again[0])


def test_pooled_text_is_the_mean_over_tokens_in_any_company():
    encoder = load_encoder()
    captions = ["She wears a hat.", "A man.", "He has a beard, bushy eyebrows and is smiling."]
    pooled = encoder.pooled(captions, batch_size=2)
    assert pooled.shape == (3, 384) and pooled.dtype == np.float32 and encoder.pooled([]).shape == (0, 384)
    for caption, row in zip(captions, pooled):
        states, mask = encoder.encode([caption])
        np.testing.assert_allclose(row, states[0][mask[0]].mean(0).numpy(), rtol=1e-3, atol=1e-5)


def test_damaged_altered_and_foreign_folders_are_refused(stored):
    card = json.loads((stored / "config.json").read_text())
    for change, message in (
        ({"text": 3}, "is not the card of such a referee"),
        ({"two_tower": {"width": [8]}}, "'width' is unknown; did you mean 'widths'"),
        ({"sha256": "0"}, "does not match its checksum"),
    ):
        changed = {**card, **change}
        (stored / "config.json").write_text(json.dumps({**changed, "hash": GUARD.hash(changed)}))
        with pytest.raises(CheckpointError, match=message):
            load_two_tower(stored, ENCODER)
    (stored / "config.json").write_text(json.dumps({**card, "text": {**card["text"], "encoder": "t5"}}))
    with pytest.raises(CheckpointError, match="was changed after it was saved"):
        load_two_tower(stored, ENCODER)
    (stored / "config.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match=r"config\.json is not the card of such a referee"):
        load_attributes(stored)
    other = PoolingStub()
    other.fingerprint = "of other weights"
    with pytest.raises(CheckpointError, match="was trained on text states of 'stub' with other weights"):
        load_two_tower(stored, other)


@pytest.mark.parametrize("settings", [{"widths": ()}, {"embedding": 0}, {"hidden": 0}])
def test_impossible_sizes_are_refused(settings):
    with pytest.raises(ConfigError, match=f"^{next(iter(settings))} "):
        TwoTowerConfig(**settings)


class Known(AlignmentReferee):
    """Vectors that are spelled out: an image's first pixel and a caption's number name a unit vector."""

    name = "known"

    def embed_images(self, images):
        return np.eye(64, dtype=np.float32)[images[:, 0, 0, 0]]

    def embed_captions(self, captions):
        return np.eye(64, dtype=np.float32)[[int(caption) for caption in captions]]


def numbered(numbers) -> np.ndarray:
    return np.array(numbers, np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)


def test_retrieval_counted_by_hand():
    numbers = list(range(40))
    perfect = retrieval(Known(), numbered(numbers), [str(i) for i in numbers])
    assert perfect == {"auc": 1.0, "top1_of_32": 1.0, "n": 40}
    shifted = retrieval(Known(), numbered(numbers), [str((i - 1) % 40) for i in numbers])
    assert shifted == {"auc": 0.0, "top1_of_32": 0.0, "n": 40}
    assert retrieval(Known(), numbered([1, 2, 3]), ["1", "1", "3"]) == {"auc": 0.5, "top1_of_32": None, "n": 3}
    assert retrieval(Known(), numbered([7] * 32), ["7"] * 32) == {"auc": 0.5, "top1_of_32": 1.0, "n": 32}
    with pytest.raises(DataError, match="captions of at least two images, got 1"):
        retrieval(Known(), numbered([1]), ["1"])


def test_the_estimate_is_the_mean():
    scores = np.random.default_rng(0).normal(20, 4, 400).astype(np.float32)
    estimate = alignment_estimate(scores)
    assert estimate["value"] == pytest.approx(scores.mean(), rel=1e-5) and estimate["n"] == 400
    assert estimate["high"] - estimate["low"] == pytest.approx(2 * 1.96 * 4 / 20, rel=0.15)
    assert alignment_estimate(np.zeros(0)) == {"value": None, "low": None, "high": None, "n": 0}
