"""Release the model of a finished `<profile>-scratch` run: half precision, checked against its profile.

Usage: python tools/release_weights.py toy streets joint
"""

import shutil
import sys

from gcdp.checkpoint import load_model, save_model, with_training
from gcdp.config import load_profile, repository_root
from gcdp.errors import GCDPError
from gcdp.runs import model_card

MAX_BYTES = 6 * 2**20


def release(name: str, domain: str, model: str) -> None:
    """Copy results/<name>-scratch/models/<domain>-<model> to weights/<name>-<domain>-<model> as float16."""
    profile = load_profile(f"{name}-scratch")
    source = repository_root() / "results" / profile.name / "models" / f"{domain}-{model}"
    target = repository_root() / "weights" / f"{name}-{domain}-{model}"
    unet, _, card = load_model(source, expected=model_card(profile, domain, model))
    command = f"make PROFILE={profile.name}"
    save_model(target, unet.state_dict(), with_training(card, command=command), half=True)
    shutil.copyfile(source / "curve.csv", target / "curve.csv")
    size = (target / "model.safetensors").stat().st_size
    if size > MAX_BYTES:
        raise SystemExit(f"{target} has {size} bytes: a released model may have {MAX_BYTES} at most")
    print(f"{target.relative_to(repository_root())}: {size} bytes")


if __name__ == "__main__":
    try:
        release(*sys.argv[1:])
    except GCDPError as error:
        sys.exit(f"error: {error}")
    except TypeError:
        sys.exit(__doc__)
