"""The drawing of a network: what it says comes from the network, and its texts neither leave it nor meet."""

from dataclasses import replace

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from worlds.tiny import NETWORK

from gcdp.network.unet import UNet, UNetConfig
from gcdp.reporting.network_diagram import BOTH, READING, RESIDUAL, SELF, ends, network_diagram, stages
from gcdp.reporting.plotting import save_figure, use_style

PAPER = UNetConfig()
TWO = replace(NETWORK, widths=(8, 16), blocks=(0, 2), self_attention=(False, True), cross_attention=(False, True))
VARIANTS = {
    "paper": PAPER,
    "small": TWO,
    "own ends": replace(TWO, own_ends=True),
    "image alone": replace(TWO, num_classes=0),
    "layout alone": replace(TWO, image_channels=0),
    "enlarger": replace(TWO, own_ends=True, low_resolution=True),
    "many classes": replace(PAPER, own_ends=True, num_classes=171),
    "without text": replace(TWO, cross_attention=(False, False)),
}
each_variant = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)


def built(config):
    with torch.device("meta"):  # 697 million parameters, no memory
        return UNet(config)


def texts(figure):
    """What is written anywhere."""
    legend = [text for each in figure.legends for text in each.get_texts()]
    return [text for axes in figure.axes for text in axes.texts if text.get_text()] + legend


def test_levels_of_the_paper():
    down, middle, up = stages(built(PAPER), (64, 128))
    assert [stage.size for stage in down] == [(32, 64), (16, 32), (8, 16), (4, 8)] == [stage.size for stage in up]
    assert [stage.channels for stage in down] == [128, 256, 512, 1024] and middle.channels == 1024
    assert down[0].blocks == (RESIDUAL,) * 3 and down[1].blocks == (READING, *(RESIDUAL,) * 4, BOTH)
    assert middle.blocks == (READING, SELF, READING) and [stage.name for stage in up] == [f"up.{i}" for i in range(4)]


def test_no_text_is_read_where_there_is_no_cross_attention():
    down, middle, up = stages(built(VARIANTS["without text"]), (16, 32))
    assert {kind for stage in (*down, middle, *up) for kind in stage.blocks} == {RESIDUAL, SELF}


def test_ends_are_shared_or_each_halfs_own():
    (both,) = ends(built(PAPER))
    assert both.halves == ("image", "layout") and both.kernels == (3, 7, 15) and both.channels == 128
    image, layout = ends(built(VARIANTS["enlarger"]))
    assert image.inputs == "$x_t$: 3 + 3 channels" and layout.outputs == f"K = {TWO.num_classes} logits"


@each_variant
def test_every_text_lies_inside_and_apart_from_the_others(config):
    use_style()
    figure = network_diagram(built(config), (64, 128))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # places the legend
    renderer = canvas.get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts(figure)]
    width, height = figure.bbox.width, figure.bbox.height
    for i, (name, box) in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, name
        assert not [other for other, place in boxes[:i] if place.overlaps(box)], name


@each_variant
def test_one_square_a_block(config):
    figure, network = network_diagram(built(config), (64, 128)), built(config)
    down, middle, up = stages(network, (64, 128))
    squares = [patch for patch in figure.axes[0].patches if type(patch).__name__ == "Rectangle"]
    assert len(squares) == sum(len(stage.blocks) for stage in (*down, middle, *up))


def test_equal_networks_give_equal_files(tmp_path):
    for name in ("a", "b"):
        save_figure(network_diagram(built(TWO), (16, 32)), tmp_path, name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
