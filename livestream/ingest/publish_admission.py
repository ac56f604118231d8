"""Admission of publishers, whatever they speak: who may publish what, and who may take over from whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from livestream.ingest.keys import PublishKeys
from livestream.ingest.takeovers import Takeovers
from livestream.media.errors import UnsupportedCodec
from livestream.metrics import Metrics
from livestream.model.admission import PublishRequest, Reason, Refusal
from livestream.model.names import InvalidName, stream_name
from livestream.net.address_limits import WrongKeys
from livestream.net.log_summary import LogSummary

SILENT_S = 3.0
"""A publisher that has sent no media for so long is taken for lost: whoever may publish the stream replaces it."""
RELEASE_S = 0.5
"""
How long to wait for another ingest to announce that its publisher has left: an encoder that moves from one to the next
may be here before that one has read the end of its connection.
"""
WRONG_KEYS = (
    "{count} attempts to publish refused in the last {seconds} s, such as one from {address}, after {limit} wrong keys"
)
COUNTED_BYTES = 65_536
"""So many bytes are counted at once, for each count takes a lock."""


class PublisherConnection(Protocol):
    """A publisher's connection, whatever it speaks."""

    def close(self, reason: str) -> None:
        """End the connection. Its publisher is then `Publisher.lost`."""

    def refuse(self, refusal: Refusal) -> None:
        """Send the publisher a refusal, and end the connection."""

    def warn(self, text: str) -> None:
        """Tell the publisher that something of its media is not served; it continues."""


class PublishedBroadcast(Protocol):
    """The broadcast that a publisher feeds."""

    def media(self, type_id: int, timestamp_ms: int, body: bytes) -> int:
        """
        Take a media message, and return how many steps of work it took beyond the usual.

        :raises UnsupportedCodec: it can never be served; the message is for the publisher.
        """

    def left(self, reason: str, *, is_over: bool = False) -> None:
        """The publisher has left, and may come back; with ``is_over`` it has said that it ends the broadcast."""


class BroadcastRegistry(Protocol):
    """All broadcasts of a node."""

    def resume_or_start(self, stream: str, warn: Callable[[str], None]) -> PublishedBroadcast:
        """
        The broadcast of ``stream`` for a new publisher: one that waits for its publisher's return, or a new one.

        ``warn`` tells the publisher what of its media is not served.
        """


@define(eq=False)
class Publisher:
    """One admitted publisher: its connection gives it media messages, and calls :meth:`lost` once."""

    stream: str
    connection: PublisherConnection
    _broadcast: PublishedBroadcast
    _admission: PublishAdmission
    last_media: float
    _replaced: bool = field(default=False, init=False)
    _uncounted_bytes: int = field(default=0, init=False)

    log: ClassVar[Logger] = Logger()

    def media(self, type_id: int, timestamp_ms: int, body: bytes) -> int:
        self.last_media = self._admission.clock.seconds()
        self._uncounted_bytes += len(body)
        if self._uncounted_bytes >= COUNTED_BYTES:
            self._count()
        try:
            return self._broadcast.media(type_id, timestamp_ms, body)
        except UnsupportedCodec as error:
            self.connection.refuse(Refusal(Reason.UNSUPPORTED, str(error)))
            return 0

    def data(self, timestamp_ms: int, name: str, values: Sequence[object]) -> None:
        """Ignored: everything is read from the media itself, whatever its publisher claims."""

    def lost(self, reason: str, *, is_over: bool = False) -> None:
        self._count()
        self._admission.metrics.publish_ends.labels(reason="replaced" if self._replaced else "left").inc()
        if not self._replaced:
            self._admission.remove(self)
            self._broadcast.left(reason, is_over=is_over)

    def _count(self) -> None:
        self._admission.metrics.ingest_bytes.inc(self._uncounted_bytes)
        self._uncounted_bytes = 0

    def replace(self, where: str = "") -> None:
        """Give the stream up to another connection of the same publisher."""
        self._replaced = True
        self._broadcast.left("replaced by a new connection")
        self.connection.close(f"replaced by a new connection of the same publisher{where}")


class OtherIngests(Protocol):
    """What is published at other ingests."""

    def holder(self, stream: str) -> str:
        """The id of another ingest that has a publisher of the stream now; empty when none has."""

    def when_free(self, stream: str) -> Deferred[None]:
        """Fires when none has; it can be cancelled."""


class NoOtherIngests:
    """The `OtherIngests` of an ingest that is the only one."""

    def holder(self, stream: str) -> str:
        return ""

    def when_free(self, stream: str) -> Deferred[None]:
        return succeed(None)


