"""
The child that transcodes one broadcast: commands on its standard input, frames on its standard output.

It is a process of its own because codecs are native code that processes untrusted media; it dies with its parent, and
is confined by `livestream.transcode.sandbox`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

from attrs import define, field

from livestream.media.pictures import PictureFormat
from livestream.model.frames import Frame, Track
from livestream.transcode.coding import AudioTranscoder, VideoTranscoder
from livestream.transcode.commands import (
    Command,
    Done,
    Flush,
    OutOfMemory,
    Produced,
    RecordReader,
    Refused,
    Setup,
    Source,
    encode,
)
from livestream.transcode.memory import MAX_BYTES, needed_bytes
from livestream.transcode.sandbox import be_nice, confine, die_with, free_memory, grant_memory, granted_memory

PIPE_BYTES = 256 << 10
SCARCE_BYTES = 64 << 20
"""With less memory free, any error counts as out of memory: x264 and thread creation raise other errors for it."""


@define(eq=False)
class Worker:
    """
    Executes commands; what a frame produces comes before its :class:`Done`.

    ``grant`` is called with the bytes of memory that are needed from now on.
    """

    grant: Callable[[int], None]
    _setup: Setup = field(default=Setup("", ()), init=False)
    _granted_bytes: int = field(default=0, init=False)
    _video: VideoTranscoder | None = field(default=None, init=False)
    _audio: AudioTranscoder = field(factory=AudioTranscoder, init=False)

    def execute(self, command: object) -> Iterator[Command]:
        match command:
            case Setup(preset, rungs):
                if self._video is None:
                    self._setup = command
                    self._video = VideoTranscoder(preset, rungs, self._grant)
                    self._grant(None)
                else:
                    yield from self._video.keep(rungs)
            case Source(frame, cut_ms):
                yield from self._transcode(frame, cut_ms)
                yield Done()
            case Flush():
                if self._video is not None:
                    yield from self._video.flush()
                yield from self._audio.flush()
                yield Done(flushed=True)

    def _grant(self, pictures: PictureFormat | None) -> None:
        """Raise the memory limit if needed. It is never lowered, since not all memory is freed."""
        needed = needed_bytes(pictures, self._setup.rungs, self._setup.preset)
        if needed > self._granted_bytes:
            self._granted_bytes = needed
            self.grant(needed)

    def _transcode(self, frame: Frame, cut_ms: int | None) -> Iterator[Produced | Refused]:
        if frame.track is Track.AUDIO:
            yield from self._audio.transcode(frame)
        elif self._video is not None:
            yield from self._video.transcode(frame, cut_ms)


def main() -> None:
    """Confine this process, and work until the input ends."""
    die_with(os.getppid())
    be_nice()
    unfiltered = confine(MAX_BYTES, MAX_BYTES)
    if unfiltered:
        print(f"system calls are not filtered: {unfiltered}", file=sys.stderr)
    work(Worker(grant_memory))


def work(worker: Worker) -> None:
    """Execute the commands on the standard input, until it ends or memory runs out."""
    records = RecordReader()
    try:
        while data := os.read(0, PIPE_BYTES):
            for command in records.receive(data):
                _send(*worker.execute(command))
    except Exception as error:
        if not isinstance(error, MemoryError) and free_memory() > SCARCE_BYTES:
            raise
        _send(OutOfMemory(granted_memory()))
        sys.exit(1)


def _send(*commands: Command) -> None:
    data = b"".join(map(encode, commands))
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    main()
