"""
The viewers of one stream who speak one protocol: each tick is joined once, and the same bytes go to every socket.

The loops over the sockets are the hottest of all. One ``write`` to the socket per viewer and tick costs less than half
of what the transport's own queue does, and ``sendfile`` from a memory file, which saves the copy to each socket, a
third less again. A memory file is made for each tick and never written twice: what was sent of it may still be in
flight. Only a viewer's descriptor is looked at: asking every transport whether it has bytes of its own cost
a twelfth of all, so a connection that writes some calls :meth:`Fanout.wrote`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from fcntl import F_SETFL, fcntl
from typing import ClassVar

from attrs import define, field, frozen
from prometheus_client import Counter
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel

from livestream.metrics import Metrics
from livestream.model.frames import Frame, Track
from livestream.net.log_summary import LogSummary
from livestream.push.framing import Framing
from livestream.push.tick_batch import Batch, is_video_frame
from livestream.push.viewer import Viewer

MANY = 4
"""With so many viewers or more, a memory file costs less than the copies that it saves."""

STALLED = "{count} viewers disconnected in the last {seconds} s after reading nothing for {stall_s} s"
Behind = tuple[int, int]
"""A file descriptor, and how much of the data its socket took."""


@frozen
class Start:
    """What a new viewer gets first: the stream's metadata, and the frames from the last key frame on."""

    metadata: bytes
    frames: Sequence[Frame]

    @property
    def has_video(self) -> bool:
        return any(frame.track is Track.VIDEO for frame in self.frames)

    @property
    def is_decodable(self) -> bool:
        """Whether a decoder that has these frames can decode those that follow."""
        return not self.has_video or any(frame.is_key and is_video_frame(frame) for frame in self.frames)


