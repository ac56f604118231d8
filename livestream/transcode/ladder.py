"""Which renditions a source gets, and their bit rates."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve, frozen

from livestream.model.names import SOURCE

MIN_KBPS, MIN_LIMITED_KBPS = 100, 30
"""The least rate of a rung, and of one whose source has less itself: a still picture, or a test card."""
BELOW_SOURCE = 0.95
"""A rung is encoded at less than the rate of its source: more makes no better picture."""
MOST_OF_USUAL = 3
"""The source itself is encoded at about its own rate, up to this many times the usual one for its height."""
_KBPS = {1080: 4_500, 720: 2_500, 480: 1_200, 360: 700}


@frozen
class Rung:
    """
    A rendition of ``height`` lines, with its name in playlists; its width follows from the source's aspect ratio.

    The rung ``source`` has the size of the source, whatever that is.
    """

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
    return max(_KBPS[nearest] * height**2 // nearest**2, MIN_KBPS)


def source_rung(height: int) -> Rung:
    """The rung that takes the place of a source of ``height`` lines."""
    return Rung(SOURCE, height, _kbps(height))


def limited(rung: Rung, source_kbps: int, source_height: int) -> Rung:
    """The rung with a rate below that of its source, by the share of its pixels: fewer pixels need more bits each."""
    share = min((rung.height / source_height) ** 1.5, 1.0)
    most = rung.video_kbps * (MOST_OF_USUAL if rung.name == SOURCE else 1)
    return evolve(rung, video_kbps=max(min(most, int(source_kbps * BELOW_SOURCE * share)), MIN_LIMITED_KBPS))
