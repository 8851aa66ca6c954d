"""The U-Net: sizes of the paper, ports for either half, taps, and no weight without a purpose."""

from dataclasses import replace
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds.tiny import NETWORK, awake

from gcdp.errors import ConfigError
from gcdp.experiments.profile import load_profile
from gcdp.network import blocks
from gcdp.network.blocks import Attention, ContextGate, Downsample, MultiKernelStem, NoiseLevelEmbedding, Upsample
from gcdp.network.unet import LowResolution, UNet, UNetConfig

HALVES = {"joint": {}, "image": {"num_classes": 0}, "layout": {"image_channels": 0}}


@cache
def network(half: str = "joint", asleep: bool = False, **changes) -> UNet:
    torch.manual_seed(0)
    unet = UNet(replace(NETWORK, **HALVES[half], **changes))
    return unet if asleep else awake(unet)


def inputs(unet: UNet, batch: int = 2, size=(8, 16), seed: int = 0):
    """(x, y, log_snr_x, log_snr_y, text) as the network takes them."""
    c, g = unet.config, torch.Generator().manual_seed(seed)
    x = torch.randn(batch, 3, *size, generator=g) if c.image_channels else None
    y = torch.randint(c.num_classes, (batch, *size), generator=g) if c.num_classes else None
    states = torch.randn(batch, 5, c.text_width, generator=g)
    levels = torch.randn(2, batch, generator=g) * 3
    return x, y, *levels, unet.encode_text(states, torch.ones(batch, 5, dtype=torch.bool))


def outputs(prediction) -> torch.Tensor:
    return torch.cat([half for half in prediction[:2] if half is not None], 1)


def millions(**changes) -> float:
    with torch.device("meta"):
        return UNet(UNetConfig(**changes)).num_parameters() / 1e6


PAPER_SIZED = ("cityscapes", "cityscapes-best", "celeba", "celeba-best")


def test_paper_sizes():
    assert millions() == pytest.approx(697.4, rel=0.05)
    deepest = (False, False, False, True)
    super_resolution = millions(low_resolution=True, self_attention=deepest, cross_attention=deepest)
    assert super_resolution == pytest.approx(717.2, rel=0.05)


@pytest.mark.parametrize(
    ("profile", "model", "low", "high"),
    [
        ("toy", "joint", 1, 6),
        ("smoke", "joint", 0, 0.5),
        *((name, model, 660, 735) for name in PAPER_SIZED for model in ("joint", "enlarger")),
    ],
)
def test_sizes_of_profiles(profile, model, low, high):
    config = load_profile(profile).unet_for(model, 20, 1024 if profile in PAPER_SIZED else 384)
    with torch.device("meta"):
        assert low < UNet(config).num_parameters() / 1e6 < high
    assert config.low_resolution == (model == "enlarger")


def test_heads_compute_in_float32_under_autocast():
    unet, taps = network(), ("last",)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        prediction = unet(*inputs(unet), taps=taps)
    assert prediction.image.dtype == prediction.layout.dtype == torch.float32
    with torch.no_grad():
        expected = unet.heads["layout"](prediction.features["last"].float())
    assert torch.equal(prediction.layout, expected)


@pytest.mark.parametrize("half", HALVES)
def test_output_shapes(half):
    unet = network(half)
    prediction = unet(*inputs(unet))
    if half == "layout":
        assert prediction.image is None
    else:
        assert prediction.image.shape == (2, 3, 8, 16)
    if half == "image":
        assert prediction.layout is None
    else:
        assert prediction.layout.shape == (2, 5, 8, 16)
    assert prediction.features == {} and outputs(prediction).isfinite().all()


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=10, deadline=None)
def test_any_size_that_the_levels_divide(batch, rows, columns):
    unet = network()
    prediction = unet(*inputs(unet, batch, (4 * rows, 4 * columns)))
    assert prediction.image.shape == (batch, 3, 4 * rows, 4 * columns)
    assert prediction.layout.shape == (batch, 5, 4 * rows, 4 * columns)


