"""Text conditioning: padding and neighbors leave no trace, and a dropped caption is no caption."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds.tiny import NETWORK, awake

from gcdp.network.conditioning import Resampler, TextConditioner, TextContext
from gcdp.network.unet import UNet

torch.manual_seed(0)
WIDTH = NETWORK.text_width
CONDITIONER = awake(UNet(NETWORK)).text.requires_grad_(False)
seeds = st.integers(0, 2**16)


def caption(length: int, seed: int) -> torch.Tensor:
    """Encoder states (1, L, D) of one caption."""
    return torch.randn(1, length, WIDTH, generator=torch.Generator().manual_seed(seed))


def padded(captions: list[torch.Tensor], length: int, filler: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch (B, length, D) with its mask; `filler` stands where there is no token."""
    states = torch.full((len(captions), length, WIDTH), filler)
    mask = torch.zeros(len(captions), length, dtype=torch.bool)
    for i, tokens in enumerate(captions):
        states[i, : tokens.shape[1]], mask[i, : tokens.shape[1]] = tokens[0], True
    return states, mask


def assert_close(context: TextContext, other: TextContext) -> None:
    torch.testing.assert_close(context.tokens, other.tokens, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(context.pooled, other.pooled, atol=1e-5, rtol=1e-5)


@given(st.lists(st.integers(1, 8), min_size=1, max_size=4), st.integers(0, 20), st.floats(-3, 3), seeds)
@settings(max_examples=40, deadline=None)
def test_context_depends_on_the_own_tokens_only(lengths, extra, filler, seed):
    captions = [caption(length, seed + i) for i, length in enumerate(lengths)]
    together = CONDITIONER(*padded(captions, max(lengths) + extra, filler))
    for i, tokens in enumerate(captions):
        assert_close(together[i : i + 1], CONDITIONER(*padded([tokens], tokens.shape[1])))


@given(st.integers(1, 9), st.integers(1, 9), seeds)
@settings(max_examples=25, deadline=None)
def test_a_dropped_caption_leaves_no_trace(length, other, seed):
    drop = torch.tensor([False])
    dropped = CONDITIONER(*padded([caption(length, seed)], length), drop)
    assert_close(dropped, CONDITIONER(*padded([caption(other, seed + 1)], other), drop))
    # what sampling without text uses: one empty token, or none at all
    for tokens in (1, 0):
        empty = torch.zeros(1, tokens, WIDTH), torch.zeros(1, tokens, dtype=torch.bool)
        assert_close(dropped, CONDITIONER(*empty))
    assert torch.equal(dropped.pooled, CONDITIONER.null_pooled)
    kept = CONDITIONER(*padded([caption(length, seed)], length), ~drop)
    assert not torch.allclose(kept.tokens, dropped.tokens, atol=1e-3)
    assert not torch.allclose(kept.pooled, dropped.pooled, atol=1e-3)


def test_captions_are_dropped_one_by_one():
    states, mask = padded([caption(4, i) for i in range(3)], 4)
    mixed = CONDITIONER(states, mask, torch.tensor([True, False, True]))
    assert_close(mixed[::2], CONDITIONER(states[::2], mask[::2]))
    assert_close(mixed[1:2], CONDITIONER(states[:1], mask[:1], torch.tensor([False])))


def test_the_null_context_is_that_of_dropped_captions_as_often_as_asked_for():
    states, mask = padded([caption(4, i) for i in range(3)], 4)
    dropped, null = CONDITIONER(states, mask, torch.zeros(3, dtype=torch.bool)), CONDITIONER.null(3)
    assert null.tokens.shape == dropped.tokens.shape and null.pooled.shape == dropped.pooled.shape
    assert_close(null, dropped)


def test_contexts_are_put_together_as_one_batch():
    whole = CONDITIONER(*padded([caption(4, i) for i in range(3)], 4))
    again = TextContext.concatenate([whole[:1], whole[1:]])
    assert torch.equal(again.tokens, whole.tokens) and torch.equal(again.pooled, whole.pooled)


def test_no_gradient_flows_into_dropped_text():
    states, mask = padded([caption(4, 0), caption(3, 1)], 4)
    states.requires_grad_()
    context = CONDITIONER(states, mask, torch.tensor([False, True]))
    (context.tokens.square().sum() + context.pooled.square().sum()).backward()
    assert not states.grad[0].any() and not states.grad[1, 3:].any()
    assert states.grad[1, :3].any(1).all()


def test_shapes_and_selection_of_examples():
    context = CONDITIONER(*padded([caption(5, i) for i in range(3)], 7))
    tokens = NETWORK.context_latents + TextConditioner.POOLED_TOKENS
    assert context.tokens.shape == (3, tokens, NETWORK.context_width)
    assert context.pooled.shape == (3, NETWORK.time_width)
    chosen = context[torch.tensor([2, 0])]
    assert isinstance(chosen, TextContext)
    assert torch.equal(chosen.tokens, context.tokens[[2, 0]]) and torch.equal(chosen.pooled, context.pooled[[2, 0]])


def test_the_paper_reads_36_tokens():
    conditioner = TextConditioner(1024, 128, 512, latents=32, depth=2, heads=8, head_width=64)
    assert conditioner(torch.randn(1, 9, 1024), torch.ones(1, 9, dtype=torch.bool)).tokens.shape == (1, 36, 128)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_resampler_reads_any_number_of_tokens_into_a_fixed_one(depth):
    torch.manual_seed(0)
    resampler = Resampler(16, latents=3, depth=depth, heads=2, head_width=8)
    for length in (1, 6):
        out = resampler(torch.randn(2, length, 16), torch.ones(2, length, dtype=torch.bool))
        assert out.shape == (2, 3, 16)
        assert torch.equal(out[0], out[1]) == (depth == 0)


def test_word_order_does_not_matter_without_positions_in_the_states():
    # positions are the encoder's business: the reader treats its states as a set
    states, mask = padded([caption(6, 0)], 6)
    assert_close(CONDITIONER(states, mask), CONDITIONER(states.flip(1), mask))


def drawn(network: UNet, context: TextContext) -> torch.Tensor:
    """Image and logits of one noisy pair for a context."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(1, 3, 8, 16, generator=g), torch.randint(5, (1, 8, 16), generator=g)
    output = network(x, y, torch.zeros(1), torch.zeros(1), context)
    return torch.cat([output.image, output.layout], 1)


def test_attention_weights_of_one_change_nothing_and_of_zero_hide_a_token():
    network = awake(UNet(NETWORK)).eval().requires_grad_(False)
    context = network.encode_text(caption(4, 0), torch.ones(1, 4, dtype=torch.bool))
    count = context.tokens.shape[1]
    plain = drawn(network, context)
    ones = context._replace(weights=torch.ones(1, count, 8, 16))
    torch.testing.assert_close(drawn(network, ones), plain, atol=1e-5, rtol=1e-5)
    more = torch.cat([context.tokens, torch.randn(1, 3, NETWORK.context_width)], 1)
    hidden = torch.cat([torch.ones(1, count, 8, 16), torch.zeros(1, 3, 8, 16)], 1)
    torch.testing.assert_close(drawn(network, TextContext(more, context.pooled, hidden)), plain, atol=1e-5, rtol=1e-5)
    hidden[:, count:, :, 8:] = 5.0  # now the right half attends to what was added
    seen = drawn(network, TextContext(more, context.pooled, hidden))
    assert (seen - plain).abs().amax((1, 2))[0, 8:].max() > 1e-3


def test_weights_are_averaged_to_the_size_of_a_map():
    weights = torch.zeros(1, 2, 4, 4)
    weights[0, 0], weights[0, 1, :, 2:] = 1.0, 3.0
    bias = TextContext(torch.zeros(1, 2, 5), torch.zeros(1, 3), weights).bias((1, 2))
    assert bias.exp().tolist() == [[[1.0, 0.0], [1.0, pytest.approx(3.0)]]]
    assert TextContext(torch.zeros(1, 2, 5), torch.zeros(1, 3)).bias((1, 2)) is None
