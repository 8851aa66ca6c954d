"""Agreement of clusters of pixels with true classes, for clusters that have numbers and no names.

All measures come from one table for each image: how many pixels of every class lie in every cluster. Tables are
summed over all images before any ratio is taken, so that a cluster is one thing in all of them, as its color is in the
figure. Each measure is given as one value an image whose mean is the measure (`mixed_effects.influence`), so that
intervals cover other images and other training seeds at once.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import entropy
from sklearn.metrics.cluster import expected_mutual_information

from gcdp.data.classes import ClassTable
from gcdp.errors import DataError
from gcdp.evaluation.mixed_effects import influence

# key -> how tables and figures call it
AGREEMENT = {
    "ami": "adjusted mutual information",
    "purity": "purity",
    "miou": "mIoU, largest class of each cluster",
    "miou_matched": "mIoU, one cluster a class",
}


def overlap_tables(clusters: np.ndarray, layouts: np.ndarray, count: int, classes: ClassTable) -> np.ndarray:
    """Pixels of each image by cluster (rows) and labeled class (columns): (N, H, W) each -> int64 (N, count, C).

    Pixels that a layout leaves unlabeled are left out. Raises DataError for unequal shapes or labels out of range.
    """
    clusters, layouts = np.asarray(clusters), np.asarray(layouts)
    if clusters.ndim != 3 or clusters.shape != layouts.shape:
        raise DataError(f"clusters and layouts must be equal in shape, got {clusters.shape} and {layouts.shape}")
    for name, part, limit in (("clusters", clusters, count), ("layouts", layouts, classes.num_classes)):
        if part.size and not 0 <= int(part.min()) <= int(part.max()) < limit:
            raise DataError(f"{name} hold a label outside 0..{limit - 1}: give the number of labels that there are")
    number, columns = len(layouts), classes.num_classes
    flat = clusters.astype(np.int64) * columns + layouts + count * columns * np.arange(number)[:, None, None]
    tables = np.bincount(flat.ravel(), minlength=number * count * columns).reshape(number, count, columns)
    return tables[:, :, list(classes.labeled)]


def largest_classes(table: np.ndarray) -> np.ndarray:
    """The class with the most pixels of each cluster, int64 (k,), from pixels (k, C); several may share one."""
    return np.asarray(table).argmax(1)


def matched_classes(table: np.ndarray) -> np.ndarray:
    """One class for each cluster at most, and one cluster for each class: int64 (k,), -1 for clusters left over.

    The assignment with the most pixels in common (Kuhn 1955, by scipy), from pixels (k, C).
    """
    rows, columns = linear_sum_assignment(-np.asarray(table))
    matched = np.full(len(table), -1)
    matched[rows] = columns
    return matched


def agreement(tables: np.ndarray) -> dict[str, np.ndarray]:
    """Values float64 (N,) by the keys of AGREEMENT, from pixels (N, k, C) as `overlap_tables` gives them.

    - "ami": mutual information above that of random clusters of these sizes, over the mean of the two entropies above
      it (Vinh, Epps & Bailey 2010): 0 for chance, 1 for equal partitions, whatever the number of clusters.
    - "purity": share of pixels whose class is the largest one of their cluster. It rises with the number of clusters.
    - "miou": mean over the classes that the layouts show of intersection over union, each cluster named after its
      largest class; a class that is the largest of no cluster scores 0. "miou_matched": named by `matched_classes`.

    Assignments, and what chance would give, are taken as fixed where an image is drawn more often: their change is of
    second order. Raises DataError where no pixel is labeled.
    """
    tables = np.asarray(tables, np.float64)
    total = tables.sum(0)
    if not total.sum():
        raise DataError("no pixel has a labeled class: give layouts that show one")
    largest = largest_classes(total)
    pure = tables[:, np.arange(len(largest)), largest].sum(1)
    return {
        "ami": _adjusted_mutual_information(tables),
        "purity": influence(pure, tables.sum((1, 2))),
        "miou": _miou(tables, largest),
        "miou_matched": _miou(tables, matched_classes(total)),
    }


def _miou(tables: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Mean over the classes shown of the IoU of clusters named `names` (k,), -1 for none, as values (N,)."""
    areas = tables.sum(1)
    values = []
    for label in np.flatnonzero(areas.sum(0)):
        named = tables[:, names == label]
        both = named[:, :, label].sum(1)
        values.append(influence(both, areas[:, label] + named.sum((1, 2)) - both))
    return np.mean(values, 0)


def _adjusted_mutual_information(tables: np.ndarray) -> np.ndarray:
    """As values (N,): the measure, and its derivative by the weight of each image."""
    number, pixels = len(tables), tables.sum((1, 2))
    joint = tables.sum(0) / tables.sum()
    rows, columns = joint.sum(1), joint.sum(0)
    if (rows > 0).sum() == 1 or (columns > 0).sum() == 1:  # nothing to tell, as sklearn has it
        return np.full(number, float((rows > 0).sum() == (columns > 0).sum()))
    counts = tables.sum(0)[rows > 0][:, columns > 0].astype(np.int64)
    chance = expected_mutual_information(counts, int(counts.sum()))
    mean_entropy = (entropy(rows) + entropy(columns)) / 2
    information = entropy(rows) + entropy(columns) - entropy(joint.ravel())
    value = (information - chance) / (mean_entropy - chance)
    # how far each image's own shares differ from those of all, weighted by its pixels
    change = (tables - pixels[:, None, None] * joint) / pixels.mean()
    by_row, by_column = (change.sum(axis) @ -_log(part) for axis, part in ((2, rows), (1, columns)))
    by_cell = (change * -_log(joint)).sum((1, 2))
    of_mean, of_information = (by_row + by_column) / 2, by_row + by_column - by_cell
    return value + (of_information - value * of_mean) / (mean_entropy - chance)


def _log(shares: np.ndarray) -> np.ndarray:
    """Natural logarithm, 0 for shares of 0: no image has any part in these."""
    return np.log(shares, out=np.zeros_like(shares), where=shares > 0)
