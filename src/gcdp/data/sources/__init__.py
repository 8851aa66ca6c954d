"""Pairs of an image and its layout: class tables, sources, stores, captions.

Nothing in this package knows diffusion; a source is any object with

* ``classes``: a :class:`gcdp.data.classes.ClassTable`
* ``splits()``: names of the splits that exist
* ``keys(split)``: sorted names of the pairs of a split
* ``load(split, key)``: the RGB Pillow image and the uint8 layout (H, W) of train ids
* ``captions(split, key)``: captions that came with the pair, or None

A source that knows attributes ("eyeglasses", "smiling") has two members more, the others have neither:

* ``attribute_table``: a :class:`gcdp.data.attributes.AttributeTable`
* ``attributes(split, key)``: a tuple of 0 and 1 in the order of that table

A source that draws its pairs has ``version``: a fingerprint of the code that draws them.
"""

from __future__ import annotations

from pathlib import Path

from gcdp.errors import ConfigError

SOURCES = ("cityscapes", "celeba", "folder")


def open_source(kind: str, root: str | Path):
    """Open the dataset at ``root``; ``kind`` is one of ``SOURCES``.

    Generated street scenes are written in the Cityscapes tree and open as ``"cityscapes"``, generated faces
    in the tree of CelebAMask-HQ and open as ``"celeba"``.
    Raises ConfigError for an unknown kind, DataError for a missing or malformed root.
    """
    if kind == "cityscapes":
        from gcdp.data.sources.cityscapes import CityscapesSource

        return CityscapesSource(root)
    if kind == "celeba":
        from gcdp.data.sources.celeba import CelebASource

        return CelebASource(root)
    if kind == "folder":
        from gcdp.data.sources.folder import FolderSource

        return FolderSource(root)
    raise ConfigError(f"unknown source kind {kind!r}: use one of {', '.join(SOURCES)}.")
