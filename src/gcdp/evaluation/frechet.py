"""Distances between two sets of feature vectors: Fréchet, kernel, and of class areas.

On Inception features the first is FID (`gcdp.evaluation.inception`). On the features of a referee of ours it is
a Fréchet distance, referee features, and is called that: the numbers of two referees cannot be compared.

A Fréchet distance of finite sets is biased upwards, the more the fewer samples there are, so compare equal sizes only.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import ndtri

from gcdp.errors import DataError
from gcdp.evaluation.layouts import class_areas
from gcdp.evaluation.statistics import Estimate, resampled_rows

RESAMPLES = 100  # each takes the eigenvalues of a matrix
KERNEL_BLOCK = 1024  # rows of a kernel matrix held at once


def frechet_distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """Squared Fréchet (2-Wasserstein) distance of two Gaussians: means (D,), covariances (D, D), in float64.

        |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2)         (Heusel et al. 2017, Eq. 6)

    The last trace is the sum of the singular values of C1^(1/2) C2^(1/2), whose roots are those of symmetric
    matrices: real whatever the rank, where a root of C1 C2 itself comes out complex by rounding.
    """
    mean1, cov1, mean2, cov2 = (np.asarray(part, np.float64) for part in (mean1, cov1, mean2, cov2))
    shared = np.linalg.svd(_root(cov1) @ _root(cov2), compute_uv=False).sum()
    return max(0.0, float(np.square(mean1 - mean2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * shared))


def feature_distance(features: np.ndarray, real: np.ndarray) -> float:
    """Fréchet distance of Gaussians fitted to feature vectors (N, D) and (M, D), covariances with N - 1.

    Raises DataError for fewer than two vectors a side, unequal D, or values that are not finite.
    """
    features, real = _checked(features, real)
    return _distance(features, *_shape(real))


def estimate(features: np.ndarray, real: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """`feature_distance` with a 95 % interval; `n` is N, the number of generated samples.

    Generated samples are drawn anew; the real ones stay, as all models meet the same. A resample repeats samples,
    which shrinks its covariance and inflates its distance just as a smaller set would, so its percentiles lie above
    the value itself. Only their spread is kept: the interval is moved down by the mean inflation, to stand around
    the value. It covers the luck of the draw at this N, not the bias that N brings.
    """
    features, real = _checked(features, real)
    mean, root = _shape(real)
    value = _distance(features, mean, root)
    drawn = np.array(list(_redrawn(features, mean, root, resamples, seed)))
    low, high = np.quantile(drawn, [0.025, 0.975]) - drawn.mean() + value
    return {"value": value, "low": max(0.0, float(low)), "high": float(high), "n": len(features)}


def difference(
    ours: np.ndarray, theirs: np.ndarray, real: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """`feature_distance` of our features (N, D) less that of theirs (N, D), of the same N captions in the same order.

    Captions are drawn anew, the same for both, and the interval is moved as in `estimate`. Raises DataError as
    `feature_distance`, and where the two have other numbers of samples.
    """
    pairs = [_checked(features, real) for features in (ours, theirs)]
    if len(ours) != len(theirs):
        raise DataError(f"a difference needs equally many samples on both sides, got {len(ours)} and {len(theirs)}")
    mean, root = _shape(pairs[0][1])
    first, second = (_distance(features, mean, root) for features, _ in pairs)
    drawn = [np.array(list(_redrawn(features, mean, root, resamples, seed))) for features, _ in pairs]
    gaps = drawn[0] - drawn[1]
    low, high = np.quantile(gaps, [0.025, 0.975]) - gaps.mean() + (first - second)
    return {"value": first - second, "low": float(low), "high": float(high), "n": len(ours)}


def _shape(real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and root of the covariance (D, D) of real features: all that a distance needs of them."""
    centered = real - real.mean(0)
    return real.mean(0), _root(centered.T @ centered / (len(real) - 1))


def _distance(features: np.ndarray, mean: np.ndarray, root: np.ndarray) -> float:
    """`frechet_distance` of features (N, D) to a mean and a root R of a covariance.

    With centered features A, C1 = A'A / (N - 1): the singular values of C1^(1/2) R are those of A R / (N - 1)^(1/2),
    so the root of C1 is not needed.
    """
    centered = (features - features.mean(0)) / (len(features) - 1) ** 0.5
    shared = np.linalg.svd(centered @ root, compute_uv=False).sum()
    spreads = np.square(centered).sum() + np.square(root).sum()
    return max(0.0, float(np.square(features.mean(0) - mean).sum() + spreads - 2 * shared))


