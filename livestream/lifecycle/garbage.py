"""
When Python's garbage collector looks: never at what there is for good, and seldom where it would look long.

Most objects go with the last that refers to them. What is left to the collector are cycles, above all those of requests
that Twisted's parser serves, some twenty objects each. On a node of hundreds of streams it finds next to nothing among
half a million frames and segments, and nothing else is done meanwhile.
"""

from __future__ import annotations

import gc
import sys

from attrs import define, field

COLLECT_AFTER = 50_000, 20
"""
The collector looks by itself when so many more objects came than went, and after so many looks again at what it left.
On an ingest of 500 streams some 10,000 come and go at any time: at that number it would look four times a second, and
take a sixth of all time. While 500 streams begin, it looks sixteen times, for some 50 ms each.
"""
LOOK_S = 10.0
LITTLE_BLOCKS = 100_000
"""A node that has no more than this, in blocks of memory, is looked through within ten milliseconds."""


@define(eq=False)
class Garbage:
    """The collector, from when the process has started."""

    _blocks_at_start: int = field(default=0, init=False)

    def begin(self) -> None:
        """What there is now stays for good."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)
        self._blocks_at_start = sys.getallocatedblocks()

    def look(self) -> None:
        """
        To be called every `LOOK_S` seconds: look through a node that has little.

        By itself the collector would wait for half an hour there, and for a megabyte.
        """
        if sys.getallocatedblocks() - self._blocks_at_start <= LITTLE_BLOCKS:
            gc.collect()
