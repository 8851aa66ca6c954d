"""Release what a finished `<profile>-scratch` run trained: half precision, checked against its profile.

Usage: python tools/release_weights.py toy streets joint        a model
       python tools/release_weights.py toy streets referee      the referee of layouts
       python tools/release_weights.py toy faces attributes     the referee of attributes (alignment: of text)
       python tools/release_weights.py toy streets study        the records of the study
       python tools/release_weights.py toy faces features       the records of Fig. 8
       python tools/release_weights.py toy faces directions     the record of Fig. 9 and any_direction
       python tools/release_weights.py toy faces guidance       the record of guidance of each half
       python tools/release_weights.py toy faces strokes        the record of pictures after strokes
"""

import shutil
import sys
from pathlib import Path

from gcdp.errors import GCDPError
from gcdp.evaluation.referees.files import GUARD
from gcdp.experiments import directions_record, guidance_record, strokes_record
from gcdp.experiments.features import records_folder
from gcdp.experiments.features_grid import FeatureGrid
from gcdp.experiments.features_record import FeatureRecords
from gcdp.experiments.models import expected_card
from gcdp.experiments.profile import Profile, load_profile, repository_root
from gcdp.experiments.referees import referee_folder
from gcdp.experiments.study_record import Study
from gcdp.storage import load_tensors
from gcdp.training.checkpoint import load_model, save_model, with_training
from gcdp.weights import to_half

MAX_BYTES = 6 * 2**20


def release(name: str, domain: str, what: str) -> None:
    """Copy what results/<name>-scratch holds to weights/<name>-<domain>-<what>, tensors as float16."""
    profile = load_profile(f"{name}-scratch", domain)
    target = repository_root() / "weights" / f"{name}-{domain}-{what}"
    target.mkdir(parents=True, exist_ok=True)
    if what in ("referee", "attributes", "alignment"):
        release_referee(referee_folder(profile, domain, what.replace("referee", "")), target)
    elif what == "study":
        Study.load(repository_root() / "results" / profile.name / "study" / domain).release(target)
    elif what == "features":
        FeatureRecords.load(records_folder(profile, domain), FeatureGrid(profile, domain).identity).release(target)
    elif what == "directions":
        record = directions_record.DirectionsRecord.load(directions_record.records_folder(profile, domain))
        record.save(target)
    elif what == "guidance":
        guidance_record.GuidanceRecord.load(guidance_record.records_folder(profile, domain)).save(target)
    elif what == "strokes":
        strokes_record.StrokesRecord.load(strokes_record.records_folder(profile, domain)).save(target)
    else:
        release_model(profile, domain, what, target)
    for path in sorted(target.glob("*.safetensors*")):
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise SystemExit(f"{path} has {size} bytes: a released file may have {MAX_BYTES} at most")
        print(f"{path.relative_to(repository_root())}: {size} bytes")


def release_model(profile: Profile, domain: str, model: str, target: Path) -> None:
    """The network in half precision; whatever else lies beside it (an autoencoder, the curve) as it is."""
    source = repository_root() / "results" / profile.name / "models" / f"{domain}-{model}"
    unet, _, card = load_model(source, expected=expected_card(profile, domain, model))
    for path in source.iterdir():
        if path.suffix in (".csv", ".safetensors", ".json"):
            shutil.copyfile(path, target / path.name)
    command = f"make PROFILE={profile.name}"
    save_model(target, to_half(unet.state_dict()), with_training(card, command=command))


def release_referee(source: Path, target: Path) -> None:
    """A referee of whatever kind in half precision, and its curve."""
    card = GUARD.read(source)
    weights = load_tensors(GUARD.weights(source, card))[0]
    GUARD.save(target, to_half(weights), {key: card[key] for key in card if key not in ("hash", "sha256")})
    shutil.copyfile(source / "curve.csv", target / "curve.csv")


if __name__ == "__main__":
    try:
        release(*sys.argv[1:])
    except GCDPError as error:
        sys.exit(f"error: {error}")
    except TypeError:
        sys.exit(__doc__)
