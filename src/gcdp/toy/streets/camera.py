"""The camera of a street scene. Lengths in the world are centimeters, those of the canvas design units."""

from __future__ import annotations

from dataclasses import dataclass

from gcdp.toy.drawing import Point

WIDTH = 512  # design units of the canvas, twice its height


@dataclass(frozen=True)
class Camera:
    """Pinhole camera: vanishing point (vx, hy), focal length in design units, eye height in cm."""

    vx: int
    hy: int
    focal: int
    eye: int

    def at(self, x: int, y: int, z: int) -> Point:
        """Canvas point of the world point x (right of the camera), y (above ground), z (ahead)."""
        return self.vx + self.focal * x // z, self.hy + self.focal * (self.eye - y) // z

    def span(self, length: int, z: int) -> int:
        """Design units, at least 1, covered by `length` cm at distance z."""
        return max(1, self.focal * length // z)
