"""Make executed notebooks equal from run to run: drop times, random ids, progress bars and machine paths.

Executed copies are results that people read on the web; with equal inputs they should have equal bytes, so
that a commit shows only what changed. Raises SystemExit naming a notebook that is too large to publish.
"""

import sys
from pathlib import Path

import nbformat

MAX_BYTES = 1_000_000
RUN_METADATA = ("papermill", "execution", "ExecuteTime", "collapsed", "widgets")


def tidy(path: Path) -> None:
    """Rewrite one executed notebook in place."""
    notebook = nbformat.read(path, as_version=4)
    for holder in (notebook, *notebook.cells):
        for key in RUN_METADATA:
            holder.metadata.pop(key, None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for number, cell in enumerate(notebook.cells):
        if "injected-parameters" in cell.metadata.get("tags", ()):
            cell["id"] = f"injected-{number:02d}"
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    text = nbformat.writes(notebook).rstrip("\n") + "\n"
    path.write_text(text, encoding="utf-8")
    if len(text.encode()) > MAX_BYTES:
        raise SystemExit(f"{path} has {len(text)} bytes: draw fewer or smaller pictures to stay below {MAX_BYTES}")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        tidy(Path(name))