@define(eq=False)
class PublishAdmission:
    """
    Decides who may publish.

    At most ``limit`` publishers are admitted, which ``takeovers`` and ``wrong_keys`` bound further: for each stream and
    for each address.
    """

    keys: PublishKeys
    broadcasts: BroadcastRegistry
    clock: IReactorTime
    metrics: Metrics
    limit: int
    takeovers: Takeovers
    other_ingests: OtherIngests = field(factory=NoOtherIngests)
    wrong_keys: WrongKeys = field(factory=WrongKeys)
    _wrong_keys_log: LogSummary = field(init=False)
    _draining: str = field(default="", init=False)
    _publishers: dict[str, Publisher] = field(factory=dict, init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._wrong_keys_log = LogSummary(self.log, WRONG_KEYS, self.clock)

    async def admit(self, request: PublishRequest, connection: PublisherConnection) -> Publisher:
        """
        Admit a publisher: at once, or within `RELEASE_S` if another ingest seems to have the stream.

        :raises Refusal: it may not publish.
        """
        try:
            stream = self._stream(request)
            await self._wait_until_free(stream)
            publisher = self._enter(stream, connection)
        except Refusal:
            self.count_refused()
            raise
        self.metrics.publishers.labels(outcome="accepted").inc()
        return publisher

    def count_refused(self) -> None:
        """Count a publisher that was refused: here, or by its protocol before it asked."""
        self.metrics.publishers.labels(outcome="refused").inc()

    @property
    def publishing(self) -> int:
        """How many publishers are connected."""
        return len(self._publishers)

    def drain(self, message: str) -> None:
        """Refuse new publishers with this message; those who are connected go on."""
        self._draining = message

    def disconnect_all(self) -> None:
        """End every publisher's connection; their broadcasts are not over."""
        for publisher in list(self._publishers.values()):
            publisher.connection.close(self._draining)

    def superseded(self, stream: str, node: str) -> None:
        """The publisher of a stream is connected to another ingest by now: close its connection here."""
        publisher = self._publishers.pop(stream, None)
        if publisher is not None:
            publisher.replace(f", at {node or 'another ingest'}")

    def remove(self, publisher: Publisher) -> None:
        """Remove a publisher whose connection has ended."""
        if self._publishers.get(publisher.stream) is publisher:
            del self._publishers[publisher.stream]

    async def _wait_until_free(self, stream: str) -> None:
        """Wait for another ingest to release the stream, if the new publisher would be refused for that one."""
        if self._may_take_over(stream) or stream in self._publishers:
            return
        try:
            await self.other_ingests.when_free(stream).addTimeout(RELEASE_S, self.clock)
        except TimeoutError:
            return

    def _enter(self, stream: str, connection: PublisherConnection) -> Publisher:
        self._check_draining()
        present = self._publishers.get(stream)
        if present is None and len(self._publishers) >= self.limit:
            message = f"this server has reached its limit of {self.limit} broadcasts"
            raise Refusal(Reason.TOO_MANY_STREAMS, message)
        if present is not None:
            if self.clock.seconds() - present.last_media <= SILENT_S:
                self._check_takeover(stream)
            self.takeovers.count(stream)
            present.replace()
        elif holder := self.other_ingests.holder(stream):
            self._check_takeover(stream, where=f" at {holder}")
        broadcast = self.broadcasts.resume_or_start(stream, connection.warn)
        publisher = Publisher(stream, connection, broadcast, self, self.clock.seconds())
        self._publishers[stream] = publisher
        return publisher

    def _stream(self, request: PublishRequest) -> str:
        """
        The stream that a publisher may publish.

        :raises Refusal: it may not publish. The message quotes nothing of the request, for it is logged: any part of
            the URL may be a key until one has been verified.
        """
        self._check_draining()
        try:
            stream = stream_name(request.stream)
        except InvalidName as error:
            raise Refusal(Reason.INVALID_NAME, str(error)) from None
        self._check_tries(request.address)
        if not self.keys.admits(stream, request.query.get("key", "")):
            self.wrong_keys.add(request.address, self.clock.seconds())
            raise Refusal(Reason.WRONG_KEY, "wrong or missing key: publish STREAM?key=SECRET")
        return stream

    def _check_draining(self) -> None:
        if self._draining:
            raise Refusal(Reason.DRAINING, self._draining)

    def _check_tries(self, address: str) -> None:
        """
        Make sure that nobody tries keys until one is right.

        :raises Refusal: the address has tried too many, whether or not the key that it has now is right.
        """
        if self.wrong_keys.are_too_many(address, self.clock.seconds()):
            self._wrong_keys_log.note(address=address, limit=str(self.wrong_keys.limit))
            message = "too many wrong keys from your address: try again in a minute"
            raise Refusal(Reason.TOO_MANY_TRIES, message, "refused_publishes_per_address")

    def _may_take_over(self, stream: str) -> bool:
        return bool(self.keys.secrets) and not self.takeovers.are_too_many(stream)

    def _check_takeover(self, stream: str, where: str = "") -> None:
        """
        Make sure that a stream may be taken over from a publisher that is connected.

        :raises Refusal: no key has shown that the new publisher is that one, which has reconnected; or it happens too
            often.
        """
        if not self.keys.secrets:
            raise Refusal(Reason.IN_USE, f"{stream} is already being published{where}")
        if self.takeovers.are_too_many(stream):
            raise Refusal(Reason.IN_USE, f"{stream}: two encoders compete for this name; stop one of them")
