"""Guarded folders of weights: what is released reads byte for byte, and one rule for hash, checksum and device."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import gcdp.evaluation.referees.files as referees
import gcdp.generators.autoencoder as autoencoder
import gcdp.training.checkpoint as checkpoint
from gcdp.devices import default_device
from gcdp.errors import CheckpointError
from gcdp.storage import load_tensors
from gcdp.weights import Guard, half_rounded, load_weights, to_half

RELEASED = Path(__file__).resolve().parents[2] / "weights"
PLAIN, BOUND = Guard("fetch it again"), Guard("fetch it again", "part", "part.json", unhashed="notes", bound=True)
CARD = {"format": 1, "kind": "test", "facts": {"steps": 1}, "notes": {"steps": 1}}


def cards(pattern: str) -> list[Path]:
    return sorted(path for path in RELEASED.glob(pattern))


def guard_of(path: Path) -> Guard:
    """The guard of a released card, by its name and keys."""
    if path.name == autoencoder.GUARD.card:
        return autoencoder.GUARD
    return checkpoint.GUARD if "unet" in json.loads(path.read_text()) else referees.GUARD


@pytest.mark.parametrize("path", [*cards("*/config.json"), *cards("*/autoencoder.json")], ids=lambda p: p.parent.name)
def test_released_folders_read_and_are_written_again_alike(path, tmp_path):
    guard = guard_of(path)
    card = guard.read(path.parent)
    weights = guard.weights(path.parent, card)
    guard.save(tmp_path, load_tensors(weights)[0], {k: v for k, v in card.items() if k not in ("hash", "sha256")})
    assert (tmp_path / weights.name).read_bytes() == weights.read_bytes()
    assert json.loads((tmp_path / path.name).read_text()) == card
    if guard is not autoencoder.GUARD:  # whose keys were in another order
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("guard", [PLAIN, BOUND])
def test_only_what_decides_is_hashed(guard, tmp_path):
    saved = []
    for weight, card in ((1.0, CARD), (2.0, CARD), (1.0, {**CARD, guard.unhashed: {"steps": 2}})):
        guard.save(tmp_path, {"w": torch.tensor(weight)}, card)
        saved.append(guard.read(tmp_path))
        assert guard.weights(tmp_path, saved[-1]) == tmp_path / f"{guard.name}.safetensors"
    first, other_weights, other_facts = (card["hash"] for card in saved)
    assert first == other_facts and (first == other_weights) == (not guard.bound)


@pytest.mark.parametrize("guard", [PLAIN, BOUND])
def test_missing_damaged_and_edited_folders_are_refused(guard, tmp_path):
    guard.save(tmp_path, {"w": torch.ones(3)}, CARD)
    path, weights = tmp_path / guard.card, tmp_path / f"{guard.name}.safetensors"
    good, card = path.read_text(), guard.read(tmp_path)
    for text in ("{", "[]", "3"):
        path.write_text(text)
        with pytest.raises(CheckpointError, match=rf"{guard.card} is missing or damaged: fetch it again$"):
            guard.read(tmp_path)
    for changed in ({**card, "kind": "other"}, {**card, "new": 1}, {**card, "hash": None}, {}):
        path.write_text(json.dumps(changed))
        with pytest.raises(CheckpointError, match=rf"{guard.card} was changed after it was saved: fetch it again$"):
            guard.read(tmp_path)
    path.write_text(good)
    for damage in (lambda: weights.write_bytes(weights.read_bytes()[:-1]), weights.unlink):
        damage()
        with pytest.raises(CheckpointError, match=r"safetensors is missing or does not match its checksum: fetch it"):
            guard.weights(tmp_path, guard.read(tmp_path))
    path.unlink()
    with pytest.raises(CheckpointError, match="is missing or damaged"):
        guard.read(tmp_path)


def test_weights_of_any_precision_fill_a_network(tmp_path):
    source = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    for weights in (to_half(source.state_dict()), half_rounded(source.state_dict())):
        PLAIN.save(tmp_path, weights, CARD)
        network = load_weights(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), tmp_path / "model.safetensors")
        assert not network.training and not any(p.requires_grad for p in network.parameters())
        for name, value in network.state_dict().items():
            assert torch.equal(value, half_rounded(source.state_dict())[name])
            assert value.dtype == source.state_dict()[name].dtype  # a counter stays an integer
    with pytest.raises(CheckpointError, match=r"model\.safetensors does not fit the network of this version: retrain"):
        load_weights(nn.Linear(2, 2), tmp_path / "model.safetensors")


def test_one_choice_of_device(monkeypatch):
    for available, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        assert default_device() == torch.device(device)
    assert default_device("meta") == default_device(torch.device("meta")) == torch.device("meta")
