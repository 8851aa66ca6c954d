"""What a run of a profile costs: operations, memory and disk of each of its stages, before any of it is run.

Counted are the networks of the profile (`cost_networks`), times the examples that its settings make them see. Left out
is what is small beside it: validation, referees that read images, Fig. 8, strokes, and everything that no network does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from gcdp.data.augmentation import Augmentation
from gcdp.data.classes import CELEBA, CITYSCAPES
from gcdp.experiments.cost_networks import (
    FLOAT,
    STABLE_DIFFUSION,
    TOKENS,
    NetworkCost,
    count_autoencoder,
    count_encoder,
    count_referee,
    count_unet,
    text_width,
)
from gcdp.experiments.directions_methods import image_methods, layout_methods
from gcdp.experiments.enlarging import enlarging_models
from gcdp.experiments.options import options
from gcdp.experiments.profile import Profile
from gcdp.experiments.sections import DataConfig
from gcdp.experiments.selection import selection
from gcdp.experiments.study import seeds_of, trials
from gcdp.experiments.study_record import Trial
from gcdp.generators.latent import latent_card
from gcdp.toy.worlds import WORLDS
from gcdp.training.checkpoint import ModelCard
from gcdp.training.recipe import TrainConfig

STAGES = ("data", "text", "referees", "training", "study", "drawing", "directions")
CARD = 80e9  # bytes of memory of one GPU
HALF = 2  # bytes
# Of sources that are no program: pairs of each split, and captions of a pair where the profile takes all of them.
PAIRS = {
    "cityscapes": {"train": 2975, "val": 500},
    "celeba": {"train": 24183, "val": 2993, "test": 2824},  # by the partition of CelebA
    "folder": {"train": 367, "val": 101, "test": 233},  # CamVid
}
CAPTIONS = 10
CLASSES = {"cityscapes": CITYSCAPES.num_classes, "celeba": CELEBA.num_classes, "folder": 12}
NAMED = {"cityscapes": 19, "celeba": 38, "folder": 11}  # classes, or attributes, that captions name
ATTRIBUTES = 40
UNCONDITIONAL = 0.0  # guidance of what is drawn without text
GUIDED = 2.0  # stands for a scale that validation captions choose
LEVELS, REAL = 3, 48  # of super-resolution: noise levels that its notebook tries, and most of the real pairs enlarged


@dataclass(frozen=True)
class Work:
    """One part of a run: its stage, one of STAGES, and operations, memory of one device and disk in bytes."""

    domain: str
    stage: str
    about: str
    operations: float = 0.0
    memory: float = 0.0
    disk: float = 0.0
    gpus: int = 1


def works(profile: Profile) -> list[Work]:
    """All parts of a run of a profile."""
    chosen = selection(profile)
    found: list[Work] = []
    for domain in profile.domains:
        seen = Costing(profile, domain)
        found += [seen.data(), seen.text(), *seen.referees()]
        found += [seen.training(each["model"]) for each in _of(chosen["models"], domain)]
        found += seen.study()
        found += [seen.samples(each["model"]) for each in _of(chosen["samples"], domain)]
        found += [seen.evaluation(each["model"]) for each in _of(chosen["evaluations"], domain)]
        found += seen.super_resolution() if domain in chosen["enlargings"] else []
        found += seen.directions() if domain in chosen["outpaintings"] else []
        found += seen.guidance() if domain in chosen["guidances"] else []
    return found


def by_stage(parts: Iterable[Work]) -> dict[str, Work]:
    """{stage: sums of operations and disk, largest memory and number of devices}, in the order of STAGES."""
    ordered = sorted(parts, key=lambda each: STAGES.index(each.stage))
    return {stage: _total(stage, list(group)) for stage, group in groupby(ordered, key=lambda each: each.stage)}


def _total(stage: str, parts: list[Work]) -> Work:
    sums = sum(each.operations for each in parts), max(each.memory for each in parts), sum(each.disk for each in parts)
    return Work("", stage, f"{len(parts)} parts", *sums, max(each.gpus for each in parts))


def hours(operations: float, rate: float, share: float) -> float:
    """How long operations take on a machine of a rate, in operations a second, of which a share is reached."""
    return operations / (rate * share) / 3600


def pairs_of(data: DataConfig) -> dict[str, int]:
    """{split: number of pairs} of a domain."""
    known = data.counts if data.source in WORLDS else PAIRS[data.source]
    return {split: known[data.splits.get(split, split)] for split in ("train", "val", "test")}


def _reader(data: DataConfig) -> str:
    return WORLDS[data.source].reader if data.source in WORLDS else data.source


def _of(entries: dict[str, dict], domain: str) -> Iterator[dict]:
    return (entry for entry in entries.values() if entry["domain"] == domain)


def _passes(guidance: float | tuple[float, ...]) -> int:
    """Forward passes of a step: without text as well, unless the scale is 0 or 1."""
    return 1 if guidance in (0, 1) else 2


class Costing:
    """The parts of one domain of a profile."""

    def __init__(self, whole: Profile, domain: str):
        self.profile, self.whole, self.domain = whole.for_domain(domain), whole, domain
        self.settings = self.profile.domain(domain)
        self.size, self.pairs = tuple(self.settings.size), pairs_of(self.settings)
        self.classes, self.named = CLASSES[_reader(self.settings)], NAMED[_reader(self.settings)]
        self.pixels = self.size[0] * self.size[1]

    def network(self, model: str, size: tuple[int, int] | None = None) -> NetworkCost:
        """The network of a model that is trained, on whole pairs or on views of `size`."""
        width, config = text_width(self.profile.text.encoder), self.profile.model(model)
        unet, size = self.profile.unet_for(model, self.classes, width), size or self.size
        if config.kind == "latent":
            own = options(self.profile, model)
            factor = (STABLE_DIFFUSION if own.autoencoder.pretrained else own.autoencoder).factor
            card = ModelCard(unet, self.profile.diffusion_for(model), CITYSCAPES, size, "", 1, {})
            unet, size = latent_card(card, own).unet, tuple(side // factor for side in size)
        return count_unet(unet, size)

    def operations(self, model: str) -> int:
        """Of one step of the reverse process for one pair, in all networks of a model."""
        parts = self.profile.model(model).parts
        if not parts:
            return self.network(model).forward
        views = {role: Costing(self.whole, self.profile.domain_of(self.domain, role)) for role in parts}
        return sum(views[role].network(part).forward for role, part in parts.items())

    def data(self) -> Work:
        """Images and layouts of all splits, and larger ones of those that training zooms into."""
        larger = Augmentation(self.settings.rescale).oversample
        kept = sum(self.pairs.values()) + (self.pairs["train"] * larger**2 if larger > 1 else 0)
        return Work(self.domain, "data", "pairs", disk=kept * self.pixels * 4)

    def text(self) -> Work:
        """The cache of states, one for each caption if no two are equal."""
        encoder, width = count_encoder(self.profile.text.encoder), text_width(self.profile.text.encoder)
        captions = sum(self.pairs.values()) * (self.settings.captions_per_pair or CAPTIONS)
        disk = captions * TOKENS * width * HALF
        return Work(self.domain, "text", "cache", captions * encoder.forward, FLOAT * encoder.parameters, disk=disk)

    def referees(self) -> list[Work]:
        """Referees that are trained here."""
        settings, found = self.profile.referee, []
        if self.profile.released:
            return found
        if settings.name == "segmenter":
            found += [self._referee("layouts", settings.network, settings.train, self.classes)]
        if settings.attributes.name == "classifier":
            found += [self._referee("attributes", settings.attributes.network, settings.attributes.train, ATTRIBUTES)]
        if settings.alignment.name == "two_tower":
            width = text_width(self.profile.text.encoder)
            found += [self._referee("alignment", settings.alignment.network, settings.alignment.train, width)]
        return found

    def _referee(self, about: str, network, recipe: TrainConfig, outputs: int, stage: str = "referees") -> Work:
        cost = count_referee(network, self.size, outputs)
        return self._trained(stage, about, cost, recipe)

    def training(self, model: str, stage: str = "training") -> Work:
        """A network of the pipeline; of a released one the short run beside it."""
        recipe = self.profile.train_for(model)
        steps = recipe.steps if not self.profile.released else self.profile.short_run * (model == "joint")
        config, own = self.profile.model(model), options(self.profile, model)
        crop = tuple(own.crop) if config.kind == "enlarger" and own.crop else None
        found = self._trained(stage, model, self.network(model, crop), recipe, steps)
        if config.kind != "latent" or not steps:
            return found
        encoder, decoder = count_autoencoder(own.autoencoder, self.size)
        more = steps * recipe.batch_size * encoder.forward  # the views of each step are encoded anew
        if not own.autoencoder.pretrained:
            both = encoder.step_operations(recipe.batch_size) + decoder.step_operations(recipe.batch_size)
            more += own.autoencoder.steps * both
        return Work(found.domain, stage, model, found.operations + more, found.memory, found.disk, found.gpus)

    def _trained(
        self, stage: str, about: str, cost: NetworkCost, recipe: TrainConfig, steps: int | None = None
    ) -> Work:
        """A training, on as few GPUs as hold it; on disk the network, and the state that it goes on from."""
        steps = recipe.steps if steps is None else steps
        shares = [n for n in range(1, recipe.batch_size + 1) if recipe.batch_size % n == 0]
        memory = {n: cost.memory(recipe, recipe.batch_size // n) for n in shares}
        gpus = next((n for n in shares if memory[n] <= CARD), shares[-1])
        muon = cost.hidden if recipe.optimizer == "muon" else 0
        state = (4 * cost.parameters - muon) * FLOAT if stage == "training" else 0  # weights, average, moments
        disk = FLOAT * cost.parameters + state if steps else HALF * cost.parameters
        operations = steps * cost.step_operations(recipe.batch_size)
        return Work(self.domain, stage, about, operations, memory[gpus] if steps else 0.0, disk, gpus if steps else 0)

    def study(self) -> list[Work]:
        """Trainings of the study that are not those of the pipeline, and what all of its networks draw."""
        plan, found = self.profile.study, []
        if self.profile.released or not plan.models:
            return found
        every, grid = self.pairs["train"], self.profile.sampling.guidances
        for trial in trials(self.profile, every):
            if not self._in_pipeline(trial):
                found += [self.training(trial.model, "study")]
            wanted = [(scale, plan.num_val) for scale in grid]
            wanted += [(scale, plan.num_samples) for scale in (grid if trial.pairs == every else (GUIDED,))]
            wanted += [(GUIDED, 2 * self.named * plan.swaps)]
            found += [self._drawn("study", trial.key, trial.model, wanted)]
        return found

    def _in_pipeline(self, trial: Trial) -> bool:
        own = self.profile.train_for(trial.model).seed == trial.seed and trial.seed in seeds_of(
            self.profile, trial.model
        )
        return own and trial.pairs == self.pairs["train"]

    def samples(self, model: str) -> Work:
        """The pairs of Fig. 5."""
        chosen = self.profile.sample
        return self._drawn("drawing", f"{model}, Fig. 5", model, [(chosen.guidance, chosen.num_samples)])

    def evaluation(self, model: str) -> Work:
        """Validation and test captions at every scale, captions with and without each label, and none at all."""
        chosen, grid = self.profile.evaluate, self.profile.sampling.guidances
        wanted = [(scale, chosen.num_samples) for scale in (*grid, UNCONDITIONAL)]
        wanted += [(scale, max(2, chosen.num_samples // 2)) for scale in grid if len(grid) > 1]
        wanted += [(GUIDED, self.named * chosen.swaps_per_label)]  # one of the two versions of a caption is there
        return self._drawn("drawing", model, model, wanted)

    def super_resolution(self) -> list[Work]:
        """Real smaller pairs, enlarged at several levels of noise."""
        part = self.profile.model(enlarging_models(self.profile)["cascade"]).parts["enlarger"]
        count = LEVELS * min(self.profile.evaluate.num_samples, REAL)
        return [self._drawn("drawing", "real pairs enlarged", part, [(1.0, count)])]

    def directions(self) -> list[Work]:
        """Fig. 9 and its segmenter; of records that are released nothing."""
        chosen, found = self.profile.directions, []
        if self.profile.released:
            return found
        found += [self._referee("segmenter", chosen.segmenter, chosen.segmenter_train, self.classes, "directions")]
        scale, count, steps = chosen.guidance, chosen.num_samples, self.profile.sampling.num_steps
        for method in (*image_methods(self.profile), *layout_methods(self.profile)):
            calls = count * method.network_calls / steps
            found += [self._drawn("directions", method.label, chosen.models[method.role], [(scale, calls)])]
        for model in (chosen.few_layouts, chosen.any, chosen.any) if chosen.few_layouts else ():
            found += [self.training(model, "directions") for _ in chosen.seeds]
        if chosen.any:
            drawn = (len(chosen.leads) + 3) * count + (len(chosen.leads) + 2) * self.named * chosen.swaps
            found += [self._drawn("directions", "paths", chosen.any, [(chosen.path_guidance, drawn)])]
        return found

    def guidance(self) -> list[Work]:
        """Every scale of the image with every scale of the layout, and the two chosen pairs of scales."""
        plan = self.profile.guidance
        if self.profile.released:
            return []
        grid = len(plan.scales or self.profile.sampling.guidances) ** 2
        wanted = [(GUIDED, grid * plan.num_val + 2 * (plan.num_samples + self.named * plan.swaps))]
        return [self._drawn("drawing", "guidance of each half", plan.model, wanted)]

    def _drawn(self, stage: str, about: str, model: str, wanted: list[tuple[float, float]]) -> Work:
        """Pairs of a model at scales of guidance, as (scale, number), and their pixels on disk."""
        steps = self.profile.sampling.num_steps
        passes = sum(_passes(scale) * count for scale, count in wanted)
        disk = sum(count for _, count in wanted) * self.pixels * 4
        return Work(self.domain, stage, about, passes * steps * self.operations(model), disk=disk)
