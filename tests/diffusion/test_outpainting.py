"""RePaint on pairs: noise levels of known and drawn parts, numbers of calls, a conditional that is known exactly."""

import pytest
import torch
from scipy.stats import chisquare, kstest
from worlds.two_pixels import (
    ALARM,
    PROCESS,
    SCHEDULE,
    K,
    Recorder,
    T,
    World,
    noise_of,
    settings,
)

from gcdp.diffusion.gaussian import GaussianDiffusion
from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.diffusion.outpainting import Known, RePaint, authors_jump
from gcdp.diffusion.paths import Times, led
from gcdp.diffusion.sampling import ReverseProcess, ReverseSettings
from gcdp.errors import ConfigError

SIZE = (8, 8)


def known_part(count=64, seed=0):
    """A pair with its left half of the image and its upper half of the layout known."""
    g = torch.Generator().manual_seed(seed)
    x0, y0 = torch.rand(count, 3, *SIZE, generator=g) - 0.5, torch.randint(K, (count, *SIZE), generator=g)
    left, upper = torch.zeros(2, count, *SIZE, dtype=torch.bool)
    left[:, :, :4], upper[:, :4] = True, True
    return Known(x0, left, y0, upper)


def perfect(known, calls=None):
    """A network that knows the pair behind the known part, and everywhere else."""

    def denoise(x, y, *levels):
        if calls is not None:
            calls.append((x, y))
        return known.image, 30.0 * torch.nn.functional.one_hot(known.layout, K).permute(0, 3, 1, 2)

    return denoise


def residual(x, x0, t):
    ab = SCHEDULE.alpha_bar[t]
    return ((x.double() - ab.sqrt() * x0) / (1 - ab).sqrt()).flatten()


@pytest.mark.parametrize("resamplings", [1, 3])
@pytest.mark.parametrize("path", [led(T, 4, 0.0), led(T, 6, 0.5)], ids=["diagonal", "led"])
def test_every_state_has_the_noise_of_its_times_in_known_and_drawn_parts(resamplings, path):
    known, calls = known_part(), []
    reverse = RePaint(PROCESS, settings(4), known, resamplings)
    reverse.run(perfect(known, calls), SIZE, noise_of(64), path=path)
    told = [now for now in path[:-1] for _ in range(resamplings)]
    assert len(calls) == len(told)
    for (x, y), now in zip(calls, told, strict=True):
        for mask in (known.image_mask, ~known.image_mask) if now.x else ():
            mask = mask[:, None].expand_as(x)
            assert kstest(residual(x[mask], known.image[mask], now.x).numpy(), "norm").pvalue > ALARM
        for mask in (known.layout_mask, ~known.layout_mask) if now.y else ():
            same, ab = int((y == known.layout)[mask].sum()), float(SCHEDULE.alpha_bar[now.y])
            expected = torch.tensor([ab + (1 - ab) / K, (1 - ab) * (K - 1) / K], dtype=torch.float64) * int(mask.sum())
            counts = torch.tensor([same, int(mask.sum()) - same])
            if expected.min() >= 5:
                assert chisquare(counts, expected).pvalue > ALARM


def test_what_is_known_comes_back_as_it_was_and_the_rest_is_drawn():
    known = known_part(8)
    x, y = RePaint(PROCESS, settings(3), known, 2).run(Recorder(), SIZE, noise_of(8))
    for drawn, given, mask in (
        (x.movedim(1, -1), known.image.movedim(1, -1), known.image_mask),
        (y, known.layout, known.layout_mask),
    ):
        assert torch.equal(drawn[mask], given[mask]) and not torch.equal(drawn[~mask], given[~mask])


def test_with_nothing_known_and_every_jump_taken_once_it_is_the_reverse_process():
    plain = ReverseProcess(PROCESS, settings(5)).run(Recorder(), SIZE, noise_of(3))
    nothing = RePaint(PROCESS, settings(5), Known()).run(Recorder(), SIZE, noise_of(3))
    assert all(torch.equal(a, b) for a, b in zip(plain, nothing, strict=True))


