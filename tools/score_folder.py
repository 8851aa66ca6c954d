"""Score a folder of images made elsewhere, by the same referee and measures as every model.

Usage: python tools/score_folder.py PROFILE DOMAIN FOLDER [--unconditional]

The folder holds images, captions.jsonl or captions.txt, and perhaps layouts/ (see gcdp.generators.external); its name
becomes the name of the row in Fig. 6 and Table 1. `04_evaluators` must have run for the profile.
"""

import sys
from pathlib import Path

from gcdp.errors import GCDPError
from gcdp.experiments.profile import load_profile
from gcdp.experiments.sweep import score_folder


def main(name: str, domain: str, folder: str, option: str = "") -> None:
    """Write results/<profile>/metrics/evaluation/<domain>/<name of the folder>.json."""
    if option not in ("", "--unconditional"):
        raise SystemExit(__doc__)
    profile = load_profile(name, domain)
    record = score_folder(profile, domain, Path(folder), unconditional=bool(option))
    path = record.save(profile.results_folder("metrics"))
    print(f"{path}: {record.n} images; run the stages fig6_recall_tradeoff and table1_image_layout_generation again")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except GCDPError as error:
        sys.exit(f"error: {error}")
    except TypeError:
        sys.exit(__doc__)
