"""Painting functions and distances: known answers, gradients, refusals. Seed 0."""

import pytest
import torch

from gcdp.errors import ConfigError
from gcdp.generators.painting import Blur, MedianPalette, descend, masked_l1, masked_mse, palette


def test_a_blur_keeps_constants_and_spreads_a_point_as_a_normal_curve():
    flat = torch.full((2, 3, 9, 12), 0.3)
    torch.testing.assert_close(Blur(1.5)(flat), flat)
    point = torch.zeros(1, 1, 21, 21)
    point[0, 0, 10, 10] = 1
    blurred = Blur(2.0)(point)[0, 0]
    at = torch.arange(21.0) - 10
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-5)
    assert float((blurred.sum(0) * at**2).sum()) == pytest.approx(4, rel=0.03)  # variance; the tails are cut at 3 sigma
    assert float(blurred[10, 12] / blurred[10, 10]) == pytest.approx(float(torch.exp(torch.tensor(-0.5))), rel=1e-5)


def test_the_authors_blur_scales_with_the_picture():
    assert (Blur.at(512).sigma, Blur.at(128).sigma) == (7.0, 1.75)


def test_a_blur_wider_than_the_picture_is_cut_at_its_size():
    assert Blur(50.0)(torch.rand(1, 3, 4, 6)).shape == (1, 3, 4, 6)


def strokes():
    """Red at the left, blue at the right, a green point."""
    picture = torch.full((3, 6, 8), -1.0)
    picture[0, :, :5], picture[2, :, 5:] = 1, 1
    picture[:, 2, 2] = torch.tensor([-1.0, 1.0, -1.0])
    return picture


def test_the_palette_holds_the_most_frequent_colors():
    assert palette(strokes(), 2).tolist() == [[1, -1, -1], [-1, -1, 1]]
    assert len(palette(strokes(), 9)) == 3


def test_median_and_palette_drop_points_and_take_the_nearest_color():
    given = strokes()[None]
    noisy = given + 0.2 * torch.randn(given.shape, generator=torch.Generator().manual_seed(0))
    painted = MedianPalette(3, colors=2, softness=0.01)(noisy, given)
    expected = given.clone()
    expected[0, :, 2, 2] = torch.tensor([1.0, -1.0, -1.0])  # the green point is gone
    torch.testing.assert_close(painted, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("painting", [Blur(1.0), MedianPalette()])
def test_gradients_pass_through_paintings(painting):
    x = (torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(0)) - 0.5).double().requires_grad_()
    given = strokes().double().expand(2, -1, -1, -1)
    assert torch.autograd.gradcheck(lambda x: painting(x, given), (x,), eps=1e-7, atol=1e-5)


def test_distances_count_the_painted_pixels_alone():
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0, 0], mask[1, :2] = True, True
    error = torch.zeros(2, 3, 4, 4)
    error[0, :, 0], error[1, :, 0] = 0.5, 0.5
    error[:, :, 3] = 9.0
    assert masked_mse(error, torch.zeros_like(error), mask).tolist() == [0.25, 0.125]
    assert masked_l1(-error, torch.zeros_like(error), mask).tolist() == [0.5, 0.25]


def test_a_sample_descends_as_if_it_were_alone():
    z = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    loss = lambda z: (z - 0.7).square().mean((1, 2, 3))  # noqa: E731
    together, alone = descend(z, loss, 5), descend(z[1:2], loss, 5)
    assert torch.equal(together[1:2], alone) and not together.requires_grad
    assert torch.all(loss(together) < loss(z)) and torch.all(loss(descend(z, loss, 200, 0.05)) < 1e-4)


@pytest.mark.parametrize(
    "make", [lambda: Blur(0), lambda: Blur(float("inf")), lambda: Blur("wide"), lambda: MedianPalette(4),
             lambda: MedianPalette(0), lambda: MedianPalette(colors=0), lambda: MedianPalette(softness=0)],
)  # fmt: skip
def test_paintings_out_of_range_are_refused(make):
    with pytest.raises(ConfigError):
        make()
