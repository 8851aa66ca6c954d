"""What the bounds of the layout need of K class scores a pixel: two of them, and one sum over all.

The tensors with a class axis are passed over once, forwards and backwards; all else is a few values a pixel. Autograd
alone would keep one such tensor for each operation.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SMALLEST = 1e-30  # in place of a floor of 0: a sum of logarithms stays finite where a probability underflows


def picked(logits: Tensor, y0: Tensor, y_t: Tensor) -> tuple[Tensor, Tensor]:
    """log p at y0 and at y_t, (B, H, W) each, of p = softmax(logits), logits (B, K, H, W)."""
    return _Picked.apply(logits, y0, y_t)


def picked_and_summed(
    logits: Tensor, y0: Tensor, y_t: Tensor, signal: Tensor, floor: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`picked`, and the sum over k of log(signal p_k + floor); signal and floor (B, 1, 1, 1) get no gradient."""
    return _PickedAndSummed.apply(logits, y0, y_t, signal, floor.clamp(min=SMALLEST))


class _Picked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, y0, y_t):
        log_p = torch.log_softmax(logits, 1)
        ctx.save_for_backward(log_p, y0, y_t)
        return _at(log_p, y0), _at(log_p, y_t)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_0, grad_t):
        log_p, y0, y_t = ctx.saved_tensors
        grad = log_p.exp().mul_(-(grad_0 + grad_t)[:, None])
        return _scattered(grad, y0, grad_0, y_t, grad_t), None, None


class _PickedAndSummed(torch.autograd.Function):
    # p = e / total is nowhere written out: its sum joins the factors of one value a pixel, and a pass is saved.
    @staticmethod
    def forward(ctx, logits, y0, y_t, signal, floor):
        largest = logits.amax(1, keepdim=True)
        e = torch.sub(logits, largest).exp_()
        total = e.sum(1, keepdim=True)
        log_total = (largest + total.log())[:, 0]
        at_0, at_t = _at(logits, y0) - log_total, _at(logits, y_t) - log_total
        scale = signal / total
        mixed = torch.addcmul(floor, e, scale)
        share = e / mixed  # times `scale` what the sum passes on to log p_k; 1 - floor / mixed has no digits near t = T
        ctx.save_for_backward(e, total, share, scale, y0, y_t)
        return at_0, at_t, mixed.log_().sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_0, grad_t, grad_sum):
        e, total, share, scale, y0, y_t = ctx.saved_tensors
        passed = grad_sum[:, None] * scale
        to_all = passed * share.sum(1, keepdim=True) + (grad_0 + grad_t)[:, None]
        grad = (share * passed).addcmul_(e, to_all / total, value=-1)
        return _scattered(grad, y0, grad_0, y_t, grad_t), None, None, None, None


def _at(values: Tensor, labels: Tensor) -> Tensor:
    return values.gather(1, labels[:, None])[:, 0]


def _scattered(grad: Tensor, y0: Tensor, grad_0: Tensor, y_t: Tensor, grad_t: Tensor) -> Tensor:
    """`grad` with what the two picked values pass on, in place."""
    return grad.scatter_add_(1, y0[:, None], grad_0[:, None]).scatter_add_(1, y_t[:, None], grad_t[:, None])
