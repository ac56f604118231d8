"""
Announcements and stream states as JSON, the one schema of the bus, the snapshots and the tier above's answers.

What a stranger could have written is read strictly: anything out of place is an :class:`InvalidMessage`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from math import isfinite
from typing import Any

from livestream.model import (
    Announcement,
    InvalidName,
    ObjectInfo,
    RenditionInfo,
    Segment,
    SegmentAnnounced,
    StreamEnded,
    node_name,
    rendition_name,
    stream_name,
)
from livestream.packaging.window import RenditionState, StreamState

VERSION = 1
LARGEST_BYTES = 16 << 10
LARGEST_STATE_BYTES = 1 << 20
_MOST = 1 << 53
_OBJECT = re.compile(r"[0-9]{1,16}-(?:init-)?[0-9]{1,16}\.(?:m4s|mp4)")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CODECS = re.compile(r"[A-Za-z0-9.,]{1,128}")


class InvalidMessage(ValueError):
    """A message that no node of ours wrote; the message says what is wrong with it."""


def encode(announcement: Announcement) -> bytes:
    """An announcement as JSON."""
    fields: dict[str, Any] = {"v": VERSION, "stream": announcement.stream, "epoch": announcement.epoch}
    if isinstance(announcement, StreamEnded):
        fields["ended"] = announcement.last_msn
    else:
        fields |= {
            "target": announcement.target_s,
            "rendition": _info(announcement.info),
            "segment": _segment(announcement.segment),
            **_said_by(announcement.node),
        }
    return _text(fields)


def decode(data: bytes) -> Announcement:
    """
    Read an announcement.

    :raises InvalidMessage: it does not follow the schema.
    """
    fields = _fields(data, LARGEST_BYTES)
    stream, epoch = _stream(fields), _number(fields, "epoch")
    if "ended" in fields:
        return StreamEnded(stream, epoch, _number(fields, "ended"))
    info = _read_info(_mapping(fields, "rendition"))
    segment = _read_segment(_mapping(fields, "segment"), _target(fields))
    return SegmentAnnounced(stream, epoch, _target(fields), info, segment, _node(fields))


def encode_state(state: StreamState) -> bytes:
    """A stream's state as JSON."""
    return _text(state_fields(state))


def state_fields(state: StreamState) -> dict[str, Any]:
    """A stream's state as what becomes JSON."""
    renditions = [{**_info(r.info), "segments": [_segment(s) for s in r.segments]} for r in state.renditions]
    return {
        "v": VERSION,
        "stream": state.stream,
        "epoch": state.epoch,
        "target": state.target_s,
        "since": state.since_msn,
        "is_ended": state.is_ended,
        "renditions": renditions,
        **_said_by(state.node),
    }


def decode_state(data: bytes) -> StreamState:
    """
    Read a stream's state.

    :raises InvalidMessage: it does not follow the schema.
    """
    return read_state(_fields(data, LARGEST_STATE_BYTES))


def read_state(fields: Mapping[str, Any]) -> StreamState:
    """
    Read a stream's state from what JSON became.

    :raises InvalidMessage: it does not follow the schema.
    """
    target_s = _target(fields)
    renditions = []
    for each in _list(fields, "renditions"):
        segments = tuple(_read_segment(segment, target_s) for segment in _list(each, "segments"))
        if any(after.msn <= before.msn for before, after in pairwise(segments)):
            raise InvalidMessage("segments: not in order")
        renditions.append(RenditionState(_read_info(each), segments))
    is_ended = fields.get("is_ended") is True
    epoch, since_msn = _number(fields, "epoch"), _number(fields, "since")
    return StreamState(_stream(fields), epoch, target_s, is_ended, tuple(renditions), since_msn, _node(fields))


def _text(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


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


def _fields(data: bytes, most: int) -> Mapping[str, Any]:
    if len(data) > most:
        raise InvalidMessage(f"{len(data)} bytes")
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidMessage("not JSON") from None
    if not isinstance(fields, dict) or fields.get("v") != VERSION:
        raise InvalidMessage("v: not a version that is known here")
    return fields


def _stream(fields: Mapping[str, Any]) -> str:
    return _name(fields.get("stream"), stream_name)


def _said_by(node: str) -> dict[str, str]:
    return {"node": node} if node else {}


def _node(fields: Mapping[str, Any]) -> str:
    """Who says it; those who have no name, and those of before there were any, do not."""
    return _name(fields.get("node", ""), node_name)


def _name(value: object, check: Any) -> str:
    try:
        return str(check(value))
    except (InvalidName, TypeError) as error:
        raise InvalidMessage(str(error)) from None


def _number(fields: Mapping[str, Any], key: str, most: int = _MOST) -> int:
    value = fields.get(key)
    if type(value) is not int or not 0 <= value <= most:
        raise InvalidMessage(f"{key}: not a whole number from 0 to {most}")
    return value


def _mapping(fields: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = fields.get(key)
    if not isinstance(value, dict):
        raise InvalidMessage(f"{key}: missing")
    return value


def _list(fields: object, key: str) -> list[Any]:
    value = fields.get(key) if isinstance(fields, dict) else None
    if not isinstance(value, list) or len(value) > 4096:
        raise InvalidMessage(f"{key}: no list")
    return value


def _target(fields: Mapping[str, Any]) -> int:
    return _number(fields, "target", 60)


def _read_info(fields: Mapping[str, Any]) -> RenditionInfo:
    codecs, rate = fields.get("codecs"), fields.get("rate")
    if not isinstance(codecs, str) or _CODECS.fullmatch(codecs) is None:
        raise InvalidMessage("codecs: not a list of codecs")
    if not isinstance(rate, int | float) or not isfinite(rate) or not 0 <= rate <= 1000:
        raise InvalidMessage("rate: not a frame rate")
    name = _name(fields.get("name"), rendition_name)
    bandwidth, average = _number(fields, "bandwidth"), _number(fields, "average")
    size = _number(fields, "width", 65535), _number(fields, "height", 65535)
    return RenditionInfo(name, codecs, bandwidth, average, *size, float(rate))


def _read_segment(fields: object, target_s: int) -> Segment:
    if not isinstance(fields, dict):
        raise InvalidMessage("segment: missing")
    duration_ms = _number(fields, "ms", target_s * 1000 + 499)
    media, init = _read_object(fields, "media"), _read_object(fields, "init")
    msn, discontinuity, at = (_number(fields, key) for key in ("msn", "disc", "at"))
    return Segment(msn, discontinuity, at, duration_ms, media, init, fields.get("key") is True)


def _read_object(fields: Mapping[str, Any], key: str) -> ObjectInfo | None:
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 3:
        raise InvalidMessage(f"{key}: not name, size and digest")
    name, size, digest = value
    if not isinstance(name, str) or _OBJECT.fullmatch(name) is None:
        raise InvalidMessage(f"{key}: not an object's name")
    if type(size) is not int or not 0 < size <= 64 << 20:
        raise InvalidMessage(f"{key}: not a size")
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        raise InvalidMessage(f"{key}: not a digest")
    return ObjectInfo(name, size, digest)


def decode_states(data: bytes) -> list[StreamState]:
    """
    Read the tier above's answer: one stream's state, or those of all its streams.

    :raises InvalidMessage: it does not follow the schema.
    """
    fields = _fields(data, 16 << 20)
    if "streams" in fields:
        return [read_state(each) for each in _list(fields, "streams")]
    return [read_state(fields)]
