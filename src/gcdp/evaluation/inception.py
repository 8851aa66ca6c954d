"""FID proper, on the standard Inception features: an optional extra, for runs at the size of the paper.

The network comes with the package torch-fidelity (`pip install "gcdp[fid]"`, which brings torchvision along); its
weights are a file to download once. Nothing is fetched here.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gcdp.devices import default_device
from gcdp.errors import ConfigError
from gcdp.evaluation import frechet
from gcdp.evaluation.referees.segmenter import image_batches
from gcdp.evaluation.statistics import Estimate
from gcdp.storage import sha256

WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
WEIGHTS_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{WEIGHTS}"
CHECKSUM = "6726825d"  # first digits of the file's SHA-256, as its name has them


def inception_fid(
    images: np.ndarray,
    real: np.ndarray,
    weights: str | Path | None = None,
    device: str | None = None,
    resamples: int = frechet.RESAMPLES,
) -> Estimate:
    """Fréchet Inception distance (Heusel et al. 2017) of images uint8 (N, H, W, 3) to real ones (M, H', W', 3).

    Features are the 2048 of the last pooling layer of the 2015 network, as is standard; published numbers are of
    10,000 or more images, and the distance grows as they get fewer. Interval as in `frechet.estimate`.

    Args:
        weights: file of the network's weights; by default the one in torch's hub cache.
        device: "cpu", "cuda", ...; by default CUDA where there is one.

    Raises ConfigError without the package or the weights, DataError for images of another form.
    """
    network = load_inception(weights, device)
    return frechet.estimate(inception_features(network, images), inception_features(network, real), resamples)


def load_inception(weights: str | Path | None = None, device: str | None = None) -> nn.Module:
    """The Inception network of FID: uint8 (B, 3, H, W) -> a tuple of one tensor (B, 2048). Raises ConfigError."""
    try:
        from torch_fidelity import FeatureExtractorInceptionV3
    except ImportError as error:
        raise ConfigError('FID needs the package torch-fidelity: install it with pip install "gcdp[fid]"') from error
    path = Path(torch.hub.get_dir(), "checkpoints", WEIGHTS) if weights is None else Path(weights)
    network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=_plain_weights(path))
    return network.to(default_device(device))


@torch.inference_mode()
def inception_features(network: nn.Module, images: np.ndarray) -> np.ndarray:
    """Features float32 (N, 2048) of images uint8 (N, H, W, 3). Raises DataError for images of another form."""
    device = next(network.parameters()).device
    return np.concatenate([network(_tensor(batch).to(device))[0].cpu().numpy() for batch in image_batches(images)])


def _tensor(images: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)


def _plain_weights(path: Path) -> io.BytesIO:
    """The weights file, read without running code that a pickle may hold, and written anew for the package to load."""
    if not path.is_file():
        raise ConfigError(f"FID needs the Inception weights at {path}: download {WEIGHTS_URL} to there")
    if not sha256(path).startswith(CHECKSUM):
        raise ConfigError(f"{path} is not the file that FID is defined by: download it again from {WEIGHTS_URL}")
    buffer = io.BytesIO()
    torch.save(torch.load(path, map_location="cpu", weights_only=True), buffer)
    buffer.seek(0)
    return buffer