@define(eq=False)
class Fanout:
    """
    Sends what was added since the last tick. Ticks lie on a fixed grid of ``tick_s``; 0: the end of the reactor's turn.

    A new viewer begins at a tick too, so that all who come in one are given the same bytes. ``start`` returns what
    they get: everything up to and with the last frame that was added.
    """

    framing: Framing
    tick_s: float
    start: Callable[[], Start]
    clock: IReactorTime
    metrics: Metrics
    _pending: list[Frame] = field(factory=list, init=False)
    _newcomers: list[Viewer] = field(factory=list, init=False)
    _viewers: set[Viewer] = field(factory=set, init=False)
    _flowing: dict[int, Viewer] = field(factory=dict, init=False)
    _waiting: set[Viewer] = field(factory=set, init=False)
    _on_key_frame: list[Callable[[], None]] = field(factory=list, init=False)
    _due: float = field(default=0.0, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)
    _bytes: Counter = field(init=False)
    _stalled: LogSummary = field(init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._stalled = LogSummary(self.log, STALLED, self.clock, LogLevel.info)
        self._bytes = self.metrics.push_bytes.labels(self.framing.protocol)

    def __len__(self) -> int:
        return len(self._viewers)

    def attach(self, viewer: Viewer) -> None:
        """Add a viewer, who begins at the next tick."""
        viewer.flows, viewer.count = self._flow, self._bytes.inc
        self._viewers.add(viewer)
        self._newcomers.append(viewer)
        self._schedule()

    def detach(self, viewer: Viewer) -> None:
        """Remove a viewer; must be called before its file descriptor can be reused."""
        if viewer in self._viewers:
            self._remove(viewer)
            viewer.stop()
            viewer.backlog.clear()

    def wrote(self, viewer: Viewer) -> None:
        """
        The viewer's connection has just written a message of its own, which has to go before the next batch.

        Must be called in the same turn of the reactor.
        """
        if viewer.descriptor is not None:
            self._queue_rest(viewer, b"")

    def after_key_frame(self, action: Callable[[], None]) -> None:
        """Call ``action`` when the next key frame has been sent to the viewers."""
        self._on_key_frame.append(action)

    def pause(self, viewer: Viewer) -> None:
        """Send a viewer no more than what has been begun."""
        viewer.is_paused = True
        self._stop_flow(viewer)
        self._waiting.discard(viewer)
        if viewer in self._newcomers:
            self._newcomers.remove(viewer)
        viewer.backlog.clear()

    def resume(self, viewer: Viewer) -> None:
        """Go on with the next key frame, so that its time line does not go back."""
        viewer.is_paused = False
        if not viewer.has_begun:
            self._newcomers.append(viewer)
            self._schedule()
            return
        start = self.start()
        viewer.backlog.is_skipping = start.has_video
        viewer.backlog.queue_config(start.frames)
        self._waiting.add(viewer)

    def add(self, frame: Frame) -> None:
        """Send a frame at the next tick."""
        self._pending.append(frame)
        if self._call is None:
            self._schedule()

    def finish(self) -> None:
        """Send what is left, and end the broadcast for every viewer."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._tick()
        for viewer in list(self._viewers):
            self._remove(viewer)
            viewer.finish()
            viewer.connection.over()

    def close_stalled(self, stall_s: float) -> None:
        """Close every viewer, paused or not, whose connection has had unsent bytes for ``stall_s``."""
        now = self.clock.seconds()
        for viewer in [each for each in self._viewers if each.descriptor is None]:
            if not viewer.is_blocked:
                viewer.blocked_since = None
            elif viewer.blocked_since is None:
                viewer.blocked_since = now
            elif now - viewer.blocked_since >= stall_s:
                self._stalled.note(stall_s=f"{stall_s:g}")
                self.metrics.push_closed.inc()
                self.metrics.limit_hit("stall")
                self._abort(viewer)

    def cut(self) -> None:
        """Abort every viewer's connection: the broadcast goes on elsewhere."""
        for viewer in list(self._viewers):
            self._abort(viewer)

    def _remove(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)
        self._waiting.discard(viewer)
        if viewer in self._newcomers:
            self._newcomers.remove(viewer)
        self._stop_flow(viewer)

    def _schedule(self) -> None:
        if self._call is None:
            now = self.clock.seconds()
            delay = self.tick_s - now % self.tick_s if self.tick_s else 0.0
            self._due = now + delay
            self._call = self.clock.callLater(delay, self._on_time)

    def _on_time(self) -> None:
        self._call = None
        now = self.clock.seconds()
        if self.tick_s and now - self._due >= self.tick_s:
            self.metrics.push_late.inc()
        self._tick()

    def _tick(self) -> None:
        frames, self._pending = self._pending, []
        if frames and len(self._viewers) > len(self._newcomers):
            self._send(Batch(frames, self.framing.join))
        if self._newcomers:
            self._begin_newcomers()

    def _send(self, batch: Batch) -> None:
        waiting = list(self._waiting)
        if self._flowing:
            self._send_direct(batch)
        for viewer in waiting:
            self._give(viewer, batch)
        oldest = batch.frames[0].arrived
        if oldest:
            self.metrics.push_delay.observe(max(0.0, self.clock.seconds() - oldest))
        if batch.has_key_frame and self._on_key_frame:
            self._run_key_frame_actions()

    def _run_key_frame_actions(self) -> None:
        """Run the actions that wait for a key frame. One that fails does not affect the others."""
        actions, self._on_key_frame = self._on_key_frame, []
        for action in actions:
            try:
                action()
            except Exception:
                self.log.failure("an action after a key frame failed")

    def _send_direct(self, batch: Batch) -> None:
        """Write to every socket directly, and queue the rest for those that did not take all of it."""
        data, count = batch.data, len(self._flowing)
        behind, broken = write_to_all(data, self._flowing)
        self._bytes.inc(len(data) * (count - len(behind) - len(broken)) + sum(sent for _, sent in behind))
        for descriptor in broken:
            self._abort(self._flowing[descriptor])
        for descriptor, sent in behind:
            self._queue_rest(self._flowing[descriptor], data[sent:])

    def _queue_rest(self, viewer: Viewer, rest: bytes) -> None:
        self._stop_flow(viewer)
        self._waiting.add(viewer)
        viewer.send_rest(rest)

    def _give(self, viewer: Viewer, batch: Batch) -> None:
        skipped = viewer.give(batch)
        if skipped:
            self.metrics.push_skipped.inc(skipped)

    def _begin_newcomers(self) -> None:
        start = self.start()
        if not start.frames:
            return
        newcomers, self._newcomers = self._newcomers, []
        data = self.framing.begin(start.metadata, start.frames)
        for viewer in newcomers:
            viewer.backlog.is_skipping = not start.is_decodable
            self._waiting.add(viewer)
            viewer.begin(data)

    def _flow(self, viewer: Viewer) -> None:
        """The viewer has caught up: write to its socket directly from now on."""
        if viewer in self._viewers and viewer.direct is not None and not viewer.is_paused:
            self._waiting.discard(viewer)
            viewer.descriptor = viewer.direct.descriptor
            self._flowing[viewer.descriptor] = viewer

    def _stop_flow(self, viewer: Viewer) -> None:
        if viewer.descriptor is not None:
            del self._flowing[viewer.descriptor]
            viewer.descriptor = None

    def _abort(self, viewer: Viewer) -> None:
        self.detach(viewer)
        viewer.transport.abortConnection()


def write_to_all(data: bytes, sockets: Collection[int]) -> tuple[list[Behind], list[int]]:
    """Write ``data`` to every socket; return those that took less than all of it, and those that are broken."""
    if len(sockets) < MANY:
        return _write_bytes(data, sockets)
    try:
        memory = os.memfd_create("push", os.MFD_CLOEXEC)
    except OSError:  # out of descriptors
        return _write_bytes(data, sockets)
    try:
        fcntl(memory, F_SETFL, os.O_NOATIME)
        written = 0
        while written < len(data):
            written += os.write(memory, memoryview(data)[written:])
        return _send_file(memory, len(data), sockets)
    finally:
        os.close(memory)


def _send_file(memory: int, size: int, sockets: Iterable[int]) -> tuple[list[Behind], list[int]]:
    behind: list[Behind] = []
    broken: list[int] = []
    sendfile = os.sendfile
    for descriptor in sockets:
        try:
            sent = sendfile(descriptor, memory, 0, size)
        except BlockingIOError:
            sent = 0
        except OSError:
            broken.append(descriptor)
            continue
        if sent != size:
            behind.append((descriptor, sent))
    return behind, broken


def _write_bytes(data: bytes, sockets: Iterable[int]) -> tuple[list[Behind], list[int]]:
    behind: list[Behind] = []
    broken: list[int] = []
    for descriptor in sockets:
        try:
            sent = os.write(descriptor, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            broken.append(descriptor)
            continue
        if sent != len(data):
            behind.append((descriptor, sent))
    return behind, broken
