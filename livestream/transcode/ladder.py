"""Which renditions a source gets, and their bit rates."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

_KBPS = {1080: 4_500, 720: 2_500, 480: 1_200, 360: 700}


@frozen
class Rung:
    """A rendition of ``height`` lines, with its name in playlists; its width follows from the source's aspect ratio."""

    name: str
    height: int
    video_kbps: int


def ladder_for(height: int, heights: Sequence[int]) -> tuple[Rung, ...]:
    """The rungs of ``heights`` below a source of ``height`` lines, highest first."""
    below = sorted({rung for rung in heights if 0 < rung < height}, reverse=True)
    return tuple(Rung(f"{rung}p", rung, _kbps(rung)) for rung in below)


def _kbps(height: int) -> int:
    """A typical bit rate; for an uncommon height, scaled by pixels from the nearest common one."""
    nearest = min(_KBPS, key=lambda usual: abs(usual - height))
    return max(_KBPS[nearest] * height**2 // nearest**2, 100)
