"""The map of measures over both scales, and the table of what was chosen."""

import numpy as np
from worlds.hand_made import estimate

from gcdp.reporting.guidance import MARKS, chosen_rows, grid_figure


def row(image, layout, j, frechet=1.0):
    return {"image": image, "layout": layout, "measures": {"j": estimate(j), "frechet": estimate(frechet)}}


GRID = [row(1.0, 1.0, 0.1), row(1.0, 4.0, 0.2), row(4.0, 1.0, 0.4), row(4.0, 4.0, 0.3)]


def test_values_stand_at_their_scales_and_chosen_ones_have_frames():
    figure = grid_figure(GRID, {"alike": (4.0, 4.0), "apart": (4.0, 1.0)}, ("j", "frechet"), "title")
    j, _ = figure.axes
    assert np.array_equal(j.images[0].get_array(), [[0.1, 0.2], [0.4, 0.3]])  # rows: of the image, upwards
    assert [text.get_text() for text in j.texts] == ["0.10", "0.20", "0.40", "0.30"]
    alike, apart = j.patches
    assert alike.get_edgecolor() != apart.get_edgecolor() and len(MARKS) == 2
    assert alike.get_xy() == (0.5, 0.5) and 0.5 < apart.get_y() < 0.6 and -0.5 < apart.get_x() < -0.4
    assert [label.get_text() for label in j.get_yticklabels()] == ["1", "4"]


def test_a_measure_that_is_undefined_leaves_its_place_empty():
    grid = [*GRID[:3], {"image": 4.0, "layout": 4.0, "measures": {}}]
    figure = grid_figure(grid, {"alike": (1.0, 1.0), "apart": (1.0, 1.0)}, ("j",), "title")
    assert figure.axes[0].texts[-1].get_text() == ""


def test_rows_have_the_measures_that_apply():
    tested = {"alike": GRID[3], "apart": GRID[2]}
    first, second = chosen_rows(tested, ("j", "alignment", "frechet"))
    assert (first["image"], second["layout"], second["J"][:5]) == ("4.0", "1.0", "0.400")
    assert list(first) == ["", "image", "layout", "J", "distance"]
