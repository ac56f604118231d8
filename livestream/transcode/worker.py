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
from collections.abc import Callable, Iterator

from attrs import define, field

from livestream.media.pictures import PictureFormat
from livestream.model.frames import Frame, Track
from livestream.transcode.coding import Pictures, Sounds
from livestream.transcode.commands import (
    Command,
    Done,
    Flush,
    OutOfMemory,
    Produced,
    Records,
    Refused,
    Setup,
    Source,
    encode,
)
from livestream.transcode.memory import MOST_BYTES, needed_bytes
from livestream.transcode.sandbox import confine, free_memory, grant_memory, granted_memory

PIPE_BYTES = 256 << 10
SCARCE_BYTES = 64 << 20
"""With less that is free, an error is one of memory: x264 and the start of a thread have others of their own for it."""
NICENESS = 5
_PR_SET_PDEATHSIG = 1


@define(eq=False)
class Worker:
    """
    Answers commands; whatever a frame gives comes before its :class:`Done`.

    ``grant`` is called with the bytes of memory that are needed from here on.
    """

    grant: Callable[[int], None]
    _setup: Setup = field(default=Setup("", ()), init=False)
    _granted_bytes: int = field(default=0, init=False)
    _pictures: Pictures | None = field(default=None, init=False)
    _sounds: Sounds = field(factory=Sounds, init=False)

    def obey(self, command: object) -> Iterator[Command]:
        match command:
            case Setup(preset, rungs):
                if self._pictures is None:
                    self._setup = command
                    self._pictures = Pictures(preset, rungs, self._grant)
                    self._grant(None)
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

    def _grant(self, pictures: PictureFormat | None) -> None:
        """What was needed once is not taken back: it is not all free."""
        needed = needed_bytes(pictures, self._setup.rungs, self._setup.preset)
        if needed > self._granted_bytes:
            self._granted_bytes = needed
            self.grant(needed)

    def _take(self, frame: Frame, is_cut: bool) -> Iterator[Produced | Refused]:
        if frame.track is Track.AUDIO:
            yield from self._sounds.take(frame)
        elif self._pictures is not None:
            yield from self._pictures.take(frame, is_cut)


def main() -> None:
    """Work until the input ends."""
    _die_with(os.getppid())
    os.nice(NICENESS)
    unfiltered = confine(MOST_BYTES, MOST_BYTES)
    if unfiltered:
        print(f"there is no filter of system calls: {unfiltered}", file=sys.stderr)
    work(Worker(grant_memory))


def work(worker: Worker) -> None:
    """Have ``worker`` do what is asked on the standard input, until that ends, or until there is no memory left."""
    records = Records()
    try:
        while data := os.read(0, PIPE_BYTES):
            for command in records.receive(data):
                _say(*worker.obey(command))
    except Exception as error:
        if not isinstance(error, MemoryError) and free_memory() > SCARCE_BYTES:
            raise
        _say(OutOfMemory(granted_memory()))
        sys.exit(1)


def _say(*commands: Command) -> None:
    answer = b"".join(map(encode, commands))
    while answer:
        answer = answer[os.write(1, answer) :]


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    main()
