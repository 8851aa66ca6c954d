"""Figures: what a grid shows, what it refuses, and files that are equal to the byte."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from gcdp.data.classes import CITYSCAPES
from gcdp.errors import DataError
from gcdp.reporting.plotting import (
    MAX_HEIGHT,
    PALETTE_UP_TO,
    STYLE,
    WIDTH,
    class_legend,
    curve_plot,
    entitle,
    legend_below,
    pair_grid,
    panels,
    save_figure,
    stacked_grids,
    wrap_text,
)

ROWS = [
    {"step": 10, "image": 0.9, "layout": 2.0},
    {"step": 20, "image": 0.5, "layout": 1.0, "val_image": 0.6, "val_layout": 1.2},
]


@pytest.fixture
def pairs():
    """Three pairs of 8 x 16: roads below sky, with one car."""
    layouts = np.zeros((3, 8, 16), np.uint8)
    layouts[:, :4] = 10
    layouts[1, 5:7, 3:6] = 13
    return CITYSCAPES.colorize(layouts) // 2, layouts


def texts(figure):
    return [text.get_text() for part in figure.subfigs for text in part.texts]


def legend_names(figure):
    return [text.get_text() for part in figure.subfigs for legend in part.legends for text in legend.get_texts()]


def test_grid_shows_every_image_above_its_layout(pairs):
    figure = pair_grid(*pairs, CITYSCAPES, ["a", "b", "c"], columns=2)
    axes = figure.subfigs[0].axes
    shown = [np.asarray(panel.images[0].get_array()) for panel in axes]
    assert len(shown) == 6
    np.testing.assert_array_equal(shown[2], pairs[0][1])
    np.testing.assert_array_equal(shown[3], CITYSCAPES.colorize(pairs[1][1]))
    image, layout = axes[2].get_position(), axes[3].get_position()
    assert image.y0 > layout.y1 and image.x0 == layout.x0
    assert axes[0].images[0].get_interpolation() == "nearest"


def test_pixels_are_square(pairs):
    figure = pair_grid(*pairs, CITYSCAPES)
    box = figure.subfigs[0].axes[0].get_position()
    width, height = figure.get_size_inches()
    assert box.width * width == pytest.approx(2 * box.height * height)


def test_legend_names_the_classes_seen_and_no_other(pairs):
    assert legend_names(pair_grid(*pairs, CITYSCAPES)) == ["road", "sky", "car"]
    assert legend_names(pair_grid(pairs[0][:1], pairs[1][:1], CITYSCAPES)) == ["road", "sky"]
    assert legend_names(pair_grid(*pairs, CITYSCAPES, legend=False)) == []


def test_grid_of_one_modality(pairs):
    assert len(pair_grid(pairs[0], None, None).subfigs[0].axes) == 3
    assert legend_names(pair_grid(None, pairs[1], CITYSCAPES)) == ["road", "sky", "car"]


def test_texts_lie_inside_the_figure_and_apart(pairs):
    caption = "An image of an urban street view with Roads, Skies, Traffic lights, Vegetations and Motorcycles."
    figure = pair_grid(*pairs, CITYSCAPES, [caption] * 3, columns=3, title="Title", row_labels=["row"])
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for part in figure.subfigs for text in part.texts]
    boxes += [legend.get_window_extent() for part in figure.subfigs for legend in part.legends]
    boxes += [panel.get_window_extent() for part in figure.subfigs for panel in part.axes]
    width, height = figure.bbox.width, figure.bbox.height
    assert all(b.x0 >= 0 and b.y0 >= 0 and b.x1 <= width and b.y1 <= height for b in boxes)
    assert not [1 for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


def test_line_breaks_of_a_caption_stay(pairs):
    assert "t = 0\nclean" in texts(pair_grid(*pairs, CITYSCAPES, ["t = 0\nclean", "b", "c"]))
    assert wrap_text("a b", 3.0) == "a b"
    assert max(map(len, wrap_text("word " * 50, 1.0).split("\n"))) < 20


@pytest.mark.parametrize("captions, number", [(["a"], 3), (None, 0)])
def test_grid_refuses_numbers_that_differ(pairs, captions, number):
    with pytest.raises(DataError, match="of one number"):
        pair_grid(pairs[0][:number], pairs[1][:number], CITYSCAPES, captions)


def test_grid_refuses_nothing():
    with pytest.raises(DataError, match="of one number"):
        pair_grid(None, None, None, ["a"])


def test_stacked_grids_keep_their_own_legend(pairs):
    grid = {"images": pairs[0], "layouts": pairs[1], "classes": CITYSCAPES, "title": "one"}
    figure = stacked_grids([grid, {**grid, "layouts": pairs[1] * 0, "title": "two"}])
    assert texts(figure) == ["one", "two"]
    assert legend_names(figure) == ["road", "sky", "car", "road"]


def test_class_legend_on_axes_uses_the_colors_of_the_table():
    _, axes = panels(1, 2)
    legend = class_legend(axes[0, 0], CITYSCAPES, [13, 0, 13])
    assert [text.get_text() for text in legend.get_texts()] == ["road", "car"]
    assert legend.get_patches()[1].get_facecolor()[:3] == pytest.approx((0, 0, 142 / 255))


def test_curve_has_a_panel_for_each_trained_half():
    both = curve_plot(ROWS)
    assert ["layout" in panel.get_ylabel() for panel in both.axes] == [False, True]
    assert [len(panel.lines) for panel in both.axes] == [2, 2]
    image_only = [{k: v for k, v in row.items() if "layout" not in k} for row in ROWS]
    assert len(curve_plot(image_only).axes) == 1


def test_curves_of_several_runs_are_told_apart():
    figure = curve_plot({"ours": ROWS, "theirs": ROWS[:1]}, log=True)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["ours training", "ours validation", "theirs training"]
    assert figure.axes[0].get_yscale() == "log"


def test_curve_without_losses_is_refused():
    with pytest.raises(DataError, match="no loss"):
        curve_plot([{"step": 10, "learning_rate": 0.1}])


def test_equal_figures_give_equal_files(pairs, tmp_path):
    for folder in ("first", "second"):
        figure = pair_grid(*pairs, CITYSCAPES, ["a", "b", "c"])
        assert isinstance(save_figure(figure, tmp_path / folder, "grid"), Figure)
    for name in ("grid.png", "grid.pdf"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_panels_have_letters_where_there_are_several():
    figure, axes = panels(1, 2)
    entitle(axes[0, 1], "streets")
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["(a)", "(b) streets"]
    assert panels()[1][0, 0].get_title(loc="left") == panels(1, 2, letters=False)[1][0, 0].get_title(loc="left") == ""


def test_one_legend_names_each_series_of_all_panels_once():
    figure, axes = panels(1, 2)
    for panel, names in zip(axes[0], (["a"], ["a", "b"])):
        for name in names:
            panel.plot([0, 1], label=name)
    legend_below(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_figures_fit_on_a_page_and_can_be_read():
    assert STYLE["font.size"] >= 8 and STYLE["legend.fontsize"] >= 8
    many = np.zeros((60, 9, 8, 3), np.uint8)
    figure = pair_grid(many, None, None, columns=5)
    assert figure.get_figheight() <= MAX_HEIGHT and figure.get_figwidth() <= WIDTH
    assert panels(30, 1)[0].get_figheight() == MAX_HEIGHT


def test_cells_are_not_made_so_small_that_their_captions_make_the_figure_higher():
    faces, text = np.zeros((10, 32, 32, 3), np.uint8), "She has long brown hair, wears eyeglasses and a hat. " * 3
    grids = [{"images": faces, "layouts": None, "classes": None, "captions": [text] * 10, "columns": 5}] * 3
    figure = stacked_grids(grids)
    alone = stacked_grids(grids[:1])
    assert figure.get_figheight() <= 3 * alone.get_figheight()


def test_a_row_without_captions_leaves_no_room_for_them(pairs):
    both = pair_grid(*pairs, CITYSCAPES, ["a caption", "", ""], columns=1)
    assert both.get_figheight() < pair_grid(*pairs, CITYSCAPES, ["a caption"] * 3, columns=1).get_figheight()


def test_curves_are_written_with_a_palette_and_photographs_are_not(tmp_path):
    figure, axes = panels()
    axes[0, 0].plot([0, 1], label="a")
    save_figure(figure, tmp_path, "curve")
    photographs = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), np.uint8)
    assert 4 * 64 * 64 > PALETTE_UP_TO
    save_figure(pair_grid(photographs, None, None), tmp_path, "grid")
    assert [Image.open(tmp_path / f"{name}.png").mode for name in ("curve", "grid")] == ["P", "RGB"]
