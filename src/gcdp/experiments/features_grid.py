"""The pairs behind Fig. 8, and every way to cluster their pixels: by features of a network, or by what needs none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from torch.nn.functional import avg_pool2d, one_hot

from gcdp.data.images import to_tensor
from gcdp.diffusion.joint import Noised
from gcdp.errors import ConfigError
from gcdp.evaluation.agreement import AGREEMENT, agreement, overlap_tables
from gcdp.evaluation.features import choose_taps, cluster_maps, enlarged, feature_maps
from gcdp.experiments.datasets import held_out, open_pairs
from gcdp.experiments.features_record import BLANK, CONDITIONS, OTHER, PAIRED, SWAPPED, FeatureRecord, Row
from gcdp.experiments.profile import Profile
from gcdp.provenance import source_fingerprint
from gcdp.storage import fingerprint
from gcdp.validation import to_dict

WINDOW = 5  # pixels a side, of baselines that average
# Code that decides a record, with all that it imports; how networks are trained and sampled does not.
CODE = ("gcdp.experiments.features_grid", "gcdp.network.unet")


class FeatureGrid:
    """The held-out pairs of a domain, and every way to cluster their pixels."""

    def __init__(self, profile: Profile, domain: str):
        """Raises ConfigError where the profile names no models for Fig. 8, DataError for missing pairs."""
        self.profile, self.domain, self.settings = profile, domain, profile.features
        if not self.settings.models:
            raise ConfigError(f"profile '{profile.name}' has no Fig. 8: name two models in features.models")
        split = self.settings.split
        count = min(self.settings.num_images, len(open_pairs(profile, domain, split)))
        self.world = held_out(profile, domain, split, count)
        self.others = np.roll(self.world.layouts, -1, axis=0)  # the layout of the next pair

    @cached_property
    def identity(self) -> str:
        """Fingerprint of all that decides a record but the network."""
        shown = ("shown_tap", "shown_time", "shown_clusters", "models")
        settings = {name: value for name, value in to_dict(self.settings).items() if name not in shown}
        pairs = open_pairs(self.profile, self.domain, self.settings.split).checksums
        decisive = {"settings": settings, "pairs": pairs, "captions": self.world.captions}
        return fingerprint({**decisive, "code": source_fingerprint(*CODE)})

    def noised(self, pipeline, condition: str, time: int) -> tuple[Noised, tuple[int, int]]:
        """All pairs under a condition at a time, and the times (t_x, t_y); the noise of an image is always the same."""
        times = time, pipeline.process.T if condition == BLANK else time
        layouts = self.others if condition == SWAPPED else self.world.layouts
        each = (torch.full((len(self.world),), t) for t in times)
        noise = torch.Generator().manual_seed(self.settings.seed)
        y0 = torch.from_numpy(layouts.astype(np.int64))
        return pipeline.process.q_sample(to_tensor(self.world.images), y0, *each, noise), times

    def cluster(
        self,
        pipeline,
        conditions: Sequence[str] = (),
        taps: Sequence[str] = (),
        times: Sequence[int] = (),
        clusters: Sequence[int] = (),
    ) -> Iterator[tuple[Row, np.ndarray]]:
        """Yield (row, clusters uint8 (N, H, W)) of a network, by default for the whole grid.

        Raises ConfigError for a tap that the network does not have.
        """
        taps = choose_taps(pipeline.unet.tap_names, taps or self.settings.taps)
        for condition in conditions or conditions_of(pipeline):
            for time in times or self.settings.times:
                pairs, told = self.noised(pipeline, condition, time)
                features = feature_maps(pipeline, pairs.x, pairs.y, told, self.world.captions, taps)
                for tap, maps in features.items():
                    for count in clusters or self.settings.clusters:
                        yield Row(condition, tap, time, count), self._clusters(maps, count)

    def record(self, rows: Iterable[tuple[Row, np.ndarray]], network: str = "") -> FeatureRecord:
        """How well the clusters of each row agree with the layouts; `network` is the fingerprint of its weights."""
        values = {}
        for row, maps in rows:
            values[row] = self._values(maps, self.world.layouts, row.clusters)
            if row.condition in CONDITIONS:
                other = row._replace(condition=row.condition + OTHER)
                values[other] = self._values(maps, self.others, row.clusters)
        return FeatureRecord(network, self.identity, values)

    def baselines(
        self,
        untrained,
        taps: Sequence[str] = (),
        times: Sequence[int] = (),
        clusters: Sequence[int] = (),
    ) -> Iterator[tuple[Row, np.ndarray]]:
        """Yield (row, clusters (N, H, W)) of what needs no training, by default for the whole grid.

        "untrained": the pipeline `untrained`, of both halves. K-means of pixels: "noised_colors" of x_t,
        "smoothed_colors" of its means over 5 x 5 pixels, "clean_colors" of x_0, "position" of the coordinates alone.
        Labels as clusters, without K-means: "noised_layout", the most frequent label of y_t in 5 x 5 pixels, and
        "other_layout", the true layout of the next pair.
        """
        counts = clusters or self.settings.clusters
        for row, maps in self.cluster(untrained, (PAIRED,), taps, times, counts):
            yield row._replace(condition="untrained"), maps
        for time in times or self.settings.times:
            pairs, _ = self.noised(untrained, PAIRED, time)
            yield from self._pixels("noised_colors", time, pairs.x, counts)
            yield from self._pixels("smoothed_colors", time, _smoothed(pairs.x), counts)
            votes = _smoothed(one_hot(pairs.y, self.world.classes.num_classes).movedim(3, 1))
            yield Row("noised_layout", time=time), votes.argmax(1).numpy()
        yield from self._pixels("clean_colors", 0, to_tensor(self.world.images), counts)
        height, width = self.world.layouts.shape[1:]
        grid = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
        yield from self._pixels("position", 0, grid.float().expand(len(self.world), -1, -1, -1), counts)
        yield Row("other_layout"), self.others

    def _pixels(self, name: str, time: int, channels: torch.Tensor, counts) -> Iterator[tuple[Row, np.ndarray]]:
        for count in counts:
            yield Row(name, time=time, clusters=count), self._clusters(channels.numpy(), count)

    def _clusters(self, features: np.ndarray, count: int) -> np.ndarray:
        return enlarged(cluster_maps(features, count, self.settings.seed), self.world.layouts.shape[1:])

    def _values(self, maps: np.ndarray, layouts: np.ndarray, count: int) -> np.ndarray:
        """Values float64 (measures, N) by the order of AGREEMENT."""
        tables = overlap_tables(maps, layouts, count or self.world.classes.num_classes, self.world.classes)
        found = agreement(tables)
        return np.stack([found[measure] for measure in AGREEMENT])


def conditions_of(pipeline) -> tuple[str, ...]:
    """Conditions that a network can be given."""
    return (PAIRED,) if pipeline.process.categorical is None else CONDITIONS


def _smoothed(channels: torch.Tensor) -> torch.Tensor:
    """Means over windows of 5 x 5 pixels, cut at the border: (N, C, H, W)."""
    return avg_pool2d(channels.float(), WINDOW, stride=1, padding=WINDOW // 2, count_include_pad=False)
