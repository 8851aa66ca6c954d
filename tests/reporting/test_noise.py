"""Figures of the noise process, from tables made by hand."""

import numpy as np

from gcdp.reporting.noise import jump_figure, region_figure, ridgelines, table_figure
from gcdp.reporting.plotting import panels

TABLES = {"slow": np.linspace(1, 0.01, 11), "fast": np.linspace(1, 0.01, 11) ** 2}


def test_ridgelines_stand_on_their_own_baselines():
    _, axes = panels()
    x, density = np.linspace(-1, 1, 5), np.array([[0, 1, 2, 1, 0], [0, 0, 0, 0, 0.0]])
    ridgelines(axes[0, 0], x, density, ["a", "b"], ["C0", "C1"], top=2.0)
    flat, hill = (line.get_ydata() for line in axes[0, 0].lines)
    np.testing.assert_allclose(flat, 1)
    assert hill.max() == 1.5 and hill.min() == 0


def test_a_jump_has_a_panel_for_each_half():
    s, labels = np.arange(9, -1, -1), np.full((10, 4), 0.25)
    figure = jump_figure(s, {"weight of $x_0$": s / 9}, labels, "one jump")
    assert len(figure.axes[0].lines) == 1 and len(figure.axes[1].collections) == 3
    assert "the other 2 labels" in [text.get_text() for text in figure.axes[1].texts]


def test_every_table_is_a_curve_and_every_region_one_in_its_panel():
    assert [len(panel.lines) for panel in table_figure(TABLES, 20).axes] == [2, 2, 2]
    figure = region_figure(TABLES, (1, 4), 20)
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["(a) layout, slow", "(b) layout, fast"]
    small, large = (line.get_ydata() for line in figure.axes[0].lines)
    assert (large[1:4] >= small[1:4]).all()
