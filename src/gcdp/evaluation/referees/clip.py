"""CLIP score (Hessel et al. 2021) by the published network, for images of the paper's size."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from gcdp.devices import default_device
from gcdp.errors import CheckpointError, ConfigError
from gcdp.evaluation.referees.alignment import AlignmentReferee
from gcdp.evaluation.referees.published import _loading
from gcdp.evaluation.referees.segmenter import image_batches

CLIP = "openai/clip-vit-large-patch14-336"
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of the pixels that CLIP was trained on, RGB
STD = (0.26862954, 0.26130258, 0.27577711)
BATCH = 16  # images or captions embedded at once


class ClipReferee(AlignmentReferee):
    """A published CLIP as a referee. Made by `load_clip`.

    `facts` tells what it is: source, commit of the hub's copy (None for a folder).
    """

    def __init__(self, name: str, network: nn.Module, tokenizer, facts: dict[str, Any] | None = None):
        self.name, self.network, self.tokenizer, self.facts = name, network.eval(), tokenizer, facts or {}
        self.side: int = network.config.vision_config.image_size
        self.max_tokens: int = network.config.text_config.max_position_embeddings
        self._warned = False

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.network.parameters()).device

    def scaled(self, cosines: np.ndarray) -> np.ndarray:
        """100 times the cosine, never below 0.

        As Hessel et al. have it, a negative cosine counts 0. torchmetrics clips the mean over images instead; the
        two agree wherever no cosine is negative.
        """
        return np.maximum(super().scaled(cosines), 0)

    @torch.inference_mode()
    def embed_images(self, images: np.ndarray) -> np.ndarray:
        """Images uint8 (N, H, W, 3) -> unit vectors float32 (N, E)."""
        parts = []
        for batch in image_batches(images, BATCH):
            pixels = torch.stack([clip_pixels(image, self.side) for image in batch]).to(self.device)
            parts.append(_unit(self.network.get_image_features(pixel_values=pixels).pooler_output))
        return np.concatenate(parts)

    @torch.inference_mode()
    def embed_captions(self, captions: Sequence[str]) -> np.ndarray:
        """Captions (N) -> unit vectors float32 (N, E). Longer ones than CLIP reads are cut, with one warning."""
        self._warn_of_long(captions)
        parts = []
        for start in range(0, len(captions), BATCH):
            batch = self.tokenizer(
                list(captions[start : start + BATCH]), truncation=True, max_length=self.max_tokens, padding=True,
                return_tensors="pt",
            )  # fmt: skip
            ids, mask = (batch[name].to(self.device) for name in ("input_ids", "attention_mask"))
            parts.append(_unit(self.network.get_text_features(input_ids=ids, attention_mask=mask).pooler_output))
        return np.concatenate(parts)

    def _warn_of_long(self, captions: Sequence[str]) -> None:
        if self._warned:
            return
        lengths = [len(ids) for ids in self.tokenizer(list(captions), verbose=False)["input_ids"]]
        long = sum(length > self.max_tokens for length in lengths)
        if long:
            self._warned = True
            warnings.warn(
                f"{long} of {len(lengths)} captions have more than the {self.max_tokens} tokens that {self.name} "
                "reads: it scores their beginnings",
                stacklevel=3,
            )


def clip_pixels(image: np.ndarray, side: int) -> Tensor:
    """uint8 (H, W, 3) -> float32 (3, side, side) as CLIP expects it: shorter side resized by Pillow's bicubic filter,
    the center cut out, pixels brought to CLIP's mean and deviation."""
    picture = Image.fromarray(image)
    short = min(picture.size)
    width, height = (side if length == short else int(side * length / short) for length in picture.size)
    left, top = (width - side) // 2, (height - side) // 2
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255
    pixels = (pixels[top : top + side, left : left + side] - np.float32(MEAN)) / np.float32(STD)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _unit(vectors: Tensor) -> np.ndarray:
    return F.normalize(vectors.float(), dim=1).cpu().numpy()


def load_clip(name: str = CLIP, folder: str | Path | None = None, device: str | None = None) -> ClipReferee:
    """Load CLIP from the hub, or from a local copy in `folder` without network.

    The score of the default network is called "CLIP score (ViT-L/14-336)", that of another one by its own name:
    scores of different networks do not compare.

    Raises ConfigError where the network is no CLIP, CheckpointError where files are missing, damaged, or the hub
    cannot be reached.
    """
    from transformers import AutoConfig, AutoTokenizer, CLIPModel

    local, source = folder is not None, str(folder or name)
    if local and not (Path(source) / "config.json").is_file():
        raise CheckpointError(f"{source} holds no config.json: give the folder of a saved CLIP")
    where = {"local_files_only": local, "trust_remote_code": False}
    with _loading(source, local):
        config = AutoConfig.from_pretrained(source, **where)
    if config.model_type != "clip":
        raise ConfigError(f"{source} holds a {config.model_type} model: give a CLIP such as {CLIP}")
    with _loading(source, local):
        network, info = CLIPModel.from_pretrained(source, use_safetensors=True, output_loading_info=True, **where)
        tokenizer = AutoTokenizer.from_pretrained(source, **where)
    if info["missing_keys"]:  # they would be drawn at random, and the score with them
        raise CheckpointError(f"{source} lacks {len(info['missing_keys'])} weights of the network: fetch it again")
    facts = {"source": source, "commit": getattr(config, "_commit_hash", None)}
    network = network.float().requires_grad_(False).to(default_device(device))
    return ClipReferee(f"CLIP score ({_short(name)})", network, tokenizer, facts)


def _short(name: str) -> str:
    """ "openai/clip-vit-large-patch14-336" -> "ViT-L/14-336"; other networks keep their name without the owner."""
    return "ViT-L/14-336" if name == CLIP else name.rstrip("/").rsplit("/", 1)[-1]
