"""One measure of chance: every image meets the caption of the next one."""

import numpy as np

from gcdp.evaluation.chance import mismatched


def test_every_caption_moves_by_one_and_the_last_image_gets_the_first():
    assert mismatched(["a", "b", "c"]) == ["b", "c", "a"]
    assert mismatched(["a"]) == ["a"] and mismatched([]) == []


def test_rows_move_as_captions_do():
    captions = np.array(["a", "b", "c"])
    assert captions[mismatched(range(3))].tolist() == mismatched(captions.tolist())
