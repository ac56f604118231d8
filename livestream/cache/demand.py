"""Which renditions viewers ask for."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

FORGOTTEN_S = 60.0


@define(eq=False)
class Demand:
    """When each rendition was last asked for. ``seconds`` is the wall clock."""

    seconds: Callable[[], float]
    _asked: dict[tuple[str, str], float] = field(factory=dict, init=False)

    def note(self, stream: str, rendition: str) -> None:
        """Someone asks for an object of a rendition, one that is known to exist."""
        self._asked[stream, rendition] = self.seconds()

    def is_watched(self, stream: str, rendition: str, within_s: float) -> bool:
        """Whether anyone asked in the last ``within_s`` seconds."""
        asked = self._asked.get((stream, rendition))
        return asked is not None and self.seconds() - asked <= within_s

    def sweep(self) -> None:
        """Forget renditions that nobody asks for any more."""
        oldest = self.seconds() - FORGOTTEN_S
        self._asked = {rendition: asked for rendition, asked in self._asked.items() if asked >= oldest}
