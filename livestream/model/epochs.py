"""
The numbers of epochs: Unix milliseconds times `WRITERS`, plus a number that identifies the writer.

So two nodes that claim a stream at once have different numbers, and of two epochs the higher number is the younger.
"""

from __future__ import annotations

WRITERS = 1000


def epoch_number(seconds: float, writer: int) -> int:
    """The number of an epoch that ``writer``, below `WRITERS`, begins at the Unix time ``seconds``."""
    return int(seconds * 1000) * WRITERS + writer


def later_epoch(wanted: int, known: int) -> int:
    """``wanted``, or, if ``known`` is not below it, the next number of the same writer."""
    return wanted if wanted > known else (known // WRITERS + 1) * WRITERS + wanted % WRITERS
