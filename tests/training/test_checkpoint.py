"""Checkpoints: what is saved comes back, what is damaged or foreign is refused in words, and nothing is unpickled."""

import errno
import json
import os
import pickle
import subprocess
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from worlds.tiny import NETWORK, PROCESS, SIZE, TABLE, awake

from gcdp.errors import CheckpointError
from gcdp.network.unet import UNet
from gcdp.storage import atomic_write, fingerprint, load_tensors, save_tensors
from gcdp.training.checkpoint import (
    GUARD,
    ModelCard,
    check_match,
    load_card,
    load_model,
    save_model,
    with_training,
)
from gcdp.training.state import optimizer_tensors, restore_optimizer
from gcdp.weights import half_rounded, to_half

CARD = ModelCard(NETWORK, PROCESS, TABLE, SIZE, "stub", 64, {"domain": "tiny"})
OLD = {"w": torch.zeros(3)}


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return awake(UNet(NETWORK)).state_dict()


@pytest.fixture
def folder(tmp_path, weights):
    save_model(tmp_path / "model", weights, CARD)
    return tmp_path / "model"


def equal(ours, theirs) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def edit(path, **changes):
    """Overwrite entries of a JSON file; None removes one."""
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def save_edited(path, **changes):
    """The card as another version of the code might have saved it: with the hash of the edited entries."""
    edit(path, **changes)
    edit(path, hash=GUARD.hash(json.loads(path.read_text())))


def test_round_trip(folder, weights):
    unet, process, card = load_model(folder)
    assert equal(unet.state_dict(), weights) and card == CARD == load_card(folder)
    assert not unet.training and not any(p.requires_grad for p in unet.parameters())
    assert process.gaussian.prediction == "v" and process.categorical.num_classes == 5 and process.T == 50
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]
    load_model(str(folder), expected=CARD)


def test_half_precision_release_equals_the_half_rounded_model(tmp_path, folder, weights):
    save_model(tmp_path / "half", to_half(weights), CARD)
    save_model(tmp_path / "full", half_rounded(weights), CARD)
    half, full = (load_model(tmp_path / name)[0].state_dict() for name in ("half", "full"))
    assert equal(half, full) and all(w.dtype == torch.float32 for w in half.values())
    sizes = [(place / "model.safetensors").stat().st_size for place in (tmp_path / "half", folder)]
    assert sizes[0] < 0.6 * sizes[1]
    for name, w in weights.items():
        torch.testing.assert_close(half[name], w, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("half", [{"num_classes": 0}, {"image_channels": 0}])
def test_a_model_with_one_half(tmp_path, half):
    card = replace(CARD, unet=replace(NETWORK, **half))
    save_model(tmp_path, UNet(card.unet).state_dict(), card)
    unet, process, _ = load_model(tmp_path, expected=card)
    assert ("image" not in unet.heads) == (process.gaussian is None) == ("image_channels" in half)
    assert ("layout" not in unet.heads) == (process.categorical is None) == ("num_classes" in half)


OTHERS = {
    "unet.heads 2, but this profile asks for 4": replace(CARD, unet=replace(NETWORK, heads=4)),
    "diffusion.prediction v, but .* asks for eps": replace(CARD, diffusion=replace(PROCESS, prediction="eps")),
    "classes.name tiny, but .* asks for other": replace(CARD, classes=replace(TABLE, name="other")),
    "other classes than asked for": replace(CARD, classes=replace(TABLE, colors=((1, 2, 3),) * 5)),
    r"size \[8, 16\], but .* asks for \[16, 32\]": replace(CARD, size=(16, 32)),
    "encoder stub, but .* asks for t5-large": replace(CARD, encoder="t5-large"),
    "max_tokens 64, but .* asks for 256": replace(CARD, max_tokens=256),
}


@pytest.mark.parametrize("message", OTHERS)
def test_another_configuration_is_refused_by_name(folder, message):
    with pytest.raises(CheckpointError, match=f"model was trained with {message}.*: restore the setting or train"):
        load_model(folder, expected=OTHERS[message])
    assert OTHERS[message].hash() != CARD.hash()


def test_facts_about_training_do_not_decide(folder):
    told = with_training(CARD, steps=7)
    assert told.training == {"domain": "tiny", "steps": 7} and told.hash() == CARD.hash()
    check_match(told, CARD, folder)
    load_model(folder, expected=told)


DAMAGES = {
    r"model\.safetensors is missing or does not match its checksum: fetch it again or train": [
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "model.safetensors").write_bytes(b""),
        lambda folder: os.truncate(folder / "model.safetensors", 5000),
        lambda folder: flip_byte(folder / "model.safetensors", -1),
        lambda folder: flip_byte(folder / "model.safetensors", 20),
        lambda folder: edit(folder / "config.json", sha256=None),
    ],
    r"config\.json is missing or damaged: fetch it again or train": [
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text('{"format": 1'),
        lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "config.json").write_text("[1, 2]"),
    ],
    r"config\.json is not a model card of format 1": [
        lambda folder: save_edited(folder / "config.json", format=2),
    ],
    r"config\.json lacks 'encoder'": [lambda folder: save_edited(folder / "config.json", encoder=None)],
    r"config\.json: unet: 'depth' is unknown.*another version": [
        lambda folder: save_edited(folder / "config.json", unet={"depth": 3})
    ],
    r"config\.json: diffusion: T must be of type int": [
        lambda folder: save_edited(folder / "config.json", diffusion={"T": "many"})
    ],
    r"config\.json is damaged \(": [
        lambda folder: save_edited(folder / "config.json", size=7),
        lambda folder: save_edited(folder / "config.json", classes={"name": "x"}),
    ],
    r"config\.json was changed after it was saved": [
        lambda folder: edit(folder / "config.json", max_tokens=128),
        lambda folder: edit(folder / "config.json", diffusion={"prediction": "eps"}),
        lambda folder: edit(folder / "config.json", hash=None),
    ],
}


