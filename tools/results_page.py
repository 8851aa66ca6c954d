"""Write results/README.md, and the marked parts of README.md, from the metrics of the reference run and of benchmarks/.

Usage: python tools/results_page.py

The sources are docs/readme/*.md.jinja; a test holds both files to what this writes, so that
no number drifts from the metrics.
"""

import re
import textwrap
from pathlib import Path
from typing import Any

import jinja2

from gcdp.experiments.profile import repository_root
from gcdp.reporting.findings import finding_rows, findings_markdown, load_records, row_of
from gcdp.reporting.formatting import difference_text, estimate_text, number_text
from gcdp.storage import read_json

DOMAINS = ("streets", "faces")
PART = re.compile(r"(<!-- (\w+): written by tools/results_page.py -->\n).*?(<!-- end -->)", re.DOTALL)


def written(root: Path) -> dict[Path, str]:
    """{file: its text} of the two files, from the metrics below `root`."""
    metrics, remedy = root / "results" / "reference" / "metrics", "restore it from git"
    records = load_records(metrics)
    rows = finding_rows(records, DOMAINS)
    content = {
        **records,
        **{domain: read_json(metrics / f"{domain}.json", remedy) for domain in DOMAINS},
        "layout_loss": read_json(root / "benchmarks" / "layout_loss.json", remedy),
        "findings": findings_markdown(rows),
        "difference_of": {row["finding"].key: row["estimate"] for row in rows},
        "said": lambda key: said(row_of(rows, key)),
    }
    results, readme = root / "results" / "README.md", root / "README.md"
    parts = environment(root / "docs" / "readme")
    return {
        results: wrapped(parts.get_template("results.md.jinja").render(content)),
        readme: PART.sub(
            lambda found: f"{found[1]}{parts.get_template(f'{found[2]}.md.jinja').render(content)}{found[3]}",
            readme.read_text(encoding="utf-8"),
        ),
    }


def said(row: dict[str, Any]) -> str:
    """The verdict of each domain that has one: "streets: reproduced, faces: not decided", or one if all are equal."""
    known = {domain: row["verdict"][domain] for domain, estimate in row["estimate"].items() if estimate}
    if len(known) > 1 and len(set(known.values())) == 1:
        return f"{row['verdict'][DOMAINS[0]]} (both)"
    return ", ".join(f"{verdict} ({domain})" for domain, verdict in known.items())


def wrapped(text: str) -> str:
    """Prose and lists of a Markdown text in lines of 120 columns, since numbers put in change their length."""
    blocks = []
    for block in re.split(r"\n{2,}", text.strip("\n")):
        items = re.split(r"\n(?=- )", block)
        plain = not block.startswith(("|", "#", "<", "**", "```"))
        blocks += ["\n".join(_filled(item) for item in items) if plain else block]
    return "\n\n".join(blocks) + "\n"


def _filled(item: str) -> str:
    indent = "  " if item.startswith("- ") else ""
    return textwrap.fill(" ".join(item.split()), 120, subsequent_indent=indent, break_long_words=False,
                         break_on_hyphens=False)  # fmt: skip


def environment(folder: Path) -> jinja2.Environment:
    """Templates of a folder, in which an unknown number is an error; filters that write numbers as everywhere."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    made.filters.update(value=value, estimate=estimate_text, difference=difference_text, plain=lambda x: f"{x:g}")
    return made


def value(estimate: dict[str, Any], digits: int = 3) -> str:
    """The value of an estimate alone."""
    return number_text(estimate["value"], digits) if digits else f"{estimate['value']:,.0f}"


if __name__ == "__main__":
    for path, text in written(repository_root()).items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(repository_root()))
