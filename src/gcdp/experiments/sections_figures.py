"""The sections of a profile that decide one figure each: `features`, `directions`, `guidance`, `strokes`."""

from __future__ import annotations

from dataclasses import dataclass, field

from gcdp.errors import ConfigError
from gcdp.evaluation.referees.segmenter import SegmenterConfig
from gcdp.experiments.sections import SPLITS
from gcdp.training.recipe import TrainConfig
from gcdp.validation import require_one_of, require_range


@dataclass(frozen=True)
class FeaturesConfig:
    """Fig. 8: K-means on internal features of `models`, one of both halves first, an image-only one second.

    The grid is `taps` (blocks of the network, see `gcdp.evaluation.features.choose_taps`; none named: all) by `times`
    by numbers of `clusters`, on the first `num_images` pairs of `split`. The figure shows the row of `shown_tap` and
    `shown_clusters` at all times; what is reported of it stands at `shown_time`. `seed` decides noise and clusters.
    Without `models` there is no Fig. 8.
    """

    models: tuple[str, ...] = ()
    taps: tuple[str, ...] = ()
    times: tuple[int, ...] = (50, 200, 400, 600, 800, 900)
    clusters: tuple[int, ...] = (5, 10, 20)
    num_images: int = 100
    split: str = "test"
    seed: int = 0
    shown_tap: str = "up.0"
    shown_time: int = 800
    shown_clusters: int = 10

    def __post_init__(self) -> None:
        require_range(self, "times", 1)
        require_range(self, "num_images", 2)
        require_range(self, "clusters", 2, 256)
        require_range(self, "seed", 0)
        require_one_of("split", self.split, SPLITS)
        if len(self.models) not in (0, 2):
            raise ConfigError(f"models must be a model of both halves and an image-only one, got {list(self.models)}")
        for name in ("times", "clusters"):
            values = getattr(self, name)
            if not values or list(values) != sorted(set(values)):
                raise ConfigError(f"{name} must be at least one number, in rising order, got {list(values)}")
        for name, known in (("shown_time", self.times), ("shown_clusters", self.clusters)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} {getattr(self, name)} is not in the grid: choose one of {list(known)}")


@dataclass(frozen=True)
class DirectionsConfig:
    """Fig. 9, and models that answer in any direction.

    Args:
        diagonal: a model of both halves, trained at equal times, which answers by RePaint; empty: there is no Fig. 9.
        any: one trained at independent times; empty: none is compared with RePaint, and no paths are.
        image_given_layout, layout_given_image: models that were trained for one direction; empty: none.
        few_layouts: trained like `any`, a part of its pairs without their layouts; with every one of `seeds` it is
            compared with `any` on as many pairs as it has layouts, and on all pairs. Empty: not compared.
        segmenter, segmenter_train: the network that reads layouts off images after training on the train split alone.
        num_samples: pairs of `split`, each with one half given, and captions that paths start from.
        guidance: scale with which a half is drawn given the other; `path_guidance`: with which pairs are drawn.
        leads: members of the family of paths that are compared, see `gcdp.diffusion.paths.led`; 0 among them.
        swaps: captions a label, with and without it, on every path.
    """

    diagonal: str = ""
    any: str = ""
    image_given_layout: str = ""
    layout_given_image: str = ""
    few_layouts: str = ""
    seeds: tuple[int, ...] = (1, 2, 3)
    segmenter: SegmenterConfig = SegmenterConfig()
    segmenter_train: TrainConfig = TrainConfig()
    num_samples: int = 500
    guidance: float = 1.0
    path_guidance: float = 2.0
    leads: tuple[float, ...] = (-1.0, -0.5, 0.0, 0.5, 1.0)
    swaps: int = 40
    split: str = "test"
    seed: int = 0

    def __post_init__(self) -> None:
        require_range(self, "num_samples", 2)
        require_range(self, "swaps", 1)
        require_range(self, "guidance path_guidance seeds seed", 0)
        require_range(self, "leads", -1, 1)
        require_one_of("split", self.split, SPLITS)
        for role, needed in (("any", "diagonal"), ("few_layouts", "any")):
            if getattr(self, role) and not getattr(self, needed):
                raise ConfigError(
                    f"{role} is compared with {needed}, which names no model: name one, or leave both out"
                )
        if list(self.leads) != sorted(set(self.leads)) or 0 not in self.leads:
            raise ConfigError(f"leads must rise and hold 0, the diagonal, got {list(self.leads)}")

    @property
    def models(self) -> dict[str, str]:
        """{role: model} of those that are named."""
        roles = ("diagonal", "any", "image_given_layout", "layout_given_image", "few_layouts")
        return {role: getattr(self, role) for role in roles if getattr(self, role)}

    @property
    def networks(self) -> dict[str, str]:
        """`models` of which one network is compared; those of `few_layouts` are trained with several seeds."""
        return {role: model for role, model in self.models.items() if role != "few_layouts"}


