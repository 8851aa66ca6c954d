"""Fig. 9 and any direction, measured: one half given the other, and pairs along paths through the square of times.

Everything that is drawn is kept (`gcdp.experiments.sweep.Sweep`), so that what was interrupted goes on.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gcdp.evaluation import frechet
from gcdp.evaluation.attribute_groups import layout_bits
from gcdp.evaluation.correspondence import correspondence, label_weights, named_matrix, seen_matrix
from gcdp.evaluation.iou import alignment_miou, miou_difference, pixel_accuracy
from gcdp.evaluation.naming import effect
from gcdp.evaluation.referees.segmenter import load_segmenter
from gcdp.evaluation.scores import RealReference, Scores
from gcdp.evaluation.statistics import Estimate
from gcdp.experiments.datasets import held_out
from gcdp.experiments.directions_methods import Method, image_methods, layout_methods
from gcdp.experiments.effects import SwapBits, effect_difference, read_swaps
from gcdp.experiments.models import model_folder, open_model
from gcdp.experiments.profile import Profile
from gcdp.experiments.referee_training import UNSPOILED, train_segmenter
from gcdp.experiments.referees import open_referees, referee_pairs, train_where_missing
from gcdp.experiments.sweep import Sweep
from gcdp.generators.samples import Samples

# of images drawn for real layouts; other measures of text speak of the layouts, which are given
OF_IMAGES = ("frechet", "kid", "miou", "miou_all", "j", "attribute_recall", "alignment")
SEGMENTER = "segmenter"
LAYOUT_PAIRS = (("direct", "repaint_once"), ("direct_fewer", "repaint_once"), ("direct", "repaint"))
LAYOUT_PAIRS += (("direct", "repaint_any"), ("direct", "specialist"), ("direct", SEGMENTER))
IMAGE_PAIRS = (("direct", "repaint"), ("direct_fewer", "repaint"), ("direct", "repaint_fewer"))
IMAGE_PAIRS += (("direct", "repaint_any"), ("direct", "specialist"), ("repaint", "repaint_authors"))
ALONE = ("image_alone", "layout_alone")
WITH_EFFECT = ("repaint", "direct", "specialist")  # of the methods that draw images for layouts


class Directions:
    """What is drawn and measured in one domain.

    Args:
        min_area: pixels from which a class counts as seen.

    Raises CheckpointError where a model or referee is missing.
    """

    def __init__(self, profile: Profile, domain: str, min_area: int):
        self.profile, self.domain, self.area = profile, domain, min_area
        self.settings = profile.directions
        self.folder = profile.results_folder("directions", domain)  # `directions_record.records_folder`
        self.world = held_out(profile, domain, self.settings.split, self.settings.num_samples)
        self.referees = open_referees(profile, domain)
        self.model = cache(self._open)

    @cached_property
    def real(self) -> RealReference:
        """All real pairs of the split."""
        every = held_out(self.profile, self.domain, self.settings.split)
        return RealReference(self.referees.segmenter.read(every.images), every.layouts)

    def images(self, method: Method, folder: Path | None = None) -> Samples:
        """Images for the real layouts; `folder` holds the weights where they are not those of the profile's model."""
        return self._image_sweep(method, folder).draw(self.settings.guidance)

    def effect_of_naming(self, method: Method) -> Estimate:
        """That of images for the real layouts: both versions of a caption are given the same layout."""
        sweep, settings = self._image_sweep(method), self.settings
        bits = read_swaps(self.referees, sweep, settings.guidance, settings.swaps, self.area)
        return effect(bits.swaps, *bits.seen, bits.weights)["effect"]

    def layouts(self, method: Method, folder: Path | None = None) -> Samples:
        """Layouts for the real images."""
        given = method.given("images", self.world.images)
        return self._sweep(f"layout-{method.key}", method, given, folder).draw(self.settings.guidance)

    def image_rows(self) -> tuple[dict[str, Any], dict[str, Estimate]]:
        """{method: facts and measures} of layout to image, and paired differences of mIoU.

        mIoU holds the referee's reading of the image against the layout that was given, and the effect of naming says
        what the caption still decides beside it. The row "real" has what the referee reads in the real images of these
        layouts.
        """
        rows, seen = {}, {}
        for method in image_methods(self.profile):
            images = self.images(method).images
            seen[method.key] = self.referees.segmenter.read(images).layouts
            rows[method.key] = {**self._facts(method), "measures": self.of_given_layouts(images)}
            if method.key in WITH_EFFECT:
                rows[method.key]["measures"]["effect"] = self.effect_of_naming(method)
        of_real = self.of_given_layouts(self.world.images)
        measures = {key: each for key, each in of_real.items() if key not in ("frechet", "kid")}
        rows["real"] = {"label": "real images", "model": "", "network_calls": 0, "measures": measures}
        return rows, self._differences(IMAGE_PAIRS, seen)

    def layout_rows(self) -> tuple[dict[str, Any], dict[str, Estimate]]:
        """{method: facts and measures} of image to layout, and paired differences of mIoU.

        Held against the true layouts. The row "referee" is the network that all images are read by; in a drawn world it
        saw many times as many scenes.
        """
        drawn = {method.key: self.layouts(method).layouts for method in layout_methods(self.profile)}
        rows = {
            method.key: {**self._facts(method), "measures": self._of_layouts(drawn[method.key])}
            for method in layout_methods(self.profile)
        }
        readers = {
            SEGMENTER: ("segmenter, same pairs", self.segmenter()),
            "referee": ("referee", self.referees.segmenter),
        }
        for key, (label, reader) in readers.items():
            drawn[key] = reader.read(self.world.images).layouts
            measures = self._of_layouts(drawn[key])
            rows[key] = {"label": label, "model": key, "network_calls": 1, "measures": measures}
        return rows, self._differences(LAYOUT_PAIRS, drawn)

    def path_rows(self) -> tuple[dict[str, Any], dict[str, Estimate]]:
        """{lead or name: facts and measures} of pairs drawn along paths at equal calls, and differences of the effect.

        A difference is that of a lead less that of the diagonal, same captions, labels and noise. Beside the model of
        any direction stands that of the diagonal (row "joint"), and each half drawn alone. Both are empty without a
        model of any direction.
        """
        rows, swaps = {}, {}
        if not self.settings.any:
            return rows, swaps
        for lead in self.settings.leads:
            key = f"{lead:g}"
            rows[key], swaps[key] = self._path(f"path-{key}", "any", lead or "diagonal")
        rows["joint"], _ = self._path("path-joint", "diagonal", "diagonal")
        for name in ALONE:
            rows[name], _ = self._path(f"path-{name}", "any", name, swaps=name == "image_alone")
        base = swaps["0"]
        differences = {key: effect_difference(bits, base) for key, bits in swaps.items() if key != "0"}
        return rows, differences

    def pairs(self, role: str, folder: Path | None, name: str) -> Scores:
        """Scores of pairs drawn from captions along the diagonal, by weights in `folder`."""
        method = Method(name, name, role, self.profile.sampling.num_steps)
        return self._scores(self._sweep(f"path-{name}", method, {}, folder).draw(self.settings.path_guidance))

    def segmenter(self):
        """The network that reads layouts off images after training on the train split; trained where it was not yet."""
        settings, folder = self.settings, self.folder / SEGMENTER
        pairs = referee_pairs(replace(self.profile, referee=replace(self.profile.referee, scenes=0)), self.domain)
        how = settings.segmenter, pairs, settings.segmenter_train, self.folder / f"{SEGMENTER}-state", folder
        train_where_missing(train_segmenter, *how, UNSPOILED)
        return load_segmenter(folder)

    def weights(self, role: str, folder: Path | None = None) -> list[Path]:
        """Files of weights of the model in a role."""
        return sorted(
            (folder or model_folder(self.profile, self.domain, self.settings.models[role])).glob("*.safetensors")
        )

    def _open(self, role: str, folder: Path | None = None):
        return open_model(self.profile, self.domain, self.settings.models[role], folder)

    def _sweep(self, name: str, method: Method, given: dict[str, Any], folder: Path | None = None) -> Sweep:
        sampling = replace(self.profile.sampling, num_steps=method.num_steps)
        place, weights = self.folder / name, self.weights(method.role, folder)
        return Sweep(self.model(method.role, folder), self.world, sampling, self.settings.seed, place, weights, given)

    def _image_sweep(self, method: Method, folder: Path | None = None) -> Sweep:
        given = method.given("layouts", self.world.layouts)
        return self._sweep(f"image-{method.key}", method, given, folder)

    def _facts(self, method: Method) -> dict[str, Any]:
        model = self.settings.models[method.role]
        return {"label": method.label, "model": model, "network_calls": method.network_calls}

    def of_given_layouts(self, images: np.ndarray) -> dict[str, Estimate]:
        """Measures of images drawn for the real layouts."""
        readings = self.referees.read(images, self.world.captions)
        scores = self.referees.score(readings, self.world.layouts, self.world, self.real, self.area)
        return {key: scores[key] for key in OF_IMAGES if key in scores}

    def _of_layouts(self, layouts: np.ndarray) -> dict[str, Estimate]:
        truth, classes = self.world.layouts, self.world.classes
        found = alignment_miou(truth, layouts, classes)
        return {
            "miou": found["miou"],
            "miou_all": found["miou_all"],
            "accuracy": pixel_accuracy(truth, layouts, classes),
        }

    def _differences(self, pairs, seen: dict[str, np.ndarray]) -> dict[str, Estimate]:
        truth, classes = self.world.layouts, self.world.classes
        there = [(a, b) for a, b in pairs if a in seen and b in seen]
        return {f"{a} - {b}": miou_difference(truth, seen[a], seen[b], classes) for a, b in there}

    def _path(
        self, name: str, role: str, path: str | float, swaps: bool = True
    ) -> tuple[dict[str, Any], SwapBits | None]:
        method = Method(name, name, role, self.profile.sampling.num_steps)
        sweep = self._sweep(name, method, {} if path == "diagonal" else {"path": path})
        drawn, bits = sweep.draw(self.settings.path_guidance), None
        facts = {"path": path, "model": self.settings.models[role], "network_calls": method.network_calls}
        if drawn.images is None:
            return {**facts, "measures": self._of_layouts_alone(drawn.layouts)}, None
        scores = self._scores(drawn)
        if swaps:
            bits = read_swaps(self.referees, sweep, self.settings.path_guidance, self.settings.swaps, self.area)
            scores = bits.add_to(scores)
        return {**facts, "measures": scores.measures}, bits

    def _scores(self, drawn: Samples) -> Scores:
        readings = self.referees.read(drawn.images, drawn.captions)
        return self.referees.score(readings, drawn.layouts, self.world, self.real, self.area)

    def _of_layouts_alone(self, layouts: np.ndarray) -> dict[str, Estimate]:
        """J of the layouts and FSD: what `Scores` of a pair say of its layout."""
        captions, classes = self.world.captions, self.world.classes
        table = self.referees.labels(classes)
        named = named_matrix(captions, table)
        if self.referees.attributes:
            held, known = layout_bits(layouts, classes, table)
        else:
            held, known = seen_matrix(layouts, classes), np.ones(classes.num_classes)
        found = correspondence(named, held, label_weights(named) * known)["j"]
        return {"j_layouts": found, "fsd": frechet.fsd(layouts, self.real.layouts, classes.num_classes)}
