"""The door that publishers come in by: who may publish what, and who may take over from whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from livestream.ingest.keys import PublishKeys
from livestream.ingest.takeovers import Takeovers
from livestream.media.errors import UnsupportedCodec
from livestream.metrics import Metrics
from livestream.model.names import APP, InvalidName, stream_name
from livestream.net.address_limits import WrongKeys
from livestream.net.log_summary import LogSummary
from livestream.net.rtmp.connection import RtmpConnection
from livestream.net.rtmp.requests import PublishRequest, Refused

SILENT_S = 3.0
"""A publisher that sent no media for so long is taken for lost, and anyone who may publish the stream may follow it."""
LEAVES_S = 0.5
"""
Another ingest whose publisher has just left is given so long to say so: an encoder that goes from one to the next may
be here before that one has read the end of its connection.
"""
GUESSES = (
    "{count} tries to publish refused in the last {seconds} s, such as one of {address}, for {limit} wrong keys before"
)
COUNTED_BYTES = 65_536
"""So many bytes are counted at once, for each count takes a lock."""


class Broadcaster(Protocol):
    """The broadcast that a publisher feeds."""

    def media(self, type_id: int, timestamp_ms: int, body: bytes) -> int:
        """
        Take a message of media, and return how many steps of work that was beside the usual.

        :raises UnsupportedCodec: it can never be served; the words are for the broadcaster.
        """

    def left(self, reason: str) -> None:
        """The publisher has gone, and may come back."""


class BroadcastRegistry(Protocol):
    """Where broadcasts live."""

    def resume_or_start(self, stream: str) -> Broadcaster:
        """
        The broadcast of ``stream``, for a new publisher: the one that waits for its publisher's return, or a new one.

        :raises Refused: no more broadcasts are taken.
        """


@define(eq=False)
class Publisher:
    """One connected publisher (a ``PublishSink``)."""

    stream: str
    connection: RtmpConnection
    _broadcast: Broadcaster
    _door: PublishDoor
    last_media: float
    _replaced: bool = field(default=False, init=False)
    _uncounted_bytes: int = field(default=0, init=False)

    log: ClassVar[Logger] = Logger()

    def media(self, type_id: int, timestamp_ms: int, body: bytes) -> int:
        self.last_media = self._door.clock.seconds()
        self._uncounted_bytes += len(body)
        if self._uncounted_bytes >= COUNTED_BYTES:
            self._count()
        try:
            return self._broadcast.media(type_id, timestamp_ms, body)
        except UnsupportedCodec as error:
            self.connection.refuse("NetStream.Publish.Rejected", str(error))
            return 0

    def data(self, timestamp_ms: int, name: str, values: Sequence[object]) -> None:
        """Nothing that a publisher says about its media is believed: all is read from the media."""

    def lost(self, reason: str) -> None:
        self._count()
        self._door.metrics.publish_ends.labels(reason="replaced" if self._replaced else "left").inc()
        if not self._replaced:
            self._door.gone(self)
            self._broadcast.left(reason)

    def _count(self) -> None:
        self._door.metrics.ingest_bytes.inc(self._uncounted_bytes)
        self._uncounted_bytes = 0

    def replace(self, where: str = "") -> None:
        """Give the stream up to another connection of the same broadcaster."""
        self._replaced = True
        self._broadcast.left("replaced by a new connection")
        self.connection.close(f"replaced by a new connection of the same publisher{where}")


class OtherIngests(Protocol):
    """Where else streams are being published."""

    def holder(self, stream: str) -> str:
        """The id of another ingest that has a publisher of the stream at present; empty when none has."""

    def when_free(self, stream: str) -> Deferred[None]:
        """Fires when none has; it can be cancelled."""


class NoOtherIngests:
    """This is the only one (an `OtherIngests`)."""

    def holder(self, stream: str) -> str:
        return ""

    def when_free(self, stream: str) -> Deferred[None]:
        return succeed(None)


@define(eq=False)
class PublishDoor:
    """Decides who may publish (the ``Publishing`` of an RTMP port)."""

    keys: PublishKeys
    stage: BroadcastRegistry
    clock: IReactorTime
    metrics: Metrics
    limit: int
    takeovers: Takeovers
    elsewhere: OtherIngests = field(factory=NoOtherIngests)
    wrong_keys: WrongKeys = field(factory=WrongKeys)
    _guesses: LogSummary = field(init=False)
    _closed: str = field(default="", init=False)
    _publishers: dict[str, Publisher] = field(factory=dict, init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._guesses = LogSummary(self.log, GUESSES, self.clock)

    async def publish(self, request: PublishRequest, connection: RtmpConnection) -> Publisher:
        """
        Let a publisher in, at once, or after `LEAVES_S` at most where another ingest seems to have the stream.

        :raises Refused: in words that the broadcaster's program shows.
        """
        try:
            stream = self._stream(request)
            await self._may_be_free(stream)
            publisher = self._admit(stream, connection)
        except Refused:
            self.metrics.publishers.labels(outcome="refused").inc()
            raise
        self.metrics.publishers.labels(outcome="accepted").inc()
        return publisher

    @property
    def publishing(self) -> int:
        """How many publishers are here."""
        return len(self._publishers)

    def shut(self, reason: str) -> None:
        """Refuse whoever comes from here on, in these words; those who are here go on."""
        self._closed = reason

    def send_away(self) -> None:
        """End every publisher's connection; their broadcasts are not over."""
        for publisher in list(self._publishers.values()):
            publisher.connection.close(self._closed)

    def superseded(self, stream: str, node: str) -> None:
        """The publisher of a stream has come back to another ingest, and the connection here is no longer its own."""
        publisher = self._publishers.pop(stream, None)
        if publisher is not None:
            publisher.replace(f", at {node or 'another ingest'}")

    def gone(self, publisher: Publisher) -> None:
        """Forget a publisher whose connection has ended."""
        if self._publishers.get(publisher.stream) is publisher:
            del self._publishers[publisher.stream]

    async def _may_be_free(self, stream: str) -> None:
        """Wait for another ingest to say that its publisher has left, if the newcomer would be refused for that one."""
        if self._may_take_over(stream) or stream in self._publishers:
            return
        try:
            await self.elsewhere.when_free(stream).addTimeout(LEAVES_S, self.clock)
        except TimeoutError:
            return

    def _admit(self, stream: str, connection: RtmpConnection) -> Publisher:
        if self._closed:
            raise Refused("NetStream.Publish.Rejected", self._closed)
        present = self._publishers.get(stream)
        if present is None and len(self._publishers) >= self.limit:
            raise Refused("NetStream.Publish.Rejected", f"this server takes {self.limit} broadcasts, and has them")
        if present is not None:
            if self.clock.seconds() - present.last_media <= SILENT_S:
                self._check_takeover(stream)
            self.takeovers.count(stream)
            present.replace()
        elif holder := self.elsewhere.holder(stream):
            self._check_takeover(stream, where=f" at {holder}")
        publisher = Publisher(stream, connection, self.stage.resume_or_start(stream), self, self.clock.seconds())
        self._publishers[stream] = publisher
        return publisher

    def _stream(self, request: PublishRequest) -> str:
        """
        The stream that a publisher may publish.

        :raises Refused: it may not. Nothing that it typed is quoted, for this is logged: until a key has been proven,
            any part of the URL may be a key.
        """
        if self._closed:
            raise Refused("NetStream.Publish.Rejected", self._closed)
        if request.app != APP:
            words = f"another application than {APP}: publish to rtmp://HOST/{APP}, the stream key is STREAM?key=SECRET"
            raise Refused("NetStream.Publish.Rejected", words)
        try:
            stream = stream_name(request.name)
        except InvalidName as error:
            raise Refused("NetStream.Publish.BadName", str(error)) from None
        self._check_tries(request.address)
        if not self.keys.admits(stream, request.query.get("key", "")):
            self.wrong_keys.add(request.address, self.clock.seconds())
            raise Refused("NetStream.Publish.Denied", "wrong or missing key: publish STREAM?key=SECRET")
        return stream

    def _check_tries(self, address: str) -> None:
        """
        Make sure that nobody tries keys until one is right.

        :raises Refused: the address has tried too many; nothing is said of the key that it tries now.
        """
        if self.wrong_keys.are_too_many(address, self.clock.seconds()):
            self._guesses.note(address=address, limit=str(self.wrong_keys.limit))
            words = "too many wrong keys from your address: try again in a minute"
            raise Refused("NetStream.Publish.Denied", words, "refused_publishes_per_address")

    def _may_take_over(self, stream: str) -> bool:
        return bool(self.keys.secrets) and not self.takeovers.are_too_many(stream)

    def _check_takeover(self, stream: str, where: str = "") -> None:
        """
        Make sure that a stream may be taken over from a publisher who is there.

        :raises Refused: the newcomer is not the present publisher come back, as a proven key proves.
        """
        if not self.keys.secrets:
            raise Refused("NetStream.Publish.BadName", f"{stream} is being published already{where}")
        if self.takeovers.are_too_many(stream):
            raise Refused("NetStream.Publish.BadName", f"{stream}: two encoders fight over this name; stop one of them")