@pytest.mark.parametrize("resamplings", [1, 5])
def test_each_jump_is_taken_so_often_at_the_same_times(resamplings):
    recorder, seen = Recorder(), []
    RePaint(PROCESS, settings(4), known_part(2), resamplings).run(
        recorder, SIZE, noise_of(2), on_step=lambda s, x, y: seen.append(s)
    )
    assert [call.t_x for call in recorder.calls] == [t for t in (1000, 750, 500, 250) for _ in range(resamplings)]
    assert seen == [750, 500, 250, 0]


def test_a_half_told_as_clean_stays_so_beside_a_known_part_of_the_other():
    known, recorder = known_part(4), Recorder()
    part = Known(layout=known.layout, layout_mask=known.layout_mask)
    path = [Times(0, t) for t in SCHEDULE.steps(3)]
    x, y = RePaint(PROCESS, settings(3), part, 2).run(recorder, SIZE, noise_of(4), image=known.image, path=path)
    assert torch.equal(x, known.image) and {call.t_x for call in recorder.calls} == {0}
    assert torch.equal(y[known.layout_mask], known.layout[known.layout_mask])


def test_given_one_label_the_other_comes_near_its_conditional_as_jumps_are_taken_again():
    world, count, label = World(spread=0.7), 1500, 1
    mask = torch.tensor([[True, False]]).expand(count, 1, 2)
    known = Known(layout=torch.full((count, 1, 2), label), layout_mask=mask)
    process = GaussianCategoricalDiffusion(world.gaussian, PROCESS.categorical)
    prior = world.layout.prior.view(K, K)
    exact = prior[label] / prior[label].sum()

    def distance(resamplings):
        """Total variation to p(second label | first label), with exact predictions in every jump."""
        reverse = RePaint(process, settings(20), known, resamplings)
        _, y = reverse.run(world.draw_clean, (1, 2), noise_of(count, resamplings))
        assert (y[:, 0, 0] == label).all()
        return float((torch.bincount(y[:, 0, 1], minlength=K).double() / count - exact).abs().sum() / 2)

    once, often = distance(1), distance(10)
    assert often < 0.045 < 2 * 0.045 < once < float((prior.sum(0) - exact).abs().sum() / 2)


def test_the_authors_way_back_leaves_too_little_noise():
    g, s, t = torch.Generator().manual_seed(0), 700, 750
    x_s, noise = torch.randn(2, 4, 3, 8, 8, generator=g, dtype=torch.float64)
    times = torch.full((4,), s), torch.full((4,), t)
    ab_s, ab_t = SCHEDULE.alpha_bar[s], SCHEDULE.alpha_bar[t]
    theirs = authors_jump(PROCESS.gaussian, x_s, *times, noise)
    std = (1 - ab_t).sqrt() - (1 - ab_s).sqrt() * (ab_t / ab_s).sqrt()
    torch.testing.assert_close(theirs, (ab_t / ab_s).sqrt() * x_s + std * noise)
    ours = GaussianDiffusion.q_jump(PROCESS.gaussian, x_s, *times, noise)
    assert not torch.allclose(ours, theirs)
    known, calls = known_part(), []
    RePaint(PROCESS, settings(20), known, 2, authors_jump).run(perfect(known, calls), SIZE, noise_of(64))
    drawn = ~known.image_mask[:, None].expand(-1, 3, -1, -1)
    spreads = []
    for (x, _), now in zip(calls[1::2], SCHEDULE.steps(20)[:-1], strict=True):  # after the way back
        spreads.append(float(residual(x[drawn], known.image[drawn], now).std()))
    assert all(0.6 < spread < 0.99 for spread in spreads[:-1])


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"resamplings": 0}, "resamplings must be a whole number of at least 1, got 0"),
        ({"resamplings": 1.5}, "resamplings must be a whole number"),
        ({"resamplings": 2, "settings": ReverseSettings(4, eta=0.0, order=2)}, "order 2 takes every jump once, got 2"),
    ],
)
def test_bad_settings_are_refused(changed, message):
    with pytest.raises(ConfigError, match=message):
        RePaint(PROCESS, **{"settings": settings(4), "known": Known(), **changed})


@pytest.mark.parametrize("name", ["image", "image_mask", "layout", "layout_mask"])
def test_a_half_and_its_mask_belong_together(name):
    with pytest.raises(ConfigError, match=f"a known {name.removesuffix('_mask')} and its mask belong together"):
        Known(**{name: getattr(known_part(2), name)})
