"""Links of published notebooks lead to executed ones, of their own domain where there are such."""

import base64
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from publish_reference import publish, refresh_prose, relinked

COPIES = sorted((ROOT / "results" / "reference" / "notebooks").glob("*.ipynb"))


def test_links_lead_to_the_nearest_copy(tmp_path):
    for name in ("01_data-faces", "02_captions-faces", "02_captions-streets", "05_train-streets-joint", "fig5_samples"):
        text = "[a](02_captions.ipynb) [b](05_train.ipynb) [c](06_sample.ipynb) [all](README.md)"
        (tmp_path / f"{name}.ipynb").write_text(text)
    found = {path.stem: re.findall(r"\]\((.*?)\)", relinked(path)) for path in tmp_path.iterdir()}
    elsewhere, guide = "../../../notebooks/06_sample.ipynb", "../../../notebooks/README.md"
    assert found["01_data-faces"] == ["02_captions-faces.ipynb", "05_train-streets-joint.ipynb", elsewhere, guide]
    assert found["02_captions-streets"] == [
        "02_captions-streets.ipynb",
        "05_train-streets-joint.ipynb",
        elsewhere,
        guide,
    ]
    assert found["fig5_samples"] == ["02_captions-faces.ipynb", "05_train-streets-joint.ipynb", elsewhere, guide]


def test_a_run_is_copied_whole_and_replaces_the_former(tmp_path):
    for part in ("figures", "metrics", "tables", "notebooks"):
        (tmp_path / "toy" / part).mkdir(parents=True)
        (tmp_path / "toy" / part / "new.json").write_text("{}")
    (tmp_path / "reference" / "figures").mkdir(parents=True)
    (tmp_path / "reference" / "figures" / "old.png").touch()
    (tmp_path / "toy" / "report.html").write_text("new")
    (tmp_path / "toy" / "tables" / "summary.md").write_text("- [a](../figures/a.png) ([PDF](../figures/a.pdf))\n")
    publish(tmp_path)
    assert (tmp_path / "reference" / "tables" / "summary.md").read_text() == "- [a](../figures/a.png)\n"
    kept = {path.relative_to(tmp_path / "reference").as_posix() for path in (tmp_path / "reference").rglob("*.*")}
    parts = ("figures", "metrics", "tables", "notebooks")
    assert kept == {"report.html", "tables/summary.md", *(f"{part}/new.json" for part in parts)}


def test_pictures_are_published_in_palettes_and_without_pdf(tmp_path):
    for part in ("figures", "metrics", "tables", "notebooks"):
        (tmp_path / "toy" / part).mkdir(parents=True)
    ramp = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    file = io.BytesIO()
    ramp.save(file, "PNG")
    (tmp_path / "toy" / "figures" / "a.png").write_bytes(file.getvalue())
    (tmp_path / "toy" / "figures" / "a.pdf").touch()
    output = {"output_type": "display_data", "data": {"image/png": base64.b64encode(file.getvalue()).decode() + "\n"}}
    cells = [{"cell_type": "code", "metadata": {}, "source": [], "outputs": [output]}]
    (tmp_path / "toy" / "notebooks" / "a.ipynb").write_text(json.dumps({"cells": cells}, indent=1))
    (tmp_path / "toy" / "report.html").touch()
    publish(tmp_path)
    assert [path.name for path in (tmp_path / "reference" / "figures").iterdir()] == ["a.png"]
    small = (tmp_path / "reference" / "figures" / "a.png").read_bytes()
    assert len(small) < len(file.getvalue()) / 2 and Image.open(io.BytesIO(small)).mode == "P"
    (cell,) = json.loads((tmp_path / "reference" / "notebooks" / "a.ipynb").read_text())["cells"]
    assert base64.b64decode(cell["outputs"][0]["data"]["image/png"]) == small


def test_prose_is_renewed_where_the_code_is_that_of_the_copy(tmp_path):
    def write(path, text, code, injected=False):
        cells = [{"cell_type": "markdown", "metadata": {}, "source": [text]}]
        cells += [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["x = 0"]}]
        cells += [{"cell_type": "code", "metadata": {"tags": ["injected-parameters"]}, "source": ["x = 1"]}] * injected
        cells += [{"cell_type": "code", "metadata": {}, "source": [code], "outputs": ["kept"]}]
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"cells": cells}))

    copies, sources = tmp_path / "copies", tmp_path / "sources"
    for name, code in (("one", "a"), ("two", "b")):
        write(sources / f"{name}.ipynb", "new, see [two](two.ipynb)", code)
        write(copies / f"{name}-streets.ipynb", "old", "a", injected=True)
    assert refresh_prose(copies, sources) == ["one-streets"]
    first, _, injected, code = json.loads((copies / "one-streets.ipynb").read_text())["cells"]
    assert injected["source"] == ["x = 1"]
    assert first["source"] == ["new, see [two](two-streets.ipynb)"] and code["outputs"] == ["kept"]
    assert refresh_prose(copies, sources) == []


@pytest.mark.parametrize("path", COPIES, ids=lambda path: path.stem)
def test_no_link_of_the_reference_run_is_dead(path):
    text = path.read_text(encoding="utf-8")
    assert all((path.parent / link).is_file() for link in re.findall(r"\]\(([^)#\s]+\.ipynb)\)", text))
