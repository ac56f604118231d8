"""
Announcements as JSON: the schema of the bus, of the logs in Redis, and of a tier's answers to the tier downstream.

Decoding is strict, since an untrusted peer may have written the message: anything malformed is an `InvalidMessage`.
Unknown kinds and fields come from a later version, and are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from livestream.model.names import INIT, SEGMENT, InvalidName, node_name, rendition_name, stream_name
from livestream.model.segments import (
    SDR,
    VIDEO_RANGES,
    Announcement,
    Epoch,
    EpochBegan,
    ObjectInfo,
    PublisherChange,
    RenditionInfo,
    Segment,
    SegmentAnnounced,
    StreamEnded,
    StreamPosition,
)

VERSION = 2
MAX_MESSAGE_BYTES = 16 << 10
MAX_DOCUMENT_BYTES = 16 << 20
_MAX_NUMBER = 1 << 53
_LATEST_MS = 250_000_000_000_000
"""The last dates with a year of four digits, which a playlist needs."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CODECS = re.compile(r"[A-Za-z0-9.,]{1,128}")


class InvalidMessage(ValueError):
    """The message does not follow the schema; the error says why."""


class UnknownKind(InvalidMessage):
    """The message is of a kind that this version does not know."""


def encode(announcement: Announcement) -> bytes:
    """Encode an announcement as one line of JSON."""
    epoch = announcement.epoch
    fields: dict[str, Any] = {
        "v": VERSION,
        "stream": announcement.stream,
        "epoch": epoch.number,
        "first": epoch.first_msn,
    }
    if epoch.restarts_list:
        fields["restarts"] = True
    if announcement.node:
        fields["node"] = announcement.node
    if isinstance(announcement, SegmentAnnounced):
        fields["kind"] = "segment"
        fields["target"] = announcement.target_s
        fields["rendition"] = _info(announcement.info)
        fields["segment"] = _segment(announcement.segment)
    elif isinstance(announcement, StreamEnded):
        fields["kind"], fields["last"] = "ended", announcement.last_msn
    else:
        fields["kind"] = "began"
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


def decode(data: bytes) -> Announcement:
    """
    Decode an announcement.

    :raises UnknownKind: this version does not know its kind.
    :raises InvalidMessage: it does not follow the schema.
    """
    fields = _fields(data)
    kind, stream, node = fields.get("kind"), _name(fields.get("stream"), stream_name), _node(fields)
    epoch = Epoch(_number(fields, "epoch"), _number(fields, "first"), fields.get("restarts") is True)
    if kind == "segment":
        target_s = _number(fields, "target", 60, 1)
        info = _read_info(_mapping(fields, "rendition"))
        segment = _read_segment(_mapping(fields, "segment"), target_s)
        return SegmentAnnounced(stream, epoch, target_s, info, segment, node)
    if kind == "ended":
        return StreamEnded(stream, epoch, _number(fields, "last"), node)
    if kind == "began":
        return EpochBegan(stream, epoch, node)
    raise UnknownKind("kind: unknown")


def encode_document(announcements: Iterable[Announcement]) -> bytes:
    """Encode the announcements of one stream or of many, one per line."""
    return b"\n".join(map(encode, announcements))


def decode_document(data: bytes) -> list[Announcement]:
    """
    Decode the announcements of streams, ignoring those of an unknown kind.

    :raises InvalidMessage: it does not follow the schema.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise InvalidMessage(f"{len(data)} bytes")
    announcements = []
    for line in data.splitlines():
        try:
            announcements.append(decode(line))
        except UnknownKind:
            continue
    return announcements


def encode_change(change: PublisherChange) -> bytes:
    """Encode the arrival or departure of a publisher as one line of JSON."""
    fields = {
        "v": VERSION,
        "stream": change.stream,
        "epoch": change.epoch,
        "count": change.count,
        "here": change.is_here,
        "last": change.last_msn,
        "node": change.node,
    }
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


def decode_change(data: bytes) -> PublisherChange:
    """
    Decode the arrival or departure of a publisher.

    :raises InvalidMessage: it does not follow the schema.
    """
    fields = _fields(data)
    stream, node = _name(fields.get("stream"), stream_name), _node(fields)
    epoch, count, last_msn = _number(fields, "epoch"), _number(fields, "count"), _number(fields, "last")
    return PublisherChange(stream, epoch, count, fields.get("here") is not False, last_msn, node)


def encode_position(position: StreamPosition) -> dict[str, Any]:
    """A stream's position as JSON fields."""
    return {
        "v": VERSION,
        "epoch": position.epoch,
        "msn": position.msn,
        "disc": position.discontinuity,
        "ends": position.ends_at_ms,
        "target": position.target_s,
        "ended": position.is_ended,
    }