def flip_byte(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(("message", "damage"), [(m, d) for m, group in DAMAGES.items() for d in group])
def test_damage_is_named(folder, message, damage):
    damage(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_weights_of_another_network_under_a_fitting_card(tmp_path, weights):
    save_model(tmp_path, {name: w for name, w in weights.items() if "stem" not in name}, CARD)
    with pytest.raises(CheckpointError, match="does not fit the network of this version: retrain it"):
        load_model(tmp_path)


def test_nothing_is_ever_unpickled(folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a checkpoint was unpickled")

    for module, name in [(torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")]:
        monkeypatch.setattr(module, name, refuse)
    load_model(folder, expected=CARD)
    (folder / "model.safetensors").write_bytes(pickle.dumps(OLD))
    with pytest.raises(CheckpointError, match="checksum"):
        load_model(folder)
    with pytest.raises(CheckpointError, match="missing or damaged"):
        load_tensors(folder / "model.safetensors")


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_keeps_the_former_file(tmp_path, monkeypatch, failure):
    path = tmp_path / "state.safetensors"
    save_tensors(path, OLD, {"facts": "old"})

    def full(tensors, partial, metadata):
        partial.write_bytes(b"half of i")
        raise failure

    monkeypatch.setattr("gcdp.storage.save_file", full)
    message = f"disk full while writing {path}: free some space and run again; the previous file is kept"
    with pytest.raises(CheckpointError, match=message):
        save_tensors(path, {"w": torch.ones(3)})
    tensors, metadata = load_tensors(path)
    assert equal(tensors, OLD) and metadata == {"facts": "old"} and os.listdir(tmp_path) == [path.name]


def test_a_really_full_disk(tmp_path, weights):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        save_model(tmp_path / "model", weights, CARD)
        for name in ("other", "model"):  # a new file, and one that stands already
            with pytest.raises(CheckpointError, match=rf"disk full while writing .*{name}.model\.safetensors"):
                save_model(tmp_path / name, {k: w + 1 for k, w in weights.items()}, CARD)
        assert equal(load_model(tmp_path / "model", expected=CARD)[0].state_dict(), weights)
        (tmp_path / "ballast").write_bytes(b"0" * (os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_bsize))
        message = r"disk full while writing .*note\.json"
        with pytest.raises(CheckpointError, match=message), atomic_write(tmp_path / "note.json") as partial:
            partial.write_text("x" * 10_000)
        assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [
            "ballast", "config.json", "model.safetensors",
        ]  # fmt: skip
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_other_failures_to_write_are_named_too(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match=r"while writing .*w\.safetensors: make the folder writable and run"):
        save_tensors(tmp_path / "file" / "w.safetensors", OLD)
    (tmp_path / "taken").mkdir()
    with pytest.raises(CheckpointError, match=r"directory while writing .*taken"):
        save_tensors(tmp_path / "taken", OLD)
    assert sorted(os.listdir(tmp_path)) == ["file", "taken"]


def test_a_failing_block_keeps_the_former_file(tmp_path):
    path = tmp_path / "new" / "note.txt"
    with atomic_write(path) as partial:
        partial.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as partial:
        partial.write_text("new")
        raise ZeroDivisionError
    assert path.read_text() == "old" and os.listdir(path.parent) == ["note.txt"]


def test_optimizer_state_round_trip(tmp_path):
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    twin = torch.nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    twin.load_state_dict(conv.state_dict())
    adam = torch.optim.AdamW(conv.parameters(), 0.1, betas=(0.5, 0.9))
    other = torch.optim.AdamW(twin.parameters(), 0.1, betas=(0.5, 0.9))
    x = torch.randn(2, 4, 5, 5)
    conv(x).square().sum().backward()
    adam.step()
    save_tensors(tmp_path / "o.safetensors", optimizer_tensors(adam))
    twin.load_state_dict(conv.state_dict())
    restore_optimizer(other, load_tensors(tmp_path / "o.safetensors")[0])
    assert other.state[twin.weight]["exp_avg"].stride() == adam.state[conv.weight]["exp_avg"].stride()
    for net, optimizer in ((conv, adam), (twin, other)):
        optimizer.zero_grad()
        net(x).square().sum().backward()
        optimizer.step()
    assert equal(conv.state_dict(), twin.state_dict())


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), plain, min_size=1))
@settings(deadline=None)
def test_fingerprints_survive_json_and_the_order_of_keys(chosen):
    again = json.loads(json.dumps(dict(reversed(chosen.items()))))
    assert fingerprint(chosen) == fingerprint(again)
    assert fingerprint(chosen) != fingerprint({**chosen, next(iter(chosen)): "something else entirely"})
