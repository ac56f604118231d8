"""
What a node answers to others over HTTP when an ingest claims a stream (see `livestream.ingest.claims`).

``POST /take/STREAM?epoch=EPOCH`` is answered with how far the stream had come, with 409 and the younger epoch, or with
503 by a node that does not know. ``POST /taken/STREAM?epoch=EPOCH`` tells an ingest whose numbers are refused why.
Both are signed with the cluster's secret (`livestream.signing`); without one there are no claims over HTTP.

``GET /epochs`` is answered with the streams that a node has, each with the number of its epoch. It is what relays ask
whose stream is silent, signed or not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import define

from livestream.bus.announcements import encode_epochs, encode_position
from livestream.bus.interface import TemporarilyUnavailable
from livestream.bus.known_streams import KnownStreams
from livestream.ingest.broadcasts import Broadcasts
from livestream.ingest.publish_admission import PublishAdmission
from livestream.model.segments import StreamPosition, Superseded
from livestream.signing import Credentials


class Answering(Protocol):
    """What a role answers to those who take streams."""

    def take(self, stream: str, epoch: int) -> Mapping[str, Any]:
        """
        How far a stream has come, as what becomes JSON.

        :raises Superseded: a younger epoch is known.
        :raises TemporarilyUnavailable: this node does not know.
        """

    def taken(self, stream: str, epoch: int) -> None:
        """The stream was taken."""

    def epochs(self) -> Mapping[str, int]:
        """The streams that this node has, each with the number of its epoch."""


@define(eq=False)
class IngestAnswers:
    """Fences an ingest's own broadcasts."""

    broadcasts: Broadcasts
    admission: PublishAdmission
    position: Callable[[str], StreamPosition]

    def take(self, stream: str, epoch: int) -> Mapping[str, Any]:
        was_live = self.broadcasts.fence(stream, epoch)
        self.admission.superseded(stream, "")
        return {**encode_position(self.position(stream)), "live": was_live}

    def taken(self, stream: str, epoch: int) -> None:
        self.broadcasts.suspend(stream, epoch)

    def epochs(self) -> Mapping[str, int]:
        return self.broadcasts.epochs()


@define(eq=False)
class OriginAnswers:
    """Promises to take no older numbers."""

    known_streams: KnownStreams

    def take(self, stream: str, epoch: int) -> Mapping[str, Any]:
        return encode_position(self.known_streams.promise(stream, epoch))

    def taken(self, stream: str, epoch: int) -> None:
        """An origin gives no numbers."""

    def epochs(self) -> Mapping[str, int]:
        return {window.stream: window.epoch for window in self.known_streams.windows() if window.is_live}


@define(eq=False)
class TakeRequests:
    """Answers the requests of other nodes (`livestream.hls.routes.Takes`)."""

    credentials: Credentials
    answering: Answering

    def epochs(self) -> bytes:
        return encode_epochs(self.answering.epochs())

    def answer(self, kind: str, stream: str, epoch: str, signature: str) -> tuple[str, bytes]:
        if self.credentials.signer(signature) is None:
            return "403 Forbidden", b""
        if not epoch.isdigit() or len(epoch) > 16:
            return "400 Bad Request", b""
        if kind == "taken":
            self.answering.taken(stream, int(epoch))
            return "200 OK", b"{}"
        try:
            return "200 OK", _json(self.answering.take(stream, int(epoch)))
        except Superseded as error:
            return "409 Conflict", _json(encode_position(StreamPosition(error.epoch)))
        except TemporarilyUnavailable:
            return "503 Service Unavailable", b""


def _json(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode("ascii")
