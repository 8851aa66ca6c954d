"""The animation of a reverse chain: frames, colors, size, and equal bytes for equal pairs."""

import numpy as np
import pytest
from PIL import Image, ImageSequence

from gcdp.data.classes import CITYSCAPES
from gcdp.errors import DataError
from gcdp.reporting.animation import BAND, GAP, LAST_MS, STEP_MS, save_chain

TIMES = [30, 20, 10, 0]


@pytest.fixture
def chain():
    """Four states of three pairs of 8 x 16, from noise to one color and one class."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (4, 3, 8, 16, 3), dtype=np.uint8)
    layouts = generator.integers(0, 19, (4, 3, 8, 16))
    images[-1], layouts[-1] = (200, 100, 50), 13
    return images, layouts


def frames(path):
    with Image.open(path) as file:
        return [(frame.convert("RGB"), frame.info["duration"]) for frame in ImageSequence.Iterator(file)]


def test_every_state_is_a_frame_and_the_last_one_stays(tmp_path, chain):
    found = frames(save_chain(tmp_path / "new" / "chain.gif", TIMES, *chain, CITYSCAPES))
    assert [duration for _, duration in found] == [STEP_MS] * 3 + [LAST_MS]
    with Image.open(tmp_path / "new" / "chain.gif") as file:
        assert file.info["loop"] == 0  # without end


def test_pictures_are_enlarged_by_whole_pixels_with_the_colors_of_their_classes(tmp_path, chain):
    first, *_, (last, _) = frames(save_chain(tmp_path / "chain.gif", TIMES, *chain, CITYSCAPES))
    assert last.size == (GAP + 3 * (144 + GAP), GAP + 2 * (72 + GAP) + BAND)
    for frame, state in ((np.asarray(first[0]), 0), (np.asarray(last), 3)):
        below = 2 * GAP + 72
        layout = frame[below : below + 72, GAP : GAP + 144]
        np.testing.assert_array_equal(layout[4::9, 4::9], CITYSCAPES.colorize(chain[1][state, 0]))
        assert (layout == layout[4::9, 4::9].repeat(9, 0).repeat(9, 1)).all()
    assert np.abs(np.asarray(last, int)[GAP : GAP + 72, GAP : GAP + 144] - (200, 100, 50)).max() <= 4


def test_the_time_is_written_beneath(tmp_path, chain):
    """No two of them look the same, and nothing else is below the pairs."""
    bands = [
        np.asarray(frame)[-BAND:] for frame, _ in frames(save_chain(tmp_path / "a.gif", TIMES, *chain, CITYSCAPES))
    ]
    assert len({band.tobytes() for band in bands}) == 4
    assert {tuple(color) for band in bands for color in band.reshape(-1, 3)} == {(255, 255, 255), (40, 40, 40)}


def test_equal_pairs_give_equal_bytes(tmp_path, chain):
    paths = [save_chain(tmp_path / f"{i}.gif", TIMES, *chain, CITYSCAPES) for i in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_colors_go_first_and_then_frames_where_the_file_would_be_too_large(tmp_path, chain):
    sizes = {}
    for limit in (10**6, 20_000, 12_000, 1):
        path = save_chain(tmp_path / f"{limit}.gif", TIMES, *chain, CITYSCAPES, max_bytes=limit)
        sizes[limit] = path.stat().st_size, len(frames(path))
    assert sizes[10**6][0] > sizes[20_000][0] > sizes[12_000][0]
    assert sizes[20_000] <= (20_000, 4) and sizes[12_000] <= (12_000, 2) and sizes[1][1] == 1


@pytest.mark.parametrize("half", [0, 1])
def test_one_half_alone(tmp_path, chain, half):
    halves = [part if which == half else None for which, part in enumerate(chain)]
    found = frames(save_chain(tmp_path / "chain.gif", TIMES, *halves, CITYSCAPES if half else None))
    assert len(found) == 4 and found[0][0].height == GAP + 72 + GAP + BAND


@pytest.mark.parametrize("broken", ["times", "halves", "nothing", "empty"])
def test_numbers_that_do_not_fit_are_refused(tmp_path, chain, broken):
    images, layouts = chain
    given = {
        "times": (TIMES[1:], images, layouts),
        "halves": (TIMES, images[:, :2], layouts),
        "nothing": (TIMES, None, None),
        "empty": ([], images[:0], None),
    }[broken]
    with pytest.raises(DataError, match="of one number"):
        save_chain(tmp_path / "chain.gif", *given, CITYSCAPES)
    assert not list(tmp_path.iterdir())
