"""What generators made of two networks, used one after the other, have in common."""

from __future__ import annotations

from dataclasses import replace

from gcdp.training.checkpoint import ModelCard


class Composed:
    """Two networks of one domain; the last one draws what is scored."""

    known_halves: tuple[str, ...] = ()  # see `Pipeline.known_halves`

    def __init__(self, first, last):
        self._first, self._last = first, last

    @property
    def classes(self):
        """The class table of the layouts."""
        return self._last.classes

    @property
    def dtype(self) -> str:
        """What the networks compute in."""
        return "+".join(dict.fromkeys((self._first.dtype, self._last.dtype)))

    @property
    def card(self) -> ModelCard:
        """The card of the last network, with the training steps of both."""
        training, first = self._last.card.training, self._first.card.training
        return replace(
            self._last.card, training={**training, "steps": training.get("steps", 0) + first.get("steps", 0)}
        )
