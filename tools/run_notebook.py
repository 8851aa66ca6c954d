"""Run one notebook by papermill and tidy the executed copy: what every stage of dvc.yaml calls.

Usage: python tools/run_notebook.py SOURCE.ipynb EXECUTED.ipynb [options of papermill, e.g. -p profile toy]

Executed copies are results that people read on the web: with equal inputs they should have equal bytes, so that a
commit shows only what changed. Times, random ids, progress bars and machine paths are dropped.
"""

import json
import sys
import time
from pathlib import Path

# jsonschema, behind nbformat, would build a grammar of web addresses while it is imported: more than a second a stage
# for a check that no notebook needs. None says that the package is not there.
sys.modules.setdefault("rfc3987_syntax", None)

import nbformat
from papermill.cli import papermill

MAX_BYTES = 1_000_000
RUN_METADATA = ("papermill", "execution", "ExecuteTime", "collapsed", "widgets")


def run(source: str, executed: str, *options: str) -> None:
    """Execute `source` into `executed`. A failed run leaves the traceback in the executed copy."""
    Path(executed).parent.mkdir(parents=True, exist_ok=True)
    common, start = ["-k", "python3", "--no-progress-bar"], time.monotonic()
    papermill.main([source, executed, *common, *options], standalone_mode=False)
    tidy(Path(executed))
    note_seconds(Path(executed), time.monotonic() - start)


def note_seconds(executed: Path, seconds: float) -> None:
    """Keep how long a notebook of results/<profile>/notebooks took in results/<profile>/seconds, for the report."""
    if executed.parent.name == "notebooks":
        path = executed.parent.parent / "seconds" / f"{executed.stem}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"seconds": round(seconds, 1)}) + "\n", encoding="utf-8")


def tidy(path: Path) -> None:
    """Rewrite an executed notebook in place; warns if it is too large to publish."""
    notebook = nbformat.read(path, as_version=4)
    for holder in (notebook, *notebook.cells):
        for key in RUN_METADATA:
            holder.metadata.pop(key, None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for number, cell in enumerate(notebook.cells):
        if "injected-parameters" in cell.metadata.get("tags", ()):
            cell["id"] = f"injected-{number:02d}"
        if cell.cell_type == "code":
            cell.outputs = merge_streams([output for output in cell.outputs if output.get("name") != "stderr"])
    text = nbformat.writes(notebook).rstrip("\n") + "\n"
    path.write_text(text, encoding="utf-8")
    if len(text.encode()) > MAX_BYTES:  # a warning: a run of somebody else must not fail for it
        print(f"warning: {path} has {len(text)} bytes, too large to publish ({MAX_BYTES} at most)", file=sys.stderr)


def merge_streams(outputs: list) -> list:
    """Join what a loaded machine delivered in pieces: consecutive outputs to the same stream become one."""
    merged = []
    for output in outputs:
        if merged and output.output_type == merged[-1].output_type == "stream" and output.name == merged[-1].name:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    run(*sys.argv[1:])
