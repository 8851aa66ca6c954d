"""The report as one HTML page for reading: question, findings, figures, protocol; nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import torch

from gcdp.experiments.params import repository_root
from gcdp.experiments.profile import Profile
from gcdp.reporting.findings import (
    ABSENT,
    GCDP,
    GRADOP,
    NO,
    OPEN,
    OPPOSITE,
    OURS,
    REPRODUCED,
    YES,
    estimate_line,
    row_of,
)
from gcdp.reporting.formatting import DASH
from gcdp.storage import atomic_write, read_json

TEMPLATE = Path(__file__).with_suffix(".html.jinja")
SOURCES = {GCDP: "Claims of the paper", GRADOP: "Claims of GradOP, on these models", OURS: "Questions of our own"}
CLASSES = {REPRODUCED: "holds", YES: "holds", OPPOSITE: "fails", NO: "fails", OPEN: "open", ABSENT: "absent"}


@dataclass(frozen=True)
class Picture:
    """One figure of the page: the name of its file, with "*" for the domain, what to see, and its notebook."""

    name: str
    text: str
    notebook: str


@dataclass(frozen=True)
class Section:
    """A heading and its figures; left out where a profile has none of them."""

    title: str
    pictures: tuple[Picture, ...]


SECTIONS = (
    Section("The method in a picture", (
        Picture("fig3_process", "Both halves of a pair on their way to noise. The image loses its signal by degrees; "
                "every pixel of the layout keeps its label or takes a random one. The network walks both back at once.",
                "fig3_process"),
    )),
    Section("What the joint model draws", (
        Picture("samples_*-joint", "The first pairs of the test captions, not picked: image above its layout.",
                "06_sample"),
    )),
    Section("Does it follow the text?", (
        Picture("claim_*", "Joint against image-only model: every training is a point, with means and 95 % intervals.",
                "08_claim"),
        Picture("fig6_recall_tradeoff_*", "Semantic Recall against distance, one point for each guidance scale.",
                "fig6_recall_tradeoff"),
        Picture("fig1_attribute_recall_*", "Recall of each attribute that captions name.", "fig1_attribute_recall"),
        Picture("fig7_clip_tradeoff_*", "Text-image score against distance, one panel for each share of the pairs.",
                "fig7_clip_tradeoff"),
        Picture("guidance_halves_*", "One guidance scale for both halves, or one for each.", "guidance_halves"),
    )),
    Section("Inside the network", (
        Picture("fig8_kmeans_*", "K-means of internal features at rising noise, joint and image-only model.",
                "fig8_kmeans"),
        Picture("fig8_agreement_*", "Agreement of the clusters with true classes.", "fig8_kmeans"),
    )),
    Section("One half given the other", (
        Picture("fig9_outpainting_*", "RePaint on pairs: layout to image and image to layout.", "fig9_outpainting"),
        Picture("any_direction_calls_*", "Quality against network calls: direct answers, RePaint, specialists.",
                "any_direction"),
    )),
    Section("Twice the size, and strokes", (
        Picture("super_resolution_*", "A second diffusion enlarges pairs, beside interpolation.", "super_resolution"),
        Picture("strokes_drawn_*", "Pictures after colored strokes, without and with names.", "strokes_gradop"),
        Picture("strokes_curves_*", "Faithfulness against realism over strength.", "strokes_gradop"),
    )),
)  # fmt: skip


def write_page(path: Path, settings: Profile, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write the page of a profile's results; `rows` come from `findings.finding_rows`. Returns the path."""
    loader = jinja2.FileSystemLoader(TEMPLATE.parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    text = environment.get_template(TEMPLATE.name).render(
        profile=settings.name,
        headline=headline(rows),
        groups=finding_groups(rows),
        sections=figure_sections(settings.results_folder("figures")),
        protocol=protocol(settings, row_of(rows, "effect")["estimate"]),
        origin=origin(settings),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def headline(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The effect of naming in each domain that has it: "domain", "text", "verdict"."""
    first = row_of(rows, "effect")
    return [
        {"domain": domain, "text": estimate_line(first["finding"], estimate), "verdict": first["verdict"][domain]}
        for domain, estimate in first["estimate"].items()
        if estimate is not None
    ]


def finding_groups(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Findings by source: "title", "domains" and "rows", whose cells have "text", "verdict" and its "style".

    A finding that no domain has is one cell that says so; one that another domain has is a dash.
    """
    groups = []
    for source, title in SOURCES.items():
        lines = []
        for row in (row for row in rows if row["finding"].source == source):
            known = any(row["estimate"].values())
            cells = [_cell(row, domain, known) for domain in row["estimate"]]
            lines.append({"finding": row["finding"], "cells": cells})
        groups.append({"title": title, "domains": list(rows[0]["estimate"]), "rows": lines})
    return groups


def _cell(row: Mapping[str, Any], domain: str, known: bool) -> dict[str, str]:
    verdict, estimate = row["verdict"][domain], row["estimate"][domain]
    if estimate is None:
        return {"text": DASH if known else "", "verdict": "" if known else ABSENT, "style": CLASSES[ABSENT]}
    return {"text": estimate_line(row["finding"], estimate), "verdict": verdict, "style": CLASSES[verdict]}


def figure_sections(figures: Path) -> list[dict[str, Any]]:
    """SECTIONS with the figures that a folder holds: "title" and "pictures" of "text", "notebook" and "images"."""
    sections = []
    for section in SECTIONS:
        pictures = [
            {"text": each.text, "notebook": each.notebook, "images": images}
            for each in section.pictures
            if (images := [_embedded(path) for path in sorted(figures.glob(f"{each.name}.png"))])
        ]
        sections += [{"title": section.title, "pictures": pictures}] if pictures else []
    return sections


def _embedded(path: Path) -> dict[str, str]:
    content = base64.b64encode(path.read_bytes()).decode()
    return {"name": path.stem, "source": f"data:image/png;base64,{content}"}


def protocol(settings: Profile, compared: Mapping[str, Any]) -> list[dict[str, str]]:
    """What each domain was trained and judged with, as texts by column; `compared`: {domain: estimate of the claim}."""
    rows = []
    for domain in settings.domains:
        view, found = settings.for_domain(domain), compared.get(domain) or {}
        height, width = view.domain(domain).size
        rows.append({
            "domain": domain,
            "size": f"{height} x {width}",
            "training": f"{view.train.steps:,} steps of {view.train.batch_size}, {view.train.optimizer}",
            "text": view.text.encoder,
            "trainings": str(found.get("seeds", DASH)),
            "captions": str(view.study.num_samples) if found else DASH,
        })  # fmt: skip
    return rows


def origin(settings: Profile) -> dict[str, str]:
    """Machine, versions, commit and minutes of a run."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    noted = sorted((settings.results_folder() / "seconds").glob("*.json"))  # by tools/run_notebook.py
    seconds = [read_json(path, "run the pipeline again")["seconds"] for path in noted]
    spent = f"{sum(seconds) / 60:.0f} minutes for {len(seconds)} notebooks, summed" if seconds else DASH
    return {"machine": f"{device}, torch {torch.__version__}", "commit": commit() or DASH, "time": spent}


def commit() -> str:
    """Short hash of the checkout, with "+" where files were changed; "" outside of git."""
    command = ("git", "-C", str(repository_root()), "describe", "--always", "--dirty=+", "--exclude=*")
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
