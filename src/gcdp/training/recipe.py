"""The training recipe: every setting that decides how a network is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gcdp.errors import ConfigError
from gcdp.validation import require_one_of, require_range

PRECISIONS = ("no", "fp16", "bf16")
OPTIMIZERS = ("adamw", "muon")
TIMES = ("joint", "image_given_layout", "layout_given_image")
# settings that may change between an interruption and its continuation
OPERATIONAL = (
    "log_every", "validate_every", "checkpoint_every", "workers", "compile", "cuda_graph", "accumulate",
    "checkpoint_activations",
)  # fmt: skip


def decisive(settings: dict[str, Any]) -> dict[str, Any]:
    """Of the settings of a recipe, as JSON types, those that decide what is learned: all but `OPERATIONAL`."""
    return {name: value for name, value in settings.items() if name not in OPERATIONAL}


@dataclass(frozen=True)
class TrainConfig:
    """The training recipe. `batch_size` is global over all processes; the defaults are the authors'."""

    steps: int = 300_000
    batch_size: int = 8
    optimizer: str = "adamw"  # muon: for hidden matrices and kernels; all else learns by AdamW
    learning_rate: float = 1.2e-4  # of AdamW
    muon_rate: float = 0.02
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    warmup: int = 0
    decay: bool = False  # cosine decay of the rate to zero over the run
    clip: float = 0.0  # largest gradient norm; 0 leaves gradients alone
    ema_decay: float = 0.9999
    ema_every: int = 10
    text_drop: float = 0.1
    # image_given_layout: the layout stays clean (t_y = 0), as in the second step of two-stage models;
    # layout_given_image: the image does (t_x = 0)
    times: str = "joint"
    diagonal: float = 1.0  # share of examples with t_x = t_y; the rest as `training.diffusion.draw_times` says
    labeled: float = 1.0  # share of the pairs whose layouts are known; of the others the image alone is (t_y = T)
    precision: str = "no"  # as accelerate names it: no, fp16, bf16 (float32 where a processor only emulates it)
    compile: bool = False
    accumulate: int = 1  # parts of a step's batch, one after the other: a fraction of the memory for the same gradient
    checkpoint_activations: bool = False  # blocks of the U-Net are computed twice, and keep their inputs alone
    cuda_graph: bool = True  # record the step of a diffusion network on one CUDA device and replay it
    workers: int = 0
    seed: int = 0
    log_every: int = 50
    validate_every: int = 1000
    validate_pairs: int = 128
    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        require_range(self, "steps batch_size ema_every log_every validate_every checkpoint_every accumulate", 1)
        require_range(self, "weight_decay warmup clip workers seed validate_pairs", 0)
        require_range(self, "learning_rate muon_rate betas ema_decay text_drop diagonal labeled", 0, 1)
        require_one_of("optimizer", self.optimizer, OPTIMIZERS)
        require_one_of("precision", self.precision, PRECISIONS)
        require_one_of("times", self.times, TIMES)
        if self.batch_size % self.accumulate:
            raise ConfigError(
                f"batch_size {self.batch_size} does not divide into accumulate = {self.accumulate} equal parts: "
                "change one of the two"
            )
