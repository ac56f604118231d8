"""
The child that transcodes one broadcast: commands on its standard input, frames on its standard output.

It is a process of its own because codecs are native code that strangers feed; it dies with its parent, and has of the
machine what `livestream.transcode.sandbox` leaves it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator

from attrs import define, field

from livestream.model import Frame, Track
from livestream.transcode.coding import Pictures, Sounds
from livestream.transcode.commands import Done, Flush, Produced, Records, Setup, Source, encode
from livestream.transcode.sandbox import confine

PIPE_BYTES = 256 << 10
MEMORY_BYTES = 4 << 30
NICENESS = 5
_PR_SET_PDEATHSIG = 1


@define(eq=False)
class Worker:
    """Answers commands; whatever a frame gives comes before its :class:`Done`."""

    _pictures: Pictures | None = field(default=None, init=False)
    _sounds: Sounds = field(factory=Sounds, init=False)

    def obey(self, command: object) -> Iterator[Produced | Done]:
        match command:
            case Setup(preset, rungs):
                if self._pictures is None:
                    self._pictures = Pictures(preset, rungs)
                else:
                    yield from self._pictures.keep(rungs)
            case Source(frame, is_cut):
                yield from self._take(frame, is_cut)
                yield Done()
            case Flush():
                if self._pictures is not None:
                    yield from self._pictures.flush()
                yield from self._sounds.flush()
                yield Done(flushed=True)

    def _take(self, frame: Frame, is_cut: bool) -> Iterator[Produced]:
        if frame.track is Track.AUDIO:
            yield from self._sounds.take(frame)
        elif self._pictures is not None:
            yield from self._pictures.take(frame, is_cut)


def main() -> None:
    """Work until the input ends."""
    _die_with(os.getppid())
    os.nice(NICENESS)
    unfiltered = confine(MEMORY_BYTES)
    if unfiltered:
        print(f"there is no filter of system calls: {unfiltered}", file=sys.stderr)
    records, worker = Records(), Worker()
    while data := os.read(0, PIPE_BYTES):
        for command in records.receive(data):
            answer = b"".join(encode(part) for part in worker.obey(command))
            while answer:
                answer = answer[os.write(1, answer) :]


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    main()
