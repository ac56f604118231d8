"""Which renditions viewers ask for."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

KEPT_S = 60.0
"""For so long it is remembered that a rendition was asked for."""


@define(eq=False)
class Demand:
    """When each rendition was last asked for. ``seconds`` is the wall clock."""

    seconds: Callable[[], float]
    _asked_at: dict[tuple[str, str], float] = field(factory=dict, init=False)

    def note(self, stream: str, rendition: str) -> None:
        """An object of a rendition, one that is known to exist, is asked for."""
        self._asked_at[stream, rendition] = self.seconds()

    def is_watched(self, stream: str, rendition: str, within_s: float) -> bool:
        """Whether anyone asked in the last ``within_s`` seconds."""
        asked_at = self._asked_at.get((stream, rendition))
        return asked_at is not None and self.seconds() - asked_at <= within_s

    def expire(self) -> None:
        """Remove the renditions that nobody has asked for lately."""
        oldest = self.seconds() - KEPT_S
        self._asked_at = {rendition: asked_at for rendition, asked_at in self._asked_at.items() if asked_at >= oldest}
