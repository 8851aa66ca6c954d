"""Checkpoints without a second copy: of what is saved, one tensor at a time is copied, and it comes back to the bit."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from worlds import tiny
from worlds.tiny import awake, cpu

from gcdp.network.unet import UNet
from gcdp.storage import load_tensors
from gcdp.training.state import TrainingState, optimizer_tensors
from gcdp.training.tensor_file import NAMES, write_tensors


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tiny.world(tmp_path_factory.mktemp("world"))


def storages(values):
    return [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


class NewBytes(TorchDispatchMode):
    """The most bytes that storages made under it held at one time."""

    def __init__(self):
        super().__init__()
        self.alive, self.most = {}, 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        given = {storage._cdata for storage in storages((args, kwargs))}
        out = operation(*args, **(kwargs or {}))
        for storage in storages(out):
            if storage._cdata not in given:
                self.alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.alive = {key: (ref, size) for key, (ref, size) in self.alive.items() if not ref.expired()}
        self.most = max(self.most, sum(size for _, size in self.alive.values()))
        return out


@pytest.fixture
def state(place, tmp_path):
    torch.manual_seed(0)
    unet = awake(UNet(place.card.unet)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(unet.parameters())
    for parameter in unet.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return TrainingState(unet, optimizer, 0.9, tmp_path, "hash", cpu())


def test_nothing_but_one_tensor_at_a_time_is_copied(state):
    largest = max(value.nbytes for value in state.ema.values())
    with NewBytes() as saving:
        state.save(3, {})
    with NewBytes() as averaging, state.ema_weights():
        pass
    total = sum(value.nbytes for value in state.ema.values())
    assert 0 < saving.most <= 2 * largest < total / 4  # whether a parameter is finite takes its size and three quarters
    assert 0 < averaging.most <= 2 * largest
    with NewBytes() as copying:
        _ = {name: value.clone() for name, value in state.ema.items()}
    assert copying.most == total  # a copy would be seen


def test_a_state_written_one_tensor_at_a_time_comes_back(state, place, tmp_path):
    state.update_ema(0.3)
    state.save(3, {"count": 1})
    unet = UNet(place.card.unet).to(memory_format=torch.channels_last)
    again = TrainingState(unet, torch.optim.AdamW(unet.parameters()), 0.9, tmp_path, "hash", cpu())
    assert again.resume() == 3 and again.pending == {"count": 1}
    pairs = [(state.network.state_dict(), unet.state_dict()), (state.ema, again.ema)]
    pairs += [(optimizer_tensors(state.optimizer), optimizer_tensors(again.optimizer))]
    for ours, theirs in pairs:
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_average_and_the_weights_change_places_and_back(state):
    state.update_ema(0.3)
    raw, ema = ({k: v.clone() for k, v in w.items()} for w in (state.network.state_dict(), state.ema))
    with pytest.raises(ZeroDivisionError), state.ema_weights():
        assert all(torch.equal(value, ema[name]) for name, value in state.network.state_dict().items())
        raise ZeroDivisionError
    assert all(torch.equal(value, raw[name]) for name, value in state.network.state_dict().items())
    assert all(torch.equal(value, ema[name]) for name, value in state.ema.items())


def test_the_file_is_that_of_safetensors(tmp_path):
    torch.manual_seed(0)
    tensors = {str(dtype): torch.randint(2, (3, 5)).to(dtype) for dtype in NAMES}
    tensors |= {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4), "turned": torch.randn(4, 3, 2, 2).mT}
    write_tensors(tmp_path / "ours", tensors, {"facts": '{"a": 1}'})
    save_file({name: value.contiguous() for name, value in tensors.items()}, tmp_path / "theirs", {"facts": '{"a": 1}'})
    ours, theirs = load_file(tmp_path / "ours"), load_file(tmp_path / "theirs")
    assert ours.keys() == theirs.keys() == tensors.keys()
    for name, value in tensors.items():
        assert torch.equal(ours[name], value) and ours[name].dtype == value.dtype == theirs[name].dtype
    assert load_tensors(tmp_path / "ours")[1] == {"facts": '{"a": 1}'}
