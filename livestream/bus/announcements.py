"""
Announcements as JSON: the one schema of the bus, of the logs in Redis, and of what a tier answers to the one below.

What an untrusted peer could have written is read strictly: anything out of place is an `InvalidMessage`. Kinds and
fields that are not known here are those of a later version, and are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from livestream.model.names import INIT, SEGMENT, InvalidName, node_name, rendition_name, stream_name
from livestream.model.segments import (
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
LARGEST_BYTES = 16 << 10
LARGEST_DOCUMENT_BYTES = 16 << 20
_MOST = 1 << 53
_LATEST_MS = 250_000_000_000_000
"""A date must have a year of four digits, in a playlist too."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CODECS = re.compile(r"[A-Za-z0-9.,]{1,128}")


class InvalidMessage(ValueError):
    """A message that no node of ours wrote; it says what is wrong."""


class UnknownKind(InvalidMessage):
    """A message of a kind that is not known here, as those of a later version may be."""


def encode(announcement: Announcement) -> bytes:
    """An announcement as JSON, in one line."""
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
    Read an announcement.

    :raises UnknownKind: it is of a kind that is not known here.
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
    raise UnknownKind("kind: none that is known here")


def encode_document(announcements: Iterable[Announcement]) -> bytes:
    """What is known of one stream or of many, a line for each announcement."""
    return b"\n".join(map(encode, announcements))


def decode_document(data: bytes) -> list[Announcement]:
    """
    Read what is known of streams; what is of an unknown kind is left out.

    :raises InvalidMessage: it does not follow the schema.
    """
    if len(data) > LARGEST_DOCUMENT_BYTES:
        raise InvalidMessage(f"{len(data)} bytes")
    announcements = []
    for line in data.splitlines():
        try:
            announcements.append(decode(line))
        except UnknownKind:
            continue
    return announcements


def encode_change(change: PublisherChange) -> bytes:
    """That a publisher has come or left, as JSON, in one line."""
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
    Read that a publisher has come or left.

    :raises InvalidMessage: it does not follow the schema.
    """
    fields = _fields(data)
    stream, node = _name(fields.get("stream"), stream_name), _node(fields)
    epoch, count, last_msn = _number(fields, "epoch"), _number(fields, "count"), _number(fields, "last")
    return PublisherChange(stream, epoch, count, fields.get("here") is not False, last_msn, node)


def encode_position(position: StreamPosition) -> dict[str, Any]:
    """How far a stream has come, as what becomes JSON."""
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
    Read how far a stream has come, and what was said beside that.

    :raises InvalidMessage: it does not follow the schema.
    """
    fields = _fields(data)
    epoch, msn, discontinuity = _number(fields, "epoch"), _number(fields, "msn"), _number(fields, "disc")
    ends_at_ms, target_s = _number(fields, "ends", _LATEST_MS), _number(fields, "target", 60)
    return StreamPosition(epoch, msn, discontinuity, ends_at_ms, target_s, fields.get("ended") is True), fields


def encode_epochs(epochs: Mapping[str, int]) -> bytes:
    """Which streams a node has, each with the number of its epoch."""
    return json.dumps({"v": VERSION, "epochs": dict(epochs)}, separators=(",", ":")).encode("ascii")


def decode_epochs(data: bytes) -> Mapping[str, int]:
    """
    Read which streams a node has.

    :raises InvalidMessage: it does not follow the schema.
    """
    epochs = _mapping(_fields(data, LARGEST_DOCUMENT_BYTES), "epochs")
    return {_name(stream, stream_name): _number(epochs, stream) for stream in epochs}


def _info(info: RenditionInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "codecs": info.codecs,
        "bandwidth": info.bandwidth,
        "average": info.average_bandwidth,
        "width": info.width,
        "height": info.height,
        "rate": info.frame_rate,
    }


def _segment(segment: Segment) -> dict[str, Any]:
    return {
        "msn": segment.msn,
        "disc": segment.discontinuity,
        "at": segment.starts_at_ms,
        "ms": segment.duration_ms,
        "media": _object(segment.media),
        "init": _object(segment.init),
        "key": segment.independent,
    }


def _object(info: ObjectInfo | None) -> list[Any] | None:
    return None if info is None else [info.name, info.size, info.digest]


def _fields(data: bytes, most_bytes: int = LARGEST_BYTES) -> Mapping[str, Any]:
    if len(data) > most_bytes:
        raise InvalidMessage(f"{len(data)} bytes")
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidMessage("not JSON") from None
    if not isinstance(fields, dict) or fields.get("v") != VERSION or type(fields["v"]) is not int:
        raise InvalidMessage("v: not a version that is known here")
    return fields


def _node(fields: Mapping[str, Any]) -> str:
    """Who says it; nodes may have no name."""
    return _name(fields.get("node", ""), node_name)


def _name(value: object, check: Any) -> str:
    try:
        return str(check(value))
    except (InvalidName, TypeError) as error:
        raise InvalidMessage(str(error)) from None


def _number(fields: Mapping[str, Any], key: str, most: int = _MOST, least: int = 0) -> int:
    value = fields.get(key)
    if type(value) is not int or not least <= value <= most:
        raise InvalidMessage(f"{key}: not a whole number from {least} to {most}")
    return value


def _mapping(fields: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = fields.get(key)
    if not isinstance(value, dict):
        raise InvalidMessage(f"{key}: missing")
    return value


def _read_info(fields: Mapping[str, Any]) -> RenditionInfo:
    codecs, rate = fields.get("codecs"), fields.get("rate")
    if not isinstance(codecs, str) or _CODECS.fullmatch(codecs) is None:
        raise InvalidMessage("codecs: not a list of codecs")
    if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 <= rate <= 1000:
        raise InvalidMessage("rate: not a frame rate")
    name = _name(fields.get("name"), rendition_name)
    bandwidth, average = _number(fields, "bandwidth"), _number(fields, "average")
    size = _number(fields, "width", 65535), _number(fields, "height", 65535)
    return RenditionInfo(name, codecs, bandwidth, average, *size, float(rate))


def _read_segment(fields: object, target_s: int) -> Segment:
    if not isinstance(fields, dict):
        raise InvalidMessage("segment: missing")
    duration_ms = _number(fields, "ms", target_s * 1000 + 499)
    media, init = _read_object(fields, "media", SEGMENT), _read_object(fields, "init", INIT)
    msn, discontinuity, at_ms = _number(fields, "msn"), _number(fields, "disc"), _number(fields, "at", _LATEST_MS)
    return Segment(msn, discontinuity, at_ms, duration_ms, media, init, fields.get("key") is True)


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