@pytest.mark.parametrize("size", [(8, 18), (6, 16), (7, 7)])
def test_other_sizes_are_refused(size):
    unet = network()
    with pytest.raises(ValueError, match="multiples of 4"):
        unet(*inputs(unet, size=size))


def test_the_heads_start_at_zero():
    for half in HALVES:
        unet = network(half, asleep=True)
        assert not outputs(unet(*inputs(unet))).any()


def test_super_resolution_port():
    unet = network(low_resolution=True)
    x, y, *rest = inputs(unet)
    low = LowResolution(x.flip(0), y.flip(0), torch.tensor([0.5, -1.0]))
    prediction = unet(x, y, *rest, low=low)
    assert prediction.image.shape == x.shape
    for changed in (low._replace(x=x), low._replace(y=y), low._replace(log_snr=low.log_snr + 1)):
        assert not torch.allclose(outputs(prediction), outputs(unet(x, y, *rest, low=changed)))
    with pytest.raises(ValueError, match="needs `low`"):
        unet(x, y, *rest)
    with pytest.raises(ValueError, match="only such a network"):
        network()(x, y, *rest, low=low)


@pytest.mark.parametrize("half", HALVES)
def test_taps(half):
    unet = network(half)
    arguments = inputs(unet)
    shapes = {
        "down.0": (2, 8, 4, 8), "down.1": (2, 16, 2, 4), "mid": (2, 16, 2, 4),
        "up.1": (2, 16, 2, 4), "up.0": (2, 8, 4, 8), "last": (2, 8, 8, 16),
    }  # fmt: skip
    assert unet.tap_names == list(shapes)
    tapped = unet(*arguments, taps=unet.tap_names)
    assert {name: tuple(h.shape) for name, h in tapped.features.items()} == shapes
    assert torch.equal(outputs(tapped), outputs(unet(*arguments)))
    assert list(unet(*arguments, taps=["mid"]).features) == ["mid"]
    with pytest.raises(ValueError, match=r"no tap 'up\.7': choose from down\.0, .*, last"):
        unet(*arguments, taps=["mid", "up.7"])


def test_a_missing_half_is_named():
    unet = network()
    x, y, *rest = inputs(unet)
    for pair in ((None, y), (x, None)):
        with pytest.raises(ValueError, match="a half is missing"):
            unet(*pair, *rest)


def test_every_input_matters():
    unet = network()
    arguments = list(inputs(unet))
    others = inputs(unet, seed=1)
    before = unet(*arguments)
    for position in range(5):
        after = unet(*arguments[:position], others[position], *arguments[position + 1 :])
        assert not torch.allclose(before.image, after.image, atol=1e-4), position
        assert not torch.allclose(before.layout, after.layout, atol=1e-4), position


