"""Somebody who is told whether nodes answer."""

from __future__ import annotations

from attrs import define, field


@define(eq=False)
class Observer:
    """Remembers what it is told, in order: each url, and whether the node there answered."""

    told: list[tuple[str, bool]] = field(factory=list)

    def answered(self, url: str) -> None:
        self.told.append((url, True))

    def did_not_answer(self, url: str) -> None:
        self.told.append((url, False))
