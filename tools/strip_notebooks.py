"""Strip the source notebooks in place, but keep the outputs that nbval compares.

A plain nbstripout would also empty the cells marked ``NBVAL_CHECK_OUTPUT``, whose saved text is
the expected value of a test. To renew such values: run the notebook in JupyterLab, save, `make strip`.
"""

import sys
from pathlib import Path

import nbformat
from nbstripout import strip_output
from run_notebook import merge_streams

MARKER = "NBVAL_CHECK_OUTPUT"
# What editors and papermill leave behind: it differs on every run and makes DVC stages stale.
RUN_METADATA = [
    "metadata.papermill",
    "metadata.widgets",
    "metadata.language_info.version",
    "cell.metadata.ExecuteTime",
    "cell.metadata.collapsed",
    "cell.metadata.execution",
    "cell.metadata.papermill",
]


def strip(path: Path) -> bool:
    """Strip one notebook in place; returns whether the file changed.

    Raises nbformat.reader.NotJSONError for a file that is no notebook.
    """
    before = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(before, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    checked = {number: cell for number, cell in enumerate(code, start=1) if MARKER in cell.source}
    for cell in checked.values():
        cell.metadata["keep_output"] = True
    strip_output(notebook, keep_output=False, keep_count=False, keep_id=True, extra_keys=RUN_METADATA)
    for number, cell in checked.items():
        del cell.metadata["keep_output"]
        # nbval compares nothing in a cell without a count; its place is the count of a run in order.
        cell.execution_count = number if cell.outputs else None
        # Warnings name files of the machine they were raised on.
        cell.outputs = merge_streams([output for output in cell.outputs if output.get("name") != "stderr"])
    after = nbformat.writes(notebook).rstrip("\n") + "\n"
    if after != before:
        path.write_text(after, encoding="utf-8")
    return after != before


if __name__ == "__main__":
    for name in sys.argv[1:]:
        if strip(Path(name)):
            print(f"stripped {name}")
