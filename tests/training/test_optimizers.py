"""Muon: the orthogonalization, the step, and what it takes over from AdamW."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from worlds import tiny

from gcdp.errors import ConfigError
from gcdp.network.unet import UNet
from gcdp.training.diffusion import ConditionedUNet
from gcdp.training.optimizers import Muon, make_optimizer, orthogonalized
from gcdp.training.recipe import TrainConfig


@pytest.mark.parametrize("shape", [(16, 16), (12, 40), (40, 12)])
def test_singular_values_are_brought_near_one_and_directions_kept(shape):
    matrix = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    made = orthogonalized(matrix)
    values = torch.linalg.svdvals(made)[s > 0.03 * s.amax(1, keepdim=True)]
    assert 0.6 < values.min() and values.max() < 1.3
    inside = u.mT @ made @ vh.mT  # the same singular vectors: nothing off the diagonal
    assert (inside - torch.diag_embed(inside.diagonal(dim1=1, dim2=2))).abs().max() < 1e-3


def test_known_answer_of_the_iteration():
    """One singular value: five times s <- a s + b s^3 + c s^5 from 1."""
    s = 1.0
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    matrix = torch.outer(torch.tensor([3.0, 4.0]), torch.tensor([0.6, 0.8, 0.0]))[None]
    expected = s * torch.outer(torch.tensor([0.6, 0.8]), torch.tensor([0.6, 0.8, 0.0]))
    torch.testing.assert_close(orthogonalized(matrix)[0], expected, atol=1e-5, rtol=1e-5)
    assert not orthogonalized(torch.zeros(1, 4, 4)).any()


def test_matrices_take_the_steps_of_torch_s_muon():
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(24, 8, generator=generator)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    mine = Muon([ours], [nn.Parameter(torch.zeros(1))], muon_rate=0.02, learning_rate=0.1)
    torchs = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.0, momentum=0.95, adjust_lr_fn="original")
    for _ in range(4):
        ours.grad = torch.randn(24, 8, generator=generator)
        theirs.grad = ours.grad.clone()
        mine.step()
        torchs.step()
    moved = (ours - start).norm()  # torch's iterates in bfloat16
    assert moved > 0.1 and (ours - theirs).norm() < 0.02 * moved


def test_a_kernel_steps_like_its_matrix_and_vectors_like_adamw():
    generator = torch.Generator().manual_seed(2)
    start, vector = torch.randn(8, 4, 3, 3, generator=generator), torch.randn(5, generator=generator)
    kernel, matrix = nn.Parameter(start.clone()), nn.Parameter(start.flatten(1).clone())
    bias, other = nn.Parameter(vector.clone()), nn.Parameter(vector.clone())
    optimizer = Muon([kernel, matrix], [bias], 0.02, 1e-3, weight_decay=0.1)
    adamw = torch.optim.AdamW([other], 1e-3, betas=(0.9, 0.99), weight_decay=0.1)
    for _ in range(3):
        kernel.grad, bias.grad = torch.randn(8, 4, 3, 3, generator=generator), torch.randn(5, generator=generator)
        matrix.grad, other.grad = kernel.grad.flatten(1), bias.grad.clone()
        optimizer.step()
        adamw.step()
    torch.testing.assert_close(kernel.flatten(1), matrix)
    assert torch.equal(bias, other)


def test_a_restored_optimizer_goes_on_to_the_bit():
    def steps(parameters, optimizer, seeds):
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            for p in parameters:
                p.grad = torch.randn(p.shape, generator=generator)
            optimizer.step()

    def fresh():
        parameters = [nn.Parameter(torch.ones(6, 4)), nn.Parameter(torch.ones(3))]
        return parameters, Muon(parameters[:1], parameters[1:], 0.02, 1e-3)

    whole, optimizer = fresh()
    steps(whole, optimizer, range(3))
    kept = [p.detach().clone() for p in whole], deepcopy(optimizer.state_dict())
    resumed, second = fresh()
    for p, value in zip(resumed, kept[0], strict=True):
        p.data.copy_(value)
    second.load_state_dict(kept[1])
    steps(whole, optimizer, range(3, 6))
    steps(resumed, second, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))


def test_the_edges_of_a_network_stay_with_adamw():
    network = ConditionedUNet(UNet(tiny.NETWORK))
    optimizer = make_optimizer(network, TrainConfig(optimizer="muon", muon_rate=0.03, learning_rate=2e-3))
    hidden = {id(p) for p in optimizer.param_groups[0]["params"]}
    chosen = {name for name, p in network.named_parameters() if id(p) in hidden}
    assert {"unet.mid_in.conv1.weight", "unet.ends.0.last.conv1.weight", "unet.down.0.entry.conv1.weight"} <= chosen
    edges = ("stem.", "heads.", "embed_layout", "noise_", "text.project", "bias", "norm")
    assert not [name for name in chosen if any(edge in name for edge in edges) and "context_kv.1" not in name]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network.parameters()))
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.03, 2e-3]


def test_muon_refuses_what_it_cannot_train():
    with pytest.raises(ConfigError, match="not for Linear"):
        make_optimizer(nn.Linear(2, 2), TrainConfig(optimizer="muon"))
    with pytest.raises(ValueError, match="vectors"):
        Muon([nn.Parameter(torch.zeros(3))], [nn.Parameter(torch.zeros(3))], 0.1, 0.1)