def _redrawn(features: np.ndarray, mean: np.ndarray, root: np.ndarray, resamples: int, seed: int) -> Iterator[float]:
    """`_distance` of resampled features. Eigenvalues of the smaller Gram matrix are faster than singular values."""
    shaped = features @ root
    squares = np.square(features).sum(1)
    n, width = features.shape
    for block in resampled_rows(n, resamples, seed):
        for rows in block:
            center = features[rows].mean(0)
            spread = (squares[rows].sum() - n * np.square(center).sum()) / (n - 1)
            z = shaped[rows] - shaped[rows].mean(0)
            gram = (z.T @ z if width <= n else z @ z.T) / (n - 1)
            shared = np.sqrt(np.linalg.eigvalsh(gram).clip(0)).sum()
            yield float(np.square(center - mean).sum() + spread + np.square(root).sum() - 2 * shared)


def kernel_distance(features: np.ndarray, real: np.ndarray) -> float:
    """Kernel distance (KID, Binkowski et al. 2018) of feature vectors (N, D) and (M, D).

    The unbiased estimate of the squared maximum mean discrepancy under k(a, b) = (a.b / D + 1)^3: its expectation
    does not depend on N, and it may come out slightly below 0. Raises DataError as `feature_distance`.
    """
    features, real = _checked(features, real)
    n, m = len(features), len(real)
    within = (_kernel_sum(part, part) - _kernel_diagonal(part) for part in (features, real))
    first, second = (total / (k * (k - 1)) for total, k in zip(within, (n, m)))
    return float(first + second - 2 * _kernel_sum(features, real) / (n * m))


def kernel_estimate(features: np.ndarray, real: np.ndarray) -> Estimate:
    """`kernel_distance` with a 95 % interval for other generated samples; `n` is N.

    Real samples stay, as in `estimate`. A bootstrap would count pairs of a sample with itself, so the interval is the
    normal one of the statistic's linear part (Hoeffding 1948): a sample moves the distance by twice its mean kernel
    with the other samples less that with the real ones, and these contributions are independent. Skewed as
    they are, it covers 90 % rather than 95 at N = 60.
    """
    features, real = _checked(features, real)
    n = len(features)
    own = _kernel_rows(features, features) - (np.square(features).sum(1) / features.shape[1] + 1) ** 3
    parts = 2 * (own / (n - 1) - _kernel_rows(features, real) / len(real))
    value, width = kernel_distance(features, real), float(ndtri(0.975) * parts.std(ddof=1) / n**0.5)
    return {"value": value, "low": value - width, "high": value + width, "n": n}


def _kernel_sum(a: np.ndarray, b: np.ndarray) -> float:
    return float(_kernel_rows(a, b).sum())


def _kernel_rows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sum of the kernel of each row of a with all rows of b, float64 (len(a),)."""
    blocks = (a[start : start + KERNEL_BLOCK] for start in range(0, len(a), KERNEL_BLOCK))
    return np.concatenate([((block @ b.T / a.shape[1] + 1) ** 3).sum(1) for block in blocks])


def _kernel_diagonal(a: np.ndarray) -> float:
    return float(((np.square(a).sum(1) / a.shape[1] + 1) ** 3).sum())


def fsd(
    layouts: np.ndarray, real_layouts: np.ndarray, num_classes: int, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Fréchet segmentation distance (Bau et al. 2019) of layouts (N, H, W) to real ones (M, H', W').

    The Fréchet distance between per-image vectors of class areas, all K classes, unlabeled included. Areas are in
    percent of the image, so the distance is in squared percentage points and the image's size does not matter;
    distances of areas in pixels or in shares differ by a constant factor. Interval as in `estimate`.
    """
    return estimate(area_vectors(layouts, num_classes), area_vectors(real_layouts, num_classes), resamples, seed)


def area_vectors(layouts: np.ndarray, num_classes: int) -> np.ndarray:
    """Area of each class in percent of its image, float64 (N, K), for layouts (N, H, W)."""
    areas = class_areas(layouts, num_classes)
    return 100 * areas / np.maximum(1, areas.sum(1, keepdims=True))


def _root(cov: np.ndarray) -> np.ndarray:
    """Symmetric root of a covariance; eigenvalues that rounding put below 0 count as 0."""
    values, vectors = np.linalg.eigh(cov)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def _checked(features: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features, real = np.asarray(features, np.float64), np.asarray(real, np.float64)
    shapes = f"{features.shape} and {real.shape}"
    if features.ndim != 2 or real.ndim != 2 or features.shape[1] != real.shape[1]:
        raise DataError(f"features must have shapes (N, D) and (M, D) of one network, got {shapes}")
    if min(len(features), len(real)) < 2:
        raise DataError(f"a distance of two sets needs at least two samples on each side, got {shapes}")
    if not (np.isfinite(features).all() and np.isfinite(real).all()):
        raise DataError("features hold values that are not finite: check the images and the referee's weights")
    return features, real
