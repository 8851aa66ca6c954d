"""What the second network of a cascade does alone: real smaller pairs enlarged, held against the real larger ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gcdp.data.classes import ClassTable
from gcdp.diffusion.sampling import sample_seeds
from gcdp.evaluation import frechet
from gcdp.evaluation.iou import alignment_miou
from gcdp.evaluation.statistics import bootstrap_ratio, without_interval
from gcdp.experiments.datasets import HeldOut, held_out
from gcdp.experiments.profile import Profile
from gcdp.generators.cascade import Enlarger
from gcdp.generators.resized import resized
from gcdp.generators.samples import Samples

INTERPOLATED = "interpolated"  # the row of what learns nothing


def enlarging_models(profile: Profile) -> dict[str, str]:
    """{"cascade": model, "resized": model} among those that the view of one domain evaluates; absent ones left out."""
    names = filter(profile.belongs, profile.evaluate.models or profile.models)
    kinds = {profile.model(name).kind: name for name in names}
    return {kind: kinds[kind] for kind in ("cascade", "resized") if kind in kinds}


def enlarged_pairs(
    profile: Profile, domain: str, enlarger: Enlarger, levels: Sequence[float], count: int
) -> tuple[HeldOut, dict[str, Samples]]:
    """The first real pairs of the test split at the larger size, and what is made of them at the smaller one.

    Rows are INTERPOLATED and "level 0.2" for each of `levels`: of the noise that the network is given. All are drawn
    with the same seeds and captions, without guidance, as the paper enlarges.
    """
    world = held_out(profile, domain, "test", count)
    smaller = held_out(profile, profile.domain(domain).enlarges, "test", count)
    seeds = sample_seeds(profile.sample.seed, count)
    given = Samples(smaller.images, smaller.layouts, world.captions, seeds)
    found = {INTERPOLATED: resized(given)}
    for level in levels:
        pairs = smaller.images, smaller.layouts
        drawn = enlarger.enlarge(world.captions, *pairs, seed=seeds, level=level, **profile.sampling.keywords())
        found[f"level {level:g}"] = drawn
    return world, found


def enlarging_measures(
    world: HeldOut, pairs: Samples, referee, real_features: np.ndarray, classes: ClassTable
) -> dict[str, Any]:
    """Three measures as estimates: "miou" of the layouts against the true ones, "error", the mean difference of the
    images from the true ones in gray levels, and to held-out pairs "frechet", which has no interval, and "kid"."""
    miou = alignment_miou(pairs.layouts, world.layouts, classes)["miou"]
    gaps = np.abs(pairs.images.astype(np.int16) - world.images).reshape(len(pairs), -1)
    error = bootstrap_ratio(gaps.sum(1), np.full(len(gaps), gaps.shape[1]))
    features = referee.read(pairs.images).features
    distance, kid = (
        measure(features, real_features) for measure in (frechet.feature_distance, frechet.kernel_estimate)
    )
    return {"miou": miou, "error": error, "frechet": without_interval(distance, len(pairs)), "kid": kid}