@dataclass(frozen=True)
class GuidanceConfig:
    """Guidance of each half, `guidance_halves`.

    Args:
        model: a model of both halves; empty: the question is not asked.
        scales: of the image and of the layout, each with each; empty: those of `sampling.guidances`.
        num_val: validation captions that the scales are chosen on; `num_samples`: test captions of the chosen ones.
        swaps: of these, for each label, drawn with it and without.
    """

    model: str = ""
    scales: tuple[float, ...] = ()
    num_val: int = 128
    num_samples: int = 500
    swaps: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        require_range(self, "num_val num_samples", 2)
        require_range(self, "swaps", 1)
        require_range(self, "scales seed", 0)
        if list(self.scales) != sorted(set(self.scales)):
            raise ConfigError(f"scales must rise, got {list(self.scales)}")


@dataclass(frozen=True)
class StrokesConfig:
    """Pictures after strokes, `strokes_gradop`.

    Args:
        joint, image_only: models of both halves and of the image alone that are compared; empty: there are no strokes.
        num_samples: scenes of `split` that strokes are made of.
        num_compared: the same for GradOP+ against SDEdit with the joint model, whose difference is small.
        regions: classes of a scene that become strokes, the largest ones; those of `always` do wherever they are.
        blur: standard deviation in pixels of the painting function, for methods and measures.
        guidance: scale with which pictures are drawn; `seed` decides their noise.
        strengths: of every method, rising; `steps`: of the descent of GradOP and GradOP+.
        certainty: of a name, where it is tried as likely but not certain.
        renamed: {class: class} whose strokes are named otherwise, to see whether the picture follows the name.
    """

    joint: str = ""
    image_only: str = ""
    num_samples: int = 64
    num_compared: int = 160
    regions: int = 6
    always: tuple[str, ...] = ()
    blur: float = 1.0
    guidance: float = 2.0
    strengths: tuple[float, ...] = (0.35, 0.5, 0.65, 0.8)
    steps: int = 12
    certainty: float = 0.9
    renamed: dict[str, str] = field(default_factory=dict)
    split: str = "test"
    seed: int = 0

    def __post_init__(self) -> None:
        require_range(self, "num_samples num_compared", 2)
        require_range(self, "regions steps", 1)
        require_range(self, "guidance seed blur", 0)
        require_range(self, "strengths certainty", 0, 1)
        require_one_of("split", self.split, SPLITS)
        if bool(self.joint) != bool(self.image_only):
            raise ConfigError("strokes compare a joint with an image-only model: name both, or neither")
        if len(self.strengths) < 3 or list(self.strengths) != sorted(set(self.strengths)) or self.strengths[0] <= 0:
            raise ConfigError(f"strengths must be at least three, rising, above 0, got {list(self.strengths)}")

    @property
    def models(self) -> dict[str, str]:
        """{role: model}, empty where there are no strokes."""
        return {"joint": self.joint, "image_only": self.image_only} if self.joint else {}
