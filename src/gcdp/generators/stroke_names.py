"""Names of strokes: told to the layout half of a joint model, or through cross-attention to any network.

GradOP's authors raise the attention between a stroke and the tokens of its name; equations are not public. Our
network reads its text through a resampler, whose tokens belong to no single word, so the construction is our own: the
caption of a name alone becomes tokens beside those of the caption, and pixels of the stroke attend to these, `boost`
times as much as to a token of the caption; other pixels do not see them.
"""

from __future__ import annotations

import math
from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor

from gcdp.data.classes import ClassTable
from gcdp.diffusion.sampling import Denoiser
from gcdp.errors import ConfigError
from gcdp.generators.guided import GuidedNetwork
from gcdp.generators.strokes import UNNAMED
from gcdp.network.blocks import TextContext

NAMES = 8  # of one picture at most; as many are always there, since other numbers of tokens round differently


def told_names(denoise: Denoiser, labels: Tensor, num_classes: int, certainty: float = 1.0) -> Denoiser:
    """A denoiser whose layout half is told the classes of named pixels.

    The distribution over y_0 that the network predicts is multiplied by the likelihood of the name: `certainty` for the
    class, the rest shared by the others. With certainty 1 the strokes are hard, and y_0 is what they are named.

    Args:
        labels: int64 (B, H, W), -1 where there is no name.

    Raises ConfigError unless 1 / num_classes < certainty <= 1.
    """
    if not isinstance(certainty, Real) or not 1 / num_classes < certainty <= 1:
        raise ConfigError(f"certainty of a name must lie above 1 / {num_classes} and at most at 1, got {certainty!r}")
    others = math.log((1 - certainty) / (num_classes - 1)) if certainty < 1 else -math.inf
    scores = torch.full((len(labels), num_classes, *labels.shape[1:]), others, device=labels.device)
    scores.scatter_(1, labels.clamp(min=0)[:, None], math.log(certainty))
    scores = torch.where((labels != UNNAMED)[:, None], scores, 0.0)

    def told(x, y, log_snr_x, log_snr_y):
        image, logits = denoise(x, y, log_snr_x, log_snr_y)
        return image, None if logits is None else logits + scores.to(logits.dtype)

    return told


def context_with_names(
    network: GuidedNetwork, context: TextContext, labels: Tensor, classes: ClassTable, boost: float
) -> TextContext:
    """The context (B) with tokens for the names in labels (B, H, W), -1 where there is none.

    Raises ConfigError for more than `NAMES` names in one picture, and unless boost is above 0.
    """
    if not 0 < boost < math.inf:
        raise ConfigError(f"boost of named tokens must be above 0, got {boost!r}")
    rows = [_with_names(network, context[i : i + 1], labels[i], classes, boost) for i in range(len(labels))]
    return TextContext.concatenate(rows)


def _with_names(network: GuidedNetwork, own: TextContext, labels: Tensor, classes: ClassTable, boost: float):
    found = [number for number in labels.unique().tolist() if number != UNNAMED]
    if len(found) > NAMES:
        raise ConfigError(f"a picture has {len(found)} named classes: name at most {NAMES}")
    tokens, count = [own.tokens], own.tokens.shape[1]
    weights = [torch.ones(1, count, *labels.shape, device=labels.device)]
    for number in found:
        name = network.context([classes.template.format(classes=classes.phrases[number])])
        tokens.append(name.tokens)
        weights.append((boost * (labels == number).float()).expand(1, count, -1, -1))
    missing = count * (NAMES - len(found))
    tokens = F.pad(torch.cat(tokens, 1), (0, 0, 0, missing))
    return TextContext(tokens, own.pooled, F.pad(torch.cat(weights, 1), (0, 0, 0, 0, 0, missing)))
