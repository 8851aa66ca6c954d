"""Relative links of every Markdown file and every notebook lead to a file that is there."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)|(?:src|href)=\"([^\"#]+)\"")
FILES = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "*.md", "*.ipynb"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
)


def text_of(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    cells = json.loads(text)["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def links(path: Path) -> list[str]:
    found = (first or second for first, second in LINK.findall(text_of(path)))
    return [link for link in found if "://" not in link and not link.startswith(("mailto:", "data:"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    dead = [link for link in links(path) if not (path.parent / link).exists()]
    assert not dead, f"{path.relative_to(ROOT)} links to what is not there: {dead}"


def test_there_are_links_to_look_at():
    assert not FILES or sum(len(links(path)) for path in FILES) > 50
