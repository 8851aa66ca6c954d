"""The drawn worlds by the name that a profile gives as the source of a domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gcdp.toy.faces.world import generate as generate_faces
from gcdp.toy.on_the_fly import DrawnFaces, DrawnStreets
from gcdp.toy.streets.world import generate as generate_streets


@dataclass(frozen=True)
class World:
    """A drawn world.

    Args:
        generate: ``generate(root, counts, seed)`` writes its tree of files.
        reader: the kind of source (`gcdp.data.sources.open_source`) that reads this tree.
        drawn: ``drawn(count)`` is a source of further pairs, drawn on the fly.
    """

    generate: Callable[..., None]
    reader: str
    drawn: type


WORLDS = {
    "toy_streets": World(generate_streets, "cityscapes", DrawnStreets),
    "toy_faces": World(generate_faces, "celeba", DrawnFaces),
}
