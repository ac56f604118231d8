"""Encoders as broadcasters have them: real ffmpegs that connect again when they are cut off, and move when told to."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field

from tests.system.processes import FFMPEG, Process

FPS = 25
MEDIA_S, VARIANTS = 12, 3
LOOK_S = 0.03
RETRY_S = 0.7
LEAVE_S = 2.0
"""An encoder that is told to end, and whose server takes nothing, is killed after so long."""
GIVE_UP_S = 5
"""An encoder whose server takes nothing for so long goes on at another."""


def encoded(folder: Path, gop_s: int) -> list[Path]:
    """The media of all broadcasts: 640x360, 600 kbit/s and sound, several times in other colours."""
    return [_encoded(folder / f"media-{gop_s}-{number}.flv", gop_s, 120 * number) for number in range(VARIANTS)]


def _encoded(path: Path, gop_s: int, hue: int) -> Path:
    if not path.exists():
        source = ["-f", "lavfi", "-i", f"testsrc2=size=640x360:rate={FPS}", "-f", "lavfi", "-i", "sine=440:48000"]
        video = ["-c:v", "libx264", "-preset", "ultrafast", "-b:v", "600k", "-maxrate", "600k", "-bufsize", "600k"]
        video += [
            "-g",
            str(FPS * gop_s),
            "-sc_threshold",
            "0",
            "-bf",
            "0",
            "-pix_fmt",
            "yuv420p",
            "-vf",
            f"hue=h={hue}",
        ]
        audio = ["-c:a", "aac", "-b:a", "64k", "-ar", "48000"]
        arguments = [FFMPEG, "-loglevel", "error", "-nostdin", "-y", *source, *video, *audio]
        subprocess.run([*arguments, "-t", str(MEDIA_S), str(path)], check=True)
    return path


@define(eq=False)
class Encoder:
    """
    Publishes one stream to one of several servers, by name.

    Each time it publishes one of its media, so that segments of one number from two servers seldom are alike.
    """

    name: str
    media: Sequence[Path]
    urls: Mapping[str, str]
    folder: Path
    dice: random.Random
    place: str = ""
    starts: int = field(default=0, init=False)
    _process: Process | None = field(default=None, init=False)
    _leaving: list[tuple[Process, float]] = field(factory=list, init=False)
    _started_s: float = field(default=0.0, init=False)
    _lock: threading.RLock = field(factory=threading.RLock, init=False)

    @contextmanager
    def running(self) -> Iterator[Encoder]:
        """Supervise it; it does not publish before ``publish``."""
        stop = threading.Event()
        thread = threading.Thread(target=self._supervise, args=(stop,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join(LEAVE_S)
            self.stop()
            for process, _ in self._leaving:
                process.stop()

    def publish(self, place: str) -> None:
        """Publish there from now on, with no pause between if it publishes already."""
        with self._lock:
            self.stop()
            self._start(place)

    def stop(self) -> None:
        """Publish no more: half of the times in good order, else cut off."""
        with self._lock:
            process, self._process = self._process, None
            if process is not None:
                process.child.send_signal(self.dice.choice((signal.SIGTERM, signal.SIGKILL)))
                self._leaving.append((process, time.monotonic()))

    def other_places(self) -> Sequence[str]:
        return [place for place in self.urls if place != self.place] or list(self.urls)

    def _start(self, place: str) -> None:
        self.place, self.starts, self._started_s = place, self.starts + 1, time.monotonic()
        source = ["-re", "-stream_loop", "-1", "-i", str(self.dice.choice(self.media)), "-c", "copy"]
        target = ["-rw_timeout", str(GIVE_UP_S * 1_000_000), "-f", "flv", self.urls[place]]
        arguments = [FFMPEG, "-nostdin", "-loglevel", "warning", *source, *target]
        self._process = Process(arguments, self.folder / f"encoder-{self.name}.log")
        self._process.start()

    def _supervise(self, stop: threading.Event) -> None:
        while not stop.wait(LOOK_S):
            with self._lock:
                self._reap()
                process = self._process
                is_cut_off = process is not None and process.child.poll() is not None
                if process is not None and is_cut_off and time.monotonic() > self._started_s + RETRY_S:
                    process.stop()
                    self._start(self.dice.choice(self.other_places()))

    def _reap(self) -> None:
        now = time.monotonic()
        for leaving in list(self._leaving):
            process, since_s = leaving
            if process.child.poll() is not None or now > since_s + LEAVE_S:
                process.stop()
                self._leaving.remove(leaving)
