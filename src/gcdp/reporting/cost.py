"""Tables and the figure of what runs cost."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from gcdp.experiments.cost import STAGES, Work
from gcdp.reporting.formatting import DASH
from gcdp.reporting.plotting import panels

COLORS = dict(zip(STAGES, ("#999999", "#c9b458", "#8a5a9e", "#1f5a8c", "#6fa8d6", "#c1440e", "#3b7d3b"), strict=True))


def amount(value: float, digits: int = 2) -> str:
    """A number with so many significant digits, thousands apart: 0.0023, 1.4, 1,200; "–" for nothing."""
    if not value:
        return DASH
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if rounded >= 10 ** (digits - 1) else f"{rounded:g}"


def cost_rows(stages: Mapping[str, Work], here: Mapping[str, float], gpu: Mapping[str, float]) -> list[dict[str, str]]:
    """One row a stage of a profile; `here` and `gpu` are its hours by two clocks, the second empty where it says
    nothing."""
    return [
        {
            "stage": stage,
            "operations": f"{work.operations:.1e}" if work.operations else DASH,
            "hours here": amount(here[stage]),
            "GPU hours": amount(gpu.get(stage, 0)),
            "memory, GB": amount(work.memory / 1e9),
            "disk, GB": amount(work.disk / 1e9),
        }
        for stage, work in stages.items()
    ]


def cost_figure(groups: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """{label of a panel: {profile: {stage: hours}}} -> a bar for each profile, its stages one after the other."""
    figure, axes = panels(1, len(groups), height=2.6)
    for panel, (label, profiles) in zip(axes[0], groups.items(), strict=True):
        for row, stages in enumerate(profiles.values()):
            start = 0.0
            for stage, value in stages.items():
                panel.barh(row, value, left=start, color=COLORS[stage])
                start += value
            panel.text(start, row, f" {amount(start)}", va="center")
        panel.set_yticks(range(len(profiles)), profiles)
        panel.set(xlabel=label, ylim=(len(profiles) - 0.5, -0.5))
        panel.set_xlim(0, 1.2 * max(sum(stages.values()) for stages in profiles.values()))
    patches = [axes[0, 0].barh(0, 0, color=color, label=stage) for stage, color in COLORS.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches))
    return figure