def test_examples_do_not_mix():
    unet = network()
    arguments = inputs(unet, batch=3)
    alone = unet(*(a[1:2] for a in arguments))
    together = unet(*arguments)
    torch.testing.assert_close(alone.image, together.image[1:2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone.layout, together.layout[1:2], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("half", HALVES)
def test_gradient_reaches_every_parameter(half):
    torch.manual_seed(0)
    unet = awake(UNet(replace(NETWORK, **HALVES[half])))
    states, mask = torch.randn(4, 5, 12), torch.ones(4, 5, dtype=torch.bool)
    x, y, log_snr_x, log_snr_y, _ = inputs(unet, batch=4)
    y = None if y is None else (torch.arange(y.numel()) % 5).view(y.shape)  # all labels occur
    text = unet.encode_text(states, mask, torch.tensor([True, True, False, True]))
    outputs(unet(x, y, log_snr_x, log_snr_y, text)).square().sum().backward()
    idle = [name for name, p in unet.named_parameters() if p.grad is None or not p.grad.any()]
    # softmax ignores a shift of all scores, so the bias of the context gate's score has an exact gradient of 0
    assert [name for name in idle if not name.endswith("gate.score.bias")] == []


def test_both_halves_may_not_be_absent_and_sizes_are_checked():
    with pytest.raises(ConfigError, match="nothing would be generated"):
        UNetConfig(image_channels=0, num_classes=0)
    for changes, message in [
        ({"blocks": (1, 1)}, "one entry a level"),
        ({"stem_width": 12}, "multiples of 8"),
        ({"stem_kernels": (3, 4)}, "kernels must be odd"),
        ({"stem_kernels": ()}, "must not be empty"),
        ({"heads": 0}, "heads must be at least 1, got 0"),
        ({"blocks": (2, -4, 8, 8)}, r"blocks must be at least 0, got \[2, -4, 8, 8\]"),
    ]:
        with pytest.raises(ConfigError, match=message):
            UNetConfig(**changes)


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.booleans())
@settings(max_examples=25, deadline=None)
def test_plain_attention_equals_the_fused_kernel(batch, queries, keys, masked):
    g = torch.Generator().manual_seed(queries * 10 + keys)
    q, k, v = (torch.randn(batch, h, n, 4, generator=g) for h, n in ((3, queries), (1, keys), (1, keys)))
    mask = None
    if masked:
        mask = torch.rand(batch, 1, 1, keys, generator=g) < 0.5
        mask[..., 0] = True
    k_wide, v_wide = (z.expand(-1, 3, -1, -1) for z in (k, v))
    fused = F.scaled_dot_product_attention(q, k_wide, v_wide, mask)
    torch.testing.assert_close(blocks._attend(q, k, v, mask), fused, atol=1e-6, rtol=1e-5)


def test_cross_attention_ignores_masked_tokens():
    torch.manual_seed(0)
    attention = Attention(8, 6, heads=2, head_width=4, own=False)
    h, context = torch.randn(2, 5, 8), torch.randn(2, 4, 6)
    mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
    changed = context.clone()
    changed[0, 2:] = 9
    torch.testing.assert_close(attention(h, context, mask), attention(h, changed, mask))
    torch.testing.assert_close(attention(h, context, mask)[:1], attention(h[:1], context[:1, :2]))


def test_upsampled_pixels_start_equal_and_may_part_later():
    torch.manual_seed(0)
    layer = Upsample(8, 16)
    h = layer(torch.randn(2, 8, 3, 5))
    assert h.shape == (2, 16, 6, 10)
    assert torch.equal(h, F.interpolate(h[:, :, ::2, ::2], scale_factor=2))
    assert len(layer.conv.weight.unique()) == 16 * 8


def test_downsampling_keeps_every_number():
    layer = Downsample(2, 8)
    torch.nn.init.dirac_(layer.conv.weight), torch.nn.init.zeros_(layer.conv.bias)
    h = torch.randn(1, 2, 4, 6)
    assert torch.equal(layer(h).flatten().sort().values, h.flatten().sort().values)


def test_stem_mixes_kernels_and_keeps_the_size():
    stem = MultiKernelStem(6, 32, (15, 3, 7))
    assert [(c.out_channels, c.kernel_size[0]) for c in stem.convs] == [(16, 3), (8, 7), (8, 15)]
    assert stem(torch.randn(1, 6, 8, 16)).shape == (1, 32, 8, 16)


def test_context_gate_scales_whole_channels():
    torch.manual_seed(0)
    h = torch.rand(2, 8, 4, 4) + 1
    factors = ContextGate(8)(h) / h
    torch.testing.assert_close(factors, factors[:, :, :1, :1].expand_as(factors))
    assert ((0 < factors) & (factors < 1)).all()


def test_noise_levels_are_told_apart():
    torch.manual_seed(0)
    embedding = NoiseLevelEmbedding(16)(torch.linspace(-15, 15, 301))
    distances = torch.cdist(embedding, embedding) + torch.eye(301)
    assert embedding.isfinite().all() and distances.min() > 1e-3


def test_the_last_block_sees_the_stem():
    unet, seen = network(), {}
    hooks = [
        unet.ends[0].stem.register_forward_hook(lambda module, arguments, out: seen.update(stem=out)),
        unet.ends[0].last.register_forward_pre_hook(lambda module, arguments: seen.update(last=arguments[0])),
    ]
    unet(*inputs(unet))
    for hook in hooks:
        hook.remove()
    assert torch.equal(seen["last"][:, 8:], seen["stem"] * 2**-0.5)