def decode_position(data: bytes) -> tuple[StreamPosition, Mapping[str, Any]]:
    """
    Decode a stream's position; return it with all fields of the message.

    :raises InvalidMessage: it does not follow the schema.
    """
    fields = _fields(data)
    epoch, msn, discontinuity = _number(fields, "epoch"), _number(fields, "msn"), _number(fields, "disc")
    ends_at_ms, target_s = _number(fields, "ends", _LATEST_MS), _number(fields, "target", 60)
    return StreamPosition(epoch, msn, discontinuity, ends_at_ms, target_s, fields.get("ended") is True), fields


def encode_epochs(epochs: Mapping[str, int]) -> bytes:
    """Encode the streams that a node has, each with the number of its epoch."""
    return json.dumps({"v": VERSION, "epochs": dict(epochs)}, separators=(",", ":")).encode("ascii")


def decode_epochs(data: bytes) -> Mapping[str, int]:
    """
    Decode the streams that a node has.

    :raises InvalidMessage: it does not follow the schema.
    """
    epochs = _mapping(_fields(data, MAX_DOCUMENT_BYTES), "epochs")
    return {_name(stream, stream_name): _number(epochs, stream) for stream in epochs}


def _info(info: RenditionInfo) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": info.name,
        "codecs": info.codecs,
        "bandwidth": info.bandwidth,
        "average": info.average_bandwidth,
        "width": info.width,
        "height": info.height,
        "rate": info.frame_rate,
    }
    if info.video_range != SDR:
        fields["range"] = info.video_range
    return fields


def _segment(segment: Segment) -> dict[str, Any]:
    fields = {
        "msn": segment.msn,
        "disc": segment.discontinuity,
        "at": segment.starts_at_ms,
        "ms": segment.duration_ms,
        "media": _object(segment.media),
        "init": _object(segment.init),
        "key": segment.independent,
    }
    if segment.is_absence:
        fields["away"] = True
    return fields


def _object(info: ObjectInfo | None) -> list[Any] | None:
    return None if info is None else [info.name, info.size, info.digest]


def _fields(data: bytes, max_bytes: int = MAX_MESSAGE_BYTES) -> Mapping[str, Any]:
    if len(data) > max_bytes:
        raise InvalidMessage(f"{len(data)} bytes")
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidMessage("not JSON") from None
    if not isinstance(fields, dict) or fields.get("v") != VERSION or type(fields["v"]) is not int:
        raise InvalidMessage("v: unknown version")
    return fields


def _node(fields: Mapping[str, Any]) -> str:
    """The sender's id, which may be empty."""
    return _name(fields.get("node", ""), node_name)


def _name(value: object, check: Any) -> str:
    try:
        return str(check(value))
    except (InvalidName, TypeError) as error:
        raise InvalidMessage(str(error)) from None


def _number(fields: Mapping[str, Any], key: str, maximum: int = _MAX_NUMBER, minimum: int = 0) -> int:
    value = fields.get(key)
    if type(value) is not int or not minimum <= value <= maximum:
        raise InvalidMessage(f"{key}: not an integer from {minimum} to {maximum}")
    return value


def _mapping(fields: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = fields.get(key)
    if not isinstance(value, dict):
        raise InvalidMessage(f"{key}: missing")
    return value


def _read_info(fields: Mapping[str, Any]) -> RenditionInfo:
    codecs, rate, video_range = fields.get("codecs"), fields.get("rate"), fields.get("range", SDR)
    if not isinstance(codecs, str) or _CODECS.fullmatch(codecs) is None:
        raise InvalidMessage("codecs: not a list of codecs")
    if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 <= rate <= 1000:
        raise InvalidMessage("rate: not a frame rate")
    if video_range not in VIDEO_RANGES:
        raise InvalidMessage("range: not a dynamic range")
    name = _name(fields.get("name"), rendition_name)
    bandwidth, average = _number(fields, "bandwidth"), _number(fields, "average")
    size = _number(fields, "width", 65535), _number(fields, "height", 65535)
    return RenditionInfo(name, codecs, bandwidth, average, *size, float(rate), video_range)


def _read_segment(fields: object, target_s: int) -> Segment:
    if not isinstance(fields, dict):
        raise InvalidMessage("segment: missing")
    duration_ms = _number(fields, "ms", target_s * 1000 + 499)
    media, init = _read_object(fields, "media", SEGMENT), _read_object(fields, "init", INIT)
    msn, discontinuity, at_ms = _number(fields, "msn"), _number(fields, "disc"), _number(fields, "at", _LATEST_MS)
    is_independent, is_absence = fields.get("key") is True, fields.get("away") is True
    return Segment(msn, discontinuity, at_ms, duration_ms, media, init, is_independent, is_absence)


def _read_object(fields: Mapping[str, Any], key: str, pattern: str) -> ObjectInfo | None:
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 3:
        raise InvalidMessage(f"{key}: not name, size and digest")
    name, size, digest = value
    if not isinstance(name, str) or re.fullmatch(pattern, name) is None:
        raise InvalidMessage(f"{key}: not an object's name")
    if type(size) is not int or not 0 < size <= 64 << 20:
        raise InvalidMessage(f"{key}: not a size")
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        raise InvalidMessage(f"{key}: not a digest")
    return ObjectInfo(name, size, digest)
