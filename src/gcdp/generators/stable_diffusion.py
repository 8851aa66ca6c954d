"""Pictures after strokes by Stable Diffusion, for whoever has its weights: the methods of `gcdp.diffusion.strokes`.

    pipeline = StrokesPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5").to("cuda")
    strokes, names = read_stable_strokes("castle.png", (512, 512), {"#7f7f7f": "castle"})
    image = pipeline("a castle by a lake at dawn", strokes, names=names).images[0]

Strokes may be named by words of the prompt. Cross-attention of the pixels of a stroke to the tokens of its name is then
multiplied by `Guide.boost`; that of other pixels is left as it is (a construction of ours, see `stroke_names`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from torch import Tensor

from gcdp.data.classes import ClassTable
from gcdp.data.images import to_tensor, to_uint8
from gcdp.diffusion.gaussian import GaussianDiffusion
from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.diffusion.outpainting import Known
from gcdp.diffusion.sampling import Noise, ReverseSettings, Walker
from gcdp.diffusion.schedules import NoiseSchedule
from gcdp.errors import ConfigError, DataError
from gcdp.generators.painting import Blur, Distance, Painting, masked_mse
from gcdp.generators.pipeline import checked_captions, seeds_of_call
from gcdp.generators.stroke_guided import Guide, mask_at, method_of
from gcdp.generators.strokes import UNNAMED, Strokes, read_strokes

PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}


class StrokesPipeline(DiffusionPipeline):
    """A latent diffusion of `diffusers` that follows strokes; made by `from_pretrained`, like its other pipelines.

    The components are those of `StableDiffusionPipeline`; of `scheduler` the table of noise and the kind of prediction
    are used. There is no safety checker.
    """

    _optional_components = ["safety_checker", "feature_extractor", "image_encoder"]

    def __init__(
        self, vae: AutoencoderKL, text_encoder, tokenizer, unet: UNet2DConditionModel, scheduler,
        safety_checker=None, feature_extractor=None, image_encoder=None, requires_safety_checker: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.register_modules(vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler)
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        for network in (vae, text_encoder, unet):
            network.eval().requires_grad_(False)

    @property
    def process(self) -> GaussianCategoricalDiffusion:
        """The chain of the latents: our t = 1..T is the scheduler's 0..T - 1. Raises ConfigError where it has none."""
        name = self.scheduler.config.prediction_type
        if name not in PREDICTIONS:
            raise ConfigError(
                f"prediction type '{name}' of the scheduler is unknown: choose one of {list(PREDICTIONS)}"
            )
        table = torch.cat([torch.ones(1, dtype=torch.float64), self.scheduler.alphas_cumprod.double().cpu()])
        return GaussianCategoricalDiffusion(GaussianDiffusion(NoiseSchedule(table), PREDICTIONS[name]), None)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        strokes: Strokes,
        guide: Guide | None = None,
        *,
        names: Sequence[str] = (),
        seed: int | Sequence[int] = 0,
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        eta: float = 0.0,
        painting: Painting | None = None,
        distance: Distance = masked_mse,
    ) -> ImagePipelineOutput:
        """One picture for each prompt; arguments as in `gcdp.generators.stroke_guided.paint`.

        `names` are what the labels of strokes are called, words of every prompt; the defaults are those of the
        authors. Raises DataError for strokes whose size is no multiple of the autoencoder's and the network's factors,
        or of another number than the prompts, and names that a prompt does not hold.
        """
        guide, prompts = guide or Guide(naming="attention"), checked_captions(prompt)
        seeds = seeds_of_call(seed, len(prompts))
        strokes = self._checked(strokes, len(prompts))
        pixels = to_tensor(strokes.images, self.device).to(self.unet.dtype)
        mask = torch.from_numpy(np.array(strokes.masks)).to(self.device)
        size = tuple(side // self.factor for side in mask.shape[1:])
        painting = painting or Blur.at(mask.shape[1])
        settings = ReverseSettings(num_inference_steps, eta=eta, threshold=0.0, limit=float("inf"))
        process, named = self.process, strokes.labels is not None and guide.naming != "none"
        tokens = self._name_tokens(prompts, names, strokes.labels) if named else None
        denoise = self._denoiser(process, prompts, guidance_scale)

        def loss(z: Tensor) -> Tensor:
            return distance(painting(self._decode(z), pixels), pixels, mask)

        known = Known(image=self._encode(pixels), image_mask=mask_at(mask, size))
        walker = Walker(process, settings, denoise, Noise(seeds, self.device))
        with attended(self.unet, tokens, guide.boost):
            z, _ = method_of(guide, loss, lambda x: painting(x, known.image))(walker, known)
        return ImagePipelineOutput(images=self.numpy_to_pil(to_uint8(self._decode(z)) / 255))

    def _denoiser(self, process: GaussianCategoricalDiffusion, prompts: list[str], scale: float):
        text = self._text([""] * len(prompts) + prompts)
        table = process.gaussian.schedule.log_snr(torch.arange(process.T + 1))

        def denoise(x, y, log_snr_x, log_snr_y):
            t = int((table - log_snr_x[0].cpu()).abs().argmin()) - 1
            twice = torch.cat([x, x]).to(self.unet.dtype)
            null, told = self.unet(twice, t, encoder_hidden_states=text).sample.float().chunk(2)
            return torch.lerp(null, told, scale), None

        return denoise

    def _text(self, prompts: list[str]) -> Tensor:
        return self.text_encoder(self._token_ids(prompts).to(self.device))[0]

    def _token_ids(self, prompts: list[str]) -> Tensor:
        length = self.tokenizer.model_max_length
        return self.tokenizer(
            prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids

    def _encode(self, pixels: Tensor) -> Tensor:
        return self.vae.encode(pixels).latent_dist.mode().float() * self.vae.config.scaling_factor

    def _decode(self, z: Tensor) -> Tensor:
        return self.vae.decode(z.to(self.vae.dtype) / self.vae.config.scaling_factor).sample.float()

    def _checked(self, strokes: Strokes, count: int) -> Strokes:
        multiple = self.factor * 2 ** (len(self.unet.config.block_out_channels) - 1)
        height, width = np.shape(strokes.masks)[1:]
        if height % multiple or width % multiple:
            raise DataError(f"strokes must be multiples of {multiple} pixels high and wide, got {height} x {width}")
        return strokes.for_each(count, "prompts")

    def _name_tokens(self, prompts: list[str], names: Sequence[str], labels: np.ndarray) -> Tensor:
        """1 where a pixel is named by a token of its prompt, float (B, tokens, H, W)."""
        ids = self._token_ids(prompts)
        found = torch.zeros(*ids.shape, *labels.shape[1:])
        for row, label in [(i, int(k)) for i, each in enumerate(labels) for k in np.unique(each) if k != UNNAMED]:
            if not 0 <= label < len(names):
                raise DataError(f"label {label} of strokes has no name: give `names`, one for each label from 0 on")
            word = self.tokenizer(names[label], add_special_tokens=False).input_ids
            starts = [i for i in range(ids.shape[1]) if ids[row, i : i + len(word)].tolist() == word]
            if not word or not starts:
                raise DataError(f"the prompt {prompts[row]!r} does not hold the name '{names[label]}': add it")
            region = torch.from_numpy(labels[row] == label).float()
            for start in starts:
                found[row, start : start + len(word)] = found[row, start : start + len(word)].maximum(region)
        return found.to(self.device)


@contextmanager
def attended(unet: UNet2DConditionModel, tokens: Tensor | None, boost: float):
    """Inside, cross-attention from named pixels to the tokens (B, tokens, H, W) of their names is `boost` times as
    strong, for the rows with text, the second half of a batch; None changes nothing."""
    if tokens is None:
        yield
        return
    before = dict(unet.attn_processors)
    own = {name: _Boosted(tokens, boost) if name.endswith("attn2.processor") else old for name, old in before.items()}
    unet.set_attn_processor(own)
    try:
        yield
    finally:
        unet.set_attn_processor(before)


class _Boosted:
    """Cross-attention with log-weights on named tokens; for attention without further norms, as in Stable Diffusion."""

    def __init__(self, tokens: Tensor, boost: float):
        if not boost > 0:
            raise ConfigError(f"boost of named tokens must be above 0, got {boost!r}")
        self.tokens, self.boost = tokens, boost

    def __call__(self, attn, hidden_states: Tensor, encoder_hidden_states: Tensor, **unused) -> Tensor:
        query = attn.to_q(hidden_states)
        key, value = attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        query, key, value = (part.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for part in (query, key, value))
        bias = self._bias(len(query), query.shape[2]).to(query.dtype)
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=bias[:, None], scale=attn.scale)
        return attn.to_out[1](attn.to_out[0](read.transpose(1, 2).flatten(2)))

    def _bias(self, rows: int, pixels: int) -> Tensor:
        height, width = self.tokens.shape[2:]
        down = round((height * width / pixels) ** 0.5)
        named = F.adaptive_avg_pool2d(self.tokens, (height // down, width // down)).flatten(2).transpose(1, 2)
        bias = (1 + (self.boost - 1) * named).log()
        return torch.cat([torch.zeros_like(bias)] * (rows // len(bias) - 1) + [bias])


def read_stable_strokes(
    path: str | Path, size: tuple[int, int], names: Mapping[str, str] | None = None
) -> tuple[Strokes, list[str]]:
    """Strokes from a PNG file as `read_strokes` reads them, named by any words: {"#rrggbb": words}; and these words."""
    words = sorted(set((names or {}).values()))
    table = ClassTable("names of strokes", tuple(words or ("none",)), ((0, 0, 0),) * max(1, len(words)))
    return read_strokes(path, size, table, names), words
