"""Optimizers: AdamW, and Muon for the hidden matrices of a network with AdamW for all else.

Muon (Jordan et al. 2024) replaces the momentum of a matrix by the nearest orthogonal one, so that every direction of
the matrix learns at the same pace. A convolution kernel (out, in, k, k) counts as the matrix (out, in k k).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gcdp.errors import ConfigError
from gcdp.training.recipe import TrainConfig

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # quintic whose iteration drives singular values into 0.7..1.2
ITERATIONS = 5


def make_optimizer(network: nn.Module, config: TrainConfig, capturable: bool = False) -> torch.optim.Optimizer:
    """The optimizer of a recipe, its rates in every group as "lr" and, for schedules, as "initial_lr".

    `capturable`: rates are scalars on the network's device, so that its step can be recorded as a CUDA graph.

    Raises ConfigError where the recipe says muon and the network does not name its hidden matrices
    (`hidden_matrices()`).
    """
    if config.optimizer == "adamw":
        keywords = {"betas": config.betas, "weight_decay": config.weight_decay, "capturable": capturable}
        optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, **keywords)
    else:
        if not hasattr(network, "hidden_matrices"):
            raise ConfigError(f"train.optimizer 'muon' is for diffusion networks, not for {type(network).__name__}")
        hidden = network.hidden_matrices()
        chosen = {id(p) for p in hidden}
        others = [p for p in network.parameters() if id(p) not in chosen]
        rates = config.muon_rate, config.learning_rate
        optimizer = Muon(hidden, others, *rates, config.betas, config.weight_decay, capturable=capturable)
    for group in optimizer.param_groups:
        group["initial_lr"] = float(group["lr"])
        if capturable:
            group["lr"] = torch.tensor(group["initial_lr"], device=group["params"][0].device)
    return optimizer


def set_rates(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Set the rate of every group to a share of its full one."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(share * group["initial_lr"])
        else:
            group["lr"] = share * group["initial_lr"]


def orthogonalized(matrices: Tensor) -> Tensor:
    """Matrices (N, rows, columns) with their singular values brought near 1: U S V^T -> U S' V^T, 0.7 < S' < 1.2.

    Newton-Schulz iteration X <- a X + (b A + c A A) X with A = X X^T, five times from X / |X|; exact in the signs of
    all singular values, and enough for an update.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Orthogonalized Nesterov momentum for `matrices` (2 or more dimensions each), AdamW for `others`.

    A step of a matrix is rate * sqrt(max(1, rows / columns)) * orthogonalized(momentum). Group 0 holds the matrices,
    group 1 the others. One optimizer for both, so that schedules, checkpoints and loss scaling see one.
    """

    def __init__(
        self,
        matrices: Sequence[nn.Parameter],
        others: Sequence[nn.Parameter],
        muon_rate: float,
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        capturable: bool = False,
    ):
        if any(p.ndim < 2 for p in matrices):
            raise ValueError("Muon takes parameters of two or more dimensions: leave vectors to AdamW")
        keywords = {"betas": betas, "weight_decay": weight_decay, "capturable": capturable}
        self._adamw = torch.optim.AdamW(others, learning_rate, **keywords)
        group = {"params": list(matrices), "lr": muon_rate, "momentum": momentum}
        super().__init__([group, *self._adamw.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let AdamW work on this optimizer's second group and on its state."""
        self._adamw.param_groups, self._adamw.state = self.param_groups[1:], self.state

    def load_state_dict(self, state_dict: dict) -> None:
        """As of any optimizer."""
        super().load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure=None):
        """One step of both kinds; matrices of one shape are orthogonalized together."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        self._adamw.step()
        group, alike = self.param_groups[0], defaultdict(list)
        for p in group["params"]:
            if p.grad is not None:
                alike[tuple(p.shape)].append(p)
        for shape, parameters in alike.items():
            rows, columns = shape[0], parameters[0][0].numel()
            updates = orthogonalized(torch.stack([self._momentum(p, group["momentum"]) for p in parameters]))
            updates = updates * (max(1.0, rows / columns) ** 0.5 * group["lr"])
            torch._foreach_sub_(parameters, [update.view(shape) for update in updates.contiguous()])
        return loss

    def _momentum(self, p: nn.Parameter, momentum: float) -> Tensor:
        """Nesterov momentum of one parameter after its new gradient, (rows, columns)."""
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        average = state["momentum"].lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(average, momentum).flatten(1)
