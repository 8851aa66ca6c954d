"""The ways in which one half of a pair is drawn given the other, for Fig. 9 and `any_direction`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gcdp.diffusion.outpainting import authors_jump
from gcdp.experiments.profile import Profile
from gcdp.generators.known import RESAMPLINGS

FEWER = 5  # a method is also tried with so many times fewer jumps


@dataclass(frozen=True)
class Method:
    """One way.

    Args:
        key: its name in records.
        label: in tables and figures.
        role: whose model draws, a role of `DirectionsConfig`.
        num_steps: jumps.
        resamplings: how often RePaint takes each; 0: the known half is told as clean, there is no RePaint.
        theirs: RePaint with the authors' way back to a noisier image.
    """

    key: str
    label: str
    role: str
    num_steps: int
    resamplings: int = 0
    theirs: bool = False

    @property
    def network_calls(self) -> int:
        """For each pair."""
        return self.num_steps * max(1, self.resamplings)

    def given(self, half: str, values: np.ndarray) -> dict[str, Any]:
        """Keywords of `Pipeline.sample` for the known half, "images" or "layouts" (N, H, W, ...)."""
        if not self.resamplings:
            return {half: values}
        mask = np.ones(values.shape[:3], bool)
        jump = {"image_jump": authors_jump} if self.theirs else {}
        return {half: values, f"mask_{half}": mask, "resamplings": self.resamplings, **jump}


def image_methods(profile: Profile) -> list[Method]:
    """How images are drawn for layouts; the first is the paper's."""
    steps, n = profile.sampling.num_steps, RESAMPLINGS["image"]
    fewer = max(1, steps // FEWER)
    methods = [
        Method("repaint", f"RePaint, n = {n}", "diagonal", steps, n),
        Method("repaint_once", "RePaint, n = 1", "diagonal", steps, 1),
        Method("repaint_authors", f"RePaint, n = {n}, authors' variance", "diagonal", steps, n, theirs=True),
        Method("repaint_fewer", f"RePaint, n = {n}, fewer jumps", "diagonal", fewer, n),
        Method("repaint_any", f"any direction, by RePaint, n = {n}", "any", steps, n),
        Method("direct", "any direction", "any", steps),
        Method("direct_fewer", "any direction, fewer calls", "any", fewer),
        Method("specialist", "trained for this direction", "image_given_layout", steps),
    ]
    return _there(profile, methods)


def layout_methods(profile: Profile) -> list[Method]:
    """How layouts are drawn for images; the first is the paper's. A segmenter draws nothing, and is not among them."""
    steps, n = profile.sampling.num_steps, RESAMPLINGS["image"]
    fewer = max(1, steps // FEWER)
    methods = [
        Method("repaint_once", "RePaint, n = 1", "diagonal", steps, RESAMPLINGS["layout"]),
        Method("repaint", f"RePaint, n = {n}", "diagonal", steps, n),
        Method("repaint_any", "any direction, by RePaint, n = 1", "any", steps, 1),
        Method("direct", "any direction", "any", steps),
        Method("direct_fewer", "any direction, fewer calls", "any", fewer),
        Method("direct_once", "any direction, one call", "any", 1),
        Method("specialist", "trained for this direction", "layout_given_image", steps),
        Method("specialist_once", "trained for this direction, one call", "layout_given_image", 1),
    ]
    return _there(profile, methods)


def _there(profile: Profile, methods: list[Method]) -> list[Method]:
    return [method for method in methods if method.role in profile.directions.models]
