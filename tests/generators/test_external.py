"""Images made elsewhere: order, resizing, captions, layouts, and every defect of such a folder."""

import json

import numpy as np
import pytest
from PIL import Image
from worlds.tiny import SIZE, TABLE

from gcdp.errors import ConfigError, DataError
from gcdp.generators.external import open_external

HEIGHT, WIDTH = SIZE


def picture(path, value, size=SIZE):
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


def write_layout(path, labels):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.asarray(labels, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    """Images 1, 2 and 10 of gray 10, 20 and 100, with a caption each."""
    for name in (1, 2, 10):
        picture(tmp_path / f"{name}.png", 10 * name)
    (tmp_path / "captions.txt").write_text("one\ntwo\nten\n")
    return tmp_path


def test_images_come_in_natural_order_with_the_caption_of_their_line(folder):
    samples = open_external(folder, TABLE, SIZE)
    assert samples.images.shape == (3, *SIZE, 3) and samples.images.dtype == np.uint8
    assert samples.images[:, 0, 0, 0].tolist() == [10, 20, 100]
    assert samples.captions == ["one", "two", "ten"] and len(samples) == 3
    assert samples.layouts is None and samples.seeds == []
    assert samples.settings["files"] == ["1.png", "2.png", "10.png"]


def test_other_names_other_files_and_windows_line_ends(tmp_path):
    for i, name in enumerate(["b.jpeg", "A.PNG", "street_2b.jpg", "street_10a.jpg"]):
        picture(tmp_path / name, 50 * i)
    picture(tmp_path / ".hidden.png", 255)
    (tmp_path / "log.csv").write_text("not a picture")
    (tmp_path / "captions.txt").write_bytes("\ufeffa\r\nb\r\nc\r\nd\r\n".encode())
    samples = open_external(tmp_path, TABLE, SIZE)
    assert samples.settings["files"] == ["A.PNG", "b.jpeg", "street_2b.jpg", "street_10a.jpg"]
    assert samples.captions == ["a", "b", "c", "d"]


def test_listed_captions_are_matched_by_file_and_win_over_plain_ones(folder):
    rows = [{"file": f"{n}.png", "caption": f"number {n}", "model": "x"} for n in (10, 1, 2)]
    (folder / "captions.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    assert open_external(folder, TABLE, SIZE).captions == ["number 1", "number 2", "number 10"]


def test_unconditional_sets_need_no_captions(folder):
    assert open_external(folder, TABLE, SIZE, unconditional=True).captions == ["", "", ""]
    (folder / "captions.txt").unlink()
    assert open_external(folder, TABLE, SIZE, unconditional=True).captions == ["", "", ""]


def test_images_are_antialiased_and_layouts_take_the_nearest_label(tmp_path):
    fine = np.indices((4 * HEIGHT, 4 * WIDTH)).sum(0) % 2
    Image.fromarray(np.repeat(255 * fine[..., None], 3, 2).astype(np.uint8)).save(tmp_path / "0.png")
    write_layout(tmp_path / "layouts" / "0.png", 3 * fine)
    samples = open_external(tmp_path, TABLE, SIZE, unconditional=True)
    assert np.abs(samples.images.astype(int) - 127).max() <= 2  # a checkerboard becomes gray, not black or white
    assert samples.layouts.shape == (1, *SIZE) and samples.layouts.dtype == np.uint8
    assert set(np.unique(samples.layouts)) <= {0, 3}


def test_both_halves_are_cropped_at_the_center_to_the_aspect_ratio(tmp_path):
    labels = np.zeros((HEIGHT, 2 * WIDTH), np.uint8)
    labels[:, WIDTH // 2 : WIDTH // 2 + WIDTH] = 2
    Image.fromarray(np.repeat(100 * labels[..., None], 3, 2)).save(tmp_path / "wide.png")
    write_layout(tmp_path / "layouts" / "wide.png", labels)
    samples = open_external(tmp_path, TABLE, SIZE, unconditional=True)
    assert (samples.layouts == 2).all() and (samples.images == 200).all()


def test_layouts_belong_to_the_image_of_their_name(folder):
    for name, label in ((10, 4), (2, 1), (1, 0)):
        write_layout(folder / "layouts" / f"{name}.png", np.full(SIZE, label))
    assert open_external(folder, TABLE, SIZE).layouts[:, 0, 0].tolist() == [0, 1, 4]


def with_layouts(folder, names=(1, 2, 10), label=1, size=SIZE):
    for name in names:
        write_layout(folder / "layouts" / f"{name}.png", np.full(size, label))


def listed(folder, *rows):
    lines = [row if isinstance(row, str) else json.dumps({"file": row[0], "caption": row[1]}) for row in rows]
    (folder / "captions.jsonl").write_text("\n".join(lines))


ALL = ("1.png", "a"), ("2.png", "b"), ("10.png", "c")
DEFECTS = {
    "no captions": (lambda f: (f / "captions.txt").unlink(), r"neither captions\.jsonl.*unconditional=True"),
    "too few lines": (lambda f: (f / "captions.txt").write_text("one\ntwo"), r"2 captions on 2 lines for 3 images"),
    "an empty line": (lambda f: (f / "captions.txt").write_text("one\n\nten"), r"2 captions on 3 lines for 3 images"),
    "not text": (lambda f: (f / "captions.txt").write_bytes(b"\xff\xfe\x00"), r"captions\.txt is not readable UTF-8"),
    "unlisted image": (lambda f: listed(f, *ALL[:2]), r"lacks a line for 10\.png \(2 captions for 3 images\)"),
    "listed, not there": (lambda f: listed(f, *ALL, ("9.png", "d")), r"names a missing image, 9\.png"),
    "listed twice": (lambda f: listed(f, *ALL, ALL[0]), r"lists 1\.png twice"),
    "no JSON": (lambda f: listed(f, ALL[0], "nothing"), r"captions\.jsonl line 2 is malformed"),
    "no caption": (lambda f: listed(f, ALL[0], ("2.png", " ")), r"captions\.jsonl line 2 is malformed"),
    "not an image": (lambda f: (f / "2.png").write_bytes(b"PNG?"), r"2\.png cannot be decoded"),
    "cut image": (lambda f: (f / "2.png").write_bytes((f / "2.png").read_bytes()[:40]), r"2\.png cannot be decoded"),
    "layout missing": (lambda f: with_layouts(f, (1, 2)), r"2 layouts for 3 images, 10\.png fits only one side"),
    "layout too many": (lambda f: with_layouts(f, (1, 2, 3, 10)), r"4 layouts for 3 images, 3\.png"),
    "unknown id": (lambda f: with_layouts(f, label=5), r"1\.png holds id 5.*'tiny' has ids 0\.\.4"),
    "other size": (lambda f: with_layouts(f, size=(4, 4)), r"1\.png is 4x4 but its image"),
    "color layout": (lambda f: (with_layouts(f), picture(f / "layouts" / "2.png", 1)), r"2\.png has mode RGB"),
    "one name twice": (lambda f: (with_layouts(f), picture(f / "1.jpg", 1), listed(f, *ALL, ("1.jpg", "d"))),
                       r"share the layout 1\.png"),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_defects_are_named(folder, defect):
    spoil, message = DEFECTS[defect]
    spoil(folder)
    with pytest.raises(DataError, match=message):
        open_external(folder, TABLE, SIZE)


def test_folders_and_sizes_that_cannot_be(tmp_path):
    with pytest.raises(DataError, match=r"nowhere does not exist"):
        open_external(tmp_path / "nowhere", TABLE, SIZE)
    with pytest.raises(DataError, match=r"holds no \.png"):
        open_external(tmp_path, TABLE, SIZE)
    with pytest.raises(ConfigError, match="size is"):
        open_external(tmp_path, TABLE, (0, 8))
