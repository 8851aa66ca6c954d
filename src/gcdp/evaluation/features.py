"""Feature maps inside a U-Net, by the names of its blocks, and K-means clusters of their pixels (paper, Fig. 8).

A pair that was noised by the forward process goes through the network once. Each block leaves a map of vectors, one a
place; K-means groups the places of all images by these vectors alone, and no label is seen on the way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from gcdp.errors import ConfigError, DataError

FITTED = 20_000  # places that the centers are fitted to; all get a cluster
RESTARTS = 4  # of K-means, of which the tightest clusters are kept


def choose_taps(known: Sequence[str], wanted: Sequence[str] = ()) -> list[str]:
    """The taps of a network (`UNet.tap_names`) that `wanted` names, in the network's order; nothing wanted is all.

    The part before the dot names several: "last" is the last map, or both "last.image" and "last.layout".
    Raises ConfigError for a tap that there is not.
    """
    for name in wanted:
        if not any(name in (tap, tap.partition(".")[0]) for tap in known):
            raise ConfigError(f"the network has no tap '{name}': choose from {', '.join(known)}")
    return [tap for tap in known if not wanted or tap in wanted or tap.partition(".")[0] in wanted]


@torch.no_grad()
def feature_maps(
    pipeline,
    x_t: Tensor | None,
    y_t: Tensor | None,
    times: tuple[int, int],
    captions: Sequence[str | None],
    taps: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """What the blocks of a network make of noised pairs: {tap: float32 (N, channels, h, w)}.

    Args:
        pipeline: a trained network with its process and text, as `gcdp.load_pipeline` opens it.
        x_t, y_t: noised images (N, 3, H, W) and labels (N, H, W); None for the half that the network lacks.
        times: (t_x, t_y), what the network is told; 0..T.
        captions: one a pair, None for no text.
        taps: as in `choose_taps`.

    It computes in float32, in batches of the pipeline's own size: other sizes round differently. Raises ConfigError as
    `choose_taps`, DataError for a number of captions that does not fit.
    """
    taps = choose_taps(pipeline.unet.tap_names, taps)
    halves, rows = [half for half in (x_t, y_t) if half is not None], pipeline.network.rows
    if not len(captions) or any(len(half) != len(captions) for half in halves):
        raise DataError(f"{[len(half) for half in halves]} pairs and {len(captions)} captions: give one for each")
    found: dict[str, list[np.ndarray]] = {tap: [] for tap in taps}
    levels = [level.to(pipeline.device) for level in pipeline.process.log_snr(*(torch.full((rows,), t) for t in times))]
    for start in range(0, len(captions), rows):
        texts = list(captions[start : start + rows])
        count, padding = len(texts), rows - len(texts)
        x, y = (_padded(half, start, rows, pipeline.device) for half in (x_t, y_t))
        context = pipeline.network.context(texts + texts[-1:] * padding)
        features = pipeline.unet(x, y, *levels, context, taps=taps).features
        for tap in taps:
            found[tap].append(features[tap][:count].float().cpu().numpy())
    return {tap: np.concatenate(parts) for tap, parts in found.items()}


def _padded(half: Tensor | None, start: int, rows: int, device: torch.device) -> Tensor | None:
    """One batch of a half, filled up with repeats of its last example."""
    if half is None:
        return None
    part = half[start : start + rows]
    return torch.cat([part, part[-1:].expand(rows - len(part), *part.shape[1:])]).to(device)


def cluster_maps(features: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """K-means over the places of all images together: float (N, channels, h, w) -> uint8 (N, h, w) in 0..count-1.

    Every channel is first brought to mean 0 and variance 1 over all places, so that none counts for its scale alone.
    The centers (the best of `RESTARTS` starts by k-means++) are fitted to at most `FITTED` random places.

    Raises DataError for features that are not finite, or fewer places than clusters.
    """
    features = np.asarray(features)
    if features.ndim != 4 or not np.isfinite(features).all():
        raise DataError(f"features must be finite and of shape (N, channels, h, w), got shape {features.shape}")
    number, channels, height, width = features.shape
    places = features.transpose(0, 2, 3, 1).reshape(-1, channels)
    if not 1 <= count <= min(len(places), 256):
        raise DataError(f"{count} clusters of {len(places)} places: ask for 1 to {min(len(places), 256)}")
    places = StandardScaler().fit_transform(places.astype(np.float32))
    chosen = np.random.default_rng(seed).permutation(len(places))[:FITTED]
    means = KMeans(count, n_init=RESTARTS, random_state=seed).fit(places[np.sort(chosen)])
    return means.predict(places).astype(np.uint8).reshape(number, height, width)


def enlarged(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps (N, h, w) at (H, W), multiples of h and w, by nearest neighbor. Raises DataError for another size."""
    factors = [wanted / given for wanted, given in zip(size, maps.shape[1:], strict=True)]
    if any(factor < 1 or factor % 1 for factor in factors):
        raise DataError(f"maps of {maps.shape[1:]} cannot be enlarged to {tuple(size)}: ask for a multiple")
    return maps.repeat(int(factors[0]), 1).repeat(int(factors[1]), 2)
