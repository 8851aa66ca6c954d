"""The claims that a study decides, each with its interval; which they are was fixed before any was computed.

C1  Effect of naming, joint minus image-only model, on every number of training pairs.
C2  Its growth as pairs get fewer.
C3  C1 at equal core-minutes: an image-only step is shorter, so that model is trained for more steps.
C4  Alignment of image and layout (mIoU), joint model minus two-stage model and minus pixel classifier.

Beside them what C1 is on small classes, of which the paper says that they gain most (Fig. 6b), and whether the joint
model's curve over guidance lies below the other's (Fig. 6a, 7). These two were added after C1 to C4 had been computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtri

from gcdp.experiments.profile import Profile
from gcdp.experiments.records import EvaluationRecord
from gcdp.experiments.study_classes import minor_gains
from gcdp.experiments.study_curves import at_no_larger_distance, on_validation
from gcdp.experiments.study_measures import compare, estimate, growth_of_difference, seeds_of, sizes_of, stacked
from gcdp.experiments.study_record import Study

PRIMARY = "effect"
SECONDARY = (
    "j", "j_layouts", "effect_layouts", "tpr", "fpr", "semantic_recall", "semantic_recall_area", "attribute_recall",
    "alignment", "frechet", "kid",
)  # fmt: skip
ALIGNED_BY = ("two_stage", "pixel_classifier")  # kinds of models that claim C4 is against


def claims(
    study: Study, profile: Profile, evaluations: Mapping[str, EvaluationRecord], minor: Sequence[str] = ()
) -> dict[str, Any]:
    """Every claim, as JSON types.

    Returns {"C1": {pairs: {measure: estimate}}, "C2": {measure: {"per_halving", "smallest_minus_all", "pairs"}},
    "C3": {model: {measure: estimate}}, "C4": {model: estimate}, "settings": {model: {measure: estimate}}, "minor":
    `minor_gains` of the classes `minor` on all pairs, "no_larger_distance": {pairs: `at_no_larger_distance`}}:
    estimates of differences, ours minus theirs, each with the number of captions "n" and of "seeds". "settings" are
    models of another process, joint or not. What was not trained, or does not apply, is absent.
    """
    plan = profile.study
    ours, theirs = plan.models[:2]
    sizes = [pairs for pairs in sizes_of(study, ours) if seeds_of(study, ours, pairs, theirs, pairs)]
    keys = (PRIMARY, *SECONDARY)
    grown = {key: growth_of_difference(study, ours, theirs, sizes, key) for key in keys}
    at_all = {
        model: compare(study, ours, model, sizes[-1], keys)
        for model in plan.full_size
        if sizes and seeds_of(study, ours, sizes[-1], model, sizes[-1])
    }
    process = profile.diffusion_for(theirs)
    validated = on_validation(study)
    longer = {m for m in plan.full_size if not profile.model(m).layout and profile.diffusion_for(m) == process}
    return {
        "C1": {str(pairs): compare(study, ours, theirs, pairs, keys) for pairs in sizes},
        "C2": {key: found for key, found in grown.items() if found is not None},
        "C3": {model: found for model, found in at_all.items() if model in longer},
        "C4": _aligned(study, ours, sizes[-1], evaluations) if sizes else {},
        "settings": {model: found for model, found in at_all.items() if model not in longer},
        "minor": minor_gains(study, ours, theirs, sizes[-1], minor) if sizes else {},
        "no_larger_distance": {str(pairs): at_no_larger_distance(validated, ours, theirs, pairs) for pairs in sizes},
    }


def _aligned(study: Study, ours: str, pairs: int, evaluations: Mapping[str, EvaluationRecord]) -> dict[str, Any]:
    """mIoU of our seeds less that of each rival, a single network each.

    The interval adds the variances of our seeds' mean, of the images behind our evaluated network, and of those behind
    the rival's; that of another training of the rival is not in it ("seeds": [ours, 1]).
    """
    values = stacked(study, ours, pairs, "miou")
    own = evaluations.get(ours)
    found = {}
    for model, record in evaluations.items():
        rival = record.chosen and record.chosen.get("miou")
        if record.kind not in ALIGNED_BY or values is None or not rival:
            continue
        gap, z = float(values.mean()) - rival["value"], float(ndtri(0.975))
        parts = [rival, own.chosen.get("miou") if own and own.chosen else None]
        variance = sum(_image_variance(part) for part in parts if part)
        seeds = estimate(study, ours, pairs, "miou")
        variance += ((seeds["high"] - seeds["low"]) / (2 * z)) ** 2 if seeds["low"] is not None else 0.0
        width = z * float(np.sqrt(variance))
        ends = {"low": gap - width, "high": gap + width} if width else {"low": None, "high": None}
        found[model] = {"value": gap, **ends, "n": rival["n"], "seeds": [len(values), 1]}
    return found


def _image_variance(found: Mapping[str, Any]) -> float:
    """Variance over images by a 95 % interval; 0 where there is none."""
    if found["low"] is None:
        return 0.0
    return ((found["high"] - found["low"]) / (2 * float(ndtri(0.975)))) ** 2
