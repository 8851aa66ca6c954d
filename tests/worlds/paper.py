"""The profiles of the paper in small: drawn scenes in the form of its data, tiny networks in place of published ones.

A profile `dry-<name>` is like <name> but for sizes, steps, counts and the folders of published networks: domains,
readers, models, subsets, figures and stages are those of the paper's profile.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import yaml
from diffusers import AutoencoderKL
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    T5Config,
    T5EncoderModel,
)

from gcdp.data.classes import CITYSCAPES
from gcdp.generators.autoencoder import AutoencoderConfig
from gcdp.toy.worlds import WORLDS

COUNTS = {"train": 12, "val": 6, "test": 6}
NETWORKS = "networks"  # folder of a repository with those that stand for published ones
LEVELS = {
    "stem_width": 8, "stem_kernels": [3], "widths": [8, 8, 8, 8], "blocks": [0, 0, 0, 0], "heads": 1, "head_width": 8,
    "time_width": 8, "context_width": 8, "context_latents": 2, "resampler_depth": 1,
}  # fmt: skip
SHORT = {"steps": 4, "batch_size": 4, "workers": 0, "log_every": 2, "checkpoint_every": 4}
RECIPE = {**SHORT, "ema_decay": 0.5, "ema_every": 1, "validate_every": 2, "validate_pairs": 4}
REFEREE = {"network": {"widths": [8, 8]}, "train": SHORT}
COMMON = {
    "text": {"folder": f"{NETWORKS}/t5"},
    "unet": LEVELS,
    "train": RECIPE,
    "sampling": {"num_steps": 2, "guidances": [1.0, 3.0]},
    "sample": {"num_samples": 4},
    "evaluate": {"num_samples": 4, "swaps_per_label": 1},
    "features": {"num_images": 4, "taps": ["up.0"], "times": [800], "clusters": [4], "shown_clusters": 4},
    "directions": {"segmenter": {"widths": [8, 8]}, "segmenter_train": SHORT, "num_samples": 4},
}  # fmt: skip
LATENT = {"options": {"autoencoder": {"pretrained": f"{NETWORKS}/vae"}}}
CHANGES = {
    "cityscapes": {
        "domains": {
            "streets": {"size": [32, 64], "root": "data/cityscapes/streets/raw"},
            "streets_large": {"size": [64, 128], "root": "data/cityscapes/streets/raw"},
        },
        "models": {
            "layout_first": {"train": {"steps": 2}},
            "image_given_layout": {"train": {"steps": 2}},
            "latent": LATENT,
            "enlarger": {"options": {"crop": [64, 64]}},
        },
        "referee": {"folder": f"{NETWORKS}/segformer"},
        "study": {"num_samples": 4, "num_val": 4, "swaps": 1},
    },
    "celeba": {
        "domains": {
            "faces": {"size": [32, 32], "root": "data/celeba/faces/raw"},
            "faces_large": {"size": [64, 64], "root": "data/celeba/faces/raw"},
        },
        "models": {"latent": LATENT},
        "referee": {
            **REFEREE, "attributes": REFEREE, "alignment": {"folder": f"{NETWORKS}/clip"},
        },
        "study": {"sizes": [3, 6, "all"], "seeds": [0, 1], "num_samples": 4, "num_val": 4, "swaps": 1},
    },
}  # fmt: skip


def write_paper(root: Path, name: str) -> str:
    """Write into a repository the data, networks and profile for a dry run of the profile `name`; returns its name."""
    kind = name.partition("-")[0]
    torch.manual_seed(0)
    _write_networks(root / NETWORKS)
    if kind == "cityscapes":
        WORLDS["toy_streets"].generate(root / "data/cityscapes/streets/raw", COUNTS, seed=0)
    else:
        raw = root / "data/celeba/faces/raw"
        WORLDS["toy_faces"].generate(raw, COUNTS, seed=0)
        _write_aligned(raw, root / "data/celeba/celeba-aligned")
    changes = {"like": name, **COMMON, **CHANGES[kind]}
    (root / "params" / f"dry-{name}.yaml").write_text(yaml.safe_dump(changes, sort_keys=False))
    return f"dry-{name}"


def _write_aligned(raw: Path, root: Path) -> None:
    """Aligned CelebA of the drawn faces: each under its made-up original name, and 12 more with other names."""
    table = (raw / "CelebAMask-HQ-attribute-anno.txt").read_text().splitlines()
    mapping = [line.split() for line in (raw / "CelebA-HQ-to-CelebA-mapping.txt").read_text().splitlines()[1:]]
    (root / "img_align_celeba").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, _, original in mapping:
        line = table[2 + int(number)].split()
        more = f"9{original[1:]}"
        for file in (original, more):
            rows.append(" ".join([file, *line[1:]]))
        picture = Image.open(raw / "CelebA-HQ-img" / f"{number}.jpg").resize((178, 178))
        padded = np.pad(np.asarray(picture), ((20, 20), (0, 0), (0, 0)), mode="edge")
        Image.fromarray(padded).save(root / "img_align_celeba" / more, quality=95)
    (root / "list_attr_celeba.txt").write_text("\n".join([str(len(rows)), table[1], *sorted(rows)]) + "\n")


def _write_networks(folder: Path) -> None:
    """Networks of random weights in the form of those that the profiles name on the hub."""
    t5 = T5Config(vocab_size=3, d_model=8, d_kv=8, d_ff=8, num_layers=1, num_heads=1)
    _tokenizer("$A </s>").save_pretrained(folder / "t5")
    T5EncoderModel(t5).save_pretrained(folder / "t5")
    names = [CITYSCAPES.names[index] for index in CITYSCAPES.labeled]
    segformer = SegformerConfig(
        num_labels=len(names), id2label=dict(enumerate(names)), hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 1, 1], decoder_hidden_size=8, strides=[16, 2, 2, 2], patch_sizes=[15, 3, 3, 3],
    )  # fmt: skip
    SegformerForSemanticSegmentation(segformer).save_pretrained(folder / "segformer")
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    text = {**sizes, "vocab_size": 3, "max_position_embeddings": 77, "bos_token_id": 1, "eos_token_id": 1}
    vision = {**sizes, "image_size": 24, "patch_size": 8}
    _tokenizer("</s> $A </s>").save_pretrained(folder / "clip")
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder / "clip")
    vae = AutoencoderConfig(widths=(8, 8), groups=4)
    AutoencoderKL(**vae.architecture()).save_pretrained(folder / "vae")


def _tokenizer(template: str) -> PreTrainedTokenizerFast:
    """A tokenizer of one word, the unknown one."""
    tokenizer = Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
