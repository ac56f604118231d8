"""
What nodes tell each other: one message a second from each, as JSON with a signature before it.

A message is ``SIGNATURE JSON``; the signature is the HMAC-SHA256 of the JSON under the cluster's secret, in hex digits.
Whoever has no secret can write none, and what was written is read strictly all the same: a node that is broken must
not break the others.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, NoReturn

from attrs import field, frozen

from livestream.config import ROLES
from livestream.model.names import InvalidName, node_name, stream_name
from livestream.steering.nodes import SAID, Load, Node, NodeState, Place
from livestream.urls import split_url

VERSION = 1
LARGEST_BYTES = 8192
MOST_STREAMS = 16
"""So many streams, those with the most viewers, are named in a message."""
MOST_ANSWERS = 64
"""So many nonces of others are repeated in a message."""
NONCE_BYTES = 8
MOST_PROTOCOLS = 16
GONE = "gone"
"""The state in a node's last message."""
_MOST = 1 << 53
_PEOPLE = 10**9
_LARGEST = 1e15
_LATEST_S = 1e11
_SIGNATURE_BYTES = 64
_STATES = [state.value for state in SAID]
_HTTP = re.compile(r"https?://[A-Za-z0-9._:\[\]-]{1,260}")
_RTMP = re.compile(r"(rtmp://[A-Za-z0-9._:\[\]-]{1,260}:[0-9]{1,5})?")
_PROTOCOL = re.compile(r"[a-z][a-z0-9_-]{0,15}")
_NONCE = re.compile(rf"[0-9a-f]{{{2 * NONCE_BYTES}}}")

RunId = tuple[str, int]
"""One run of a node's process: the node's id, and its ``boot``."""


class Fault(Enum):
    """Why a message is not taken in, as it is counted."""

    UNSIGNED = "unsigned"
    ALTERED = "altered"
    VERSION = "version"
    IMPOSSIBLE = "impossible"
    STALE = "stale"
    UNANSWERED = "unanswered"
    REPLAYED = "replayed"
    DUPLICATE = "duplicate"
    TOO_MANY = "too many"


class InvalidHeartbeat(ValueError):
    """A message that is not taken in; it says what is wrong with it."""

    def __init__(self, fault: Fault, words: str) -> None:
        super().__init__(words)
        self.fault = fault

    @classmethod
    def of(cls, fault: Fault, heartbeat: Heartbeat) -> InvalidHeartbeat:
        """A message that can be read; it is said who claims to have sent it."""
        node = heartbeat.node
        return cls(fault, f"{node.id}, {node.role} at {node.http}")


@frozen
class Heartbeat:
    """
    What a node says of itself. ``boot`` is of one run of its process, and ``sequence`` rises within it.

    ``streams`` has those with the most viewers, by name, and ``stream_count`` is how many there are in all. ``sent_at``
    is by the node's own clock, which may be wrong. With ``is_last`` the node is no more. ``nonce`` is for the others to
    repeat, if it is not empty, and ``answers`` are nonces of theirs.
    """

    node: Node
    boot: int
    sequence: int
    sent_at: float
    streams: Mapping[str, int] = field(factory=dict)
    stream_count: int = 0
    is_last: bool = False
    nonce: str = ""
    answers: tuple[str, ...] = ()

    @property
    def run(self) -> RunId:
        """The run that sent it."""
        return self.node.id, self.boot


def encode(heartbeat: Heartbeat, secret: str) -> bytes:
    """A signed message."""
    node = heartbeat.node
    fields = {
        "v": VERSION,
        "boot": heartbeat.boot,
        "sequence": heartbeat.sequence,
        "sent_at": round(heartbeat.sent_at, 3),
        "id": node.id,
        "role": node.role,
        "http": node.http,
        "rtmp": node.rtmp,
        "state": GONE if heartbeat.is_last else node.state.value,
        "region": node.region,
        "latitude": node.place and node.place.latitude,
        "longitude": node.place and node.place.longitude,
        "capacity_rps": node.capacity_rps,
        "capacity_mbps": node.capacity_mbps,
        "load": _load_fields(node.load),
        "streams": heartbeat.streams,
        "stream_count": heartbeat.stream_count,
        "nonce": heartbeat.nonce,
        "answers": heartbeat.answers,
    }
    payload = json.dumps(fields, separators=(",", ":")).encode("ascii")
    return _signature(payload, secret) + b" " + payload


def decode(data: bytes, secret: str) -> Heartbeat:
    """
    Read a message.

    :raises InvalidHeartbeat: it is not signed with ``secret``, or does not follow the schema.
    """
    fields = _fields(_payload(data, secret))
    state = fields.get("state")
    is_last = state == GONE
    return Heartbeat(
        Node(
            id=_id(fields),
            role=_one_of(fields.get("role"), ROLES, "role"),
            http=_url(fields, "http", _HTTP),
            rtmp=_url(fields, "rtmp", _RTMP),
            state=NodeState.DRAINING if is_last else _state(state),
            region=_name(fields, "region", node_name),
            place=_place(fields),
            capacity_rps=_number(fields, "capacity_rps", 0.001, _LARGEST),
            capacity_mbps=_number(fields, "capacity_mbps", 0.001, _LARGEST),
            load=_load(_mapping(fields, "load", 5)),
        ),
        boot=_whole(fields, "boot"),
        sequence=_whole(fields, "sequence"),
        sent_at=_number(fields, "sent_at", 0, _LATEST_S),
        streams=_counts(_mapping(fields, "streams", MOST_STREAMS), _is_stream),
        stream_count=_whole(fields, "stream_count"),
        is_last=is_last,
        nonce=_nonce(fields["nonce"]) if fields.get("nonce") else "",
        answers=_answers(fields.get("answers", [])),
    )


def _signature(payload: bytes, secret: str) -> bytes:
    return hmac.digest(secret.encode("utf-8"), payload, "sha256").hex().encode("ascii")


def _payload(data: bytes, secret: str) -> bytes:
    if len(data) > LARGEST_BYTES:
        raise InvalidHeartbeat(Fault.IMPOSSIBLE, f"{len(data)} bytes, and {LARGEST_BYTES} are the most")
    signature, space, payload = data.partition(b" ")
    if not space or len(signature) != _SIGNATURE_BYTES:
        raise InvalidHeartbeat(Fault.UNSIGNED, "no signature")
    if not hmac.compare_digest(signature, _signature(payload, secret)):
        raise InvalidHeartbeat(Fault.ALTERED, "another signature")
    return payload


def _fields(payload: bytes) -> Mapping[str, Any]:
    try:
        fields = _JSON.decode(payload.decode("ascii"))
    except (ValueError, RecursionError):
        _impossible("no JSON")
    if not isinstance(fields, dict):
        _impossible("no object")
    if fields.get("v") != VERSION or type(fields["v"]) is not int:
        raise InvalidHeartbeat(Fault.VERSION, f"v: {VERSION} is the version that is known here")
    return fields


def _no_number(text: str) -> float:
    """JSON has no numbers such as NaN, though Python reads them."""
    raise ValueError(text)


_JSON = json.JSONDecoder(parse_constant=_no_number)


def _impossible(words: str) -> NoReturn:
    raise InvalidHeartbeat(Fault.IMPOSSIBLE, words)


def _load_fields(load: Load) -> Mapping[str, Any]:
    return {
        "connections": load.connections,
        "requests_per_s": round(load.requests_per_s, 2),
        "bits_per_s": round(load.bits_per_s),
        "delay_ms": round(load.delay_ms, 2),
        "viewers": load.viewers,
    }


def _load(fields: Mapping[str, Any]) -> Load:
    return Load(
        connections=_whole(fields, "connections", _PEOPLE),
        requests_per_s=_number(fields, "requests_per_s", 0, _LARGEST),
        bits_per_s=_number(fields, "bits_per_s", 0, _LARGEST),
        delay_ms=_number(fields, "delay_ms", 0, _LARGEST),
        viewers=_counts(_mapping(fields, "viewers", MOST_PROTOCOLS), _PROTOCOL.fullmatch),
    )


def _id(fields: Mapping[str, Any]) -> str:
    return _name(fields, "id", node_name) or _impossible("id: empty")


def _place(fields: Mapping[str, Any]) -> Place | None:
    if fields.get("latitude") is None and fields.get("longitude") is None:
        return None
    return Place(_number(fields, "latitude", -90, 90), _number(fields, "longitude", -180, 180))


def _nonce(value: object) -> str:
    if not isinstance(value, str) or _NONCE.fullmatch(value) is None:
        _impossible("a nonce that can be none")
    return value


def _answers(values: object) -> tuple[str, ...]:
    if not isinstance(values, list) or len(values) > MOST_ANSWERS:
        _impossible(f"answers: no list of at most {MOST_ANSWERS} nonces")
    return tuple(map(_nonce, values))


def _counts(fields: Mapping[str, Any], is_name: Any) -> Mapping[str, int]:
    if not all(map(is_name, fields)):
        _impossible("a name that can be none")
    return {name: _whole(fields, name, _PEOPLE) for name in fields}


def _is_stream(name: str) -> bool:
    try:
        return bool(stream_name(name))
    except InvalidName:
        return False


def _state(value: object) -> NodeState:
    return NodeState(_one_of(value, _STATES, "state"))


def _one_of(value: object, known: Any, key: str) -> str:
    if not isinstance(value, str) or value not in known:
        _impossible(f"{key}: none that is known here")
    return value


def _url(fields: Mapping[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or pattern.fullmatch(value) is None or (value and not _has_host(value)):
        _impossible(f"{key}: no address")
    return value


def _has_host(url: str) -> bool:
    try:
        split_url(url)
    except ValueError:
        return False
    return True


def _name(fields: Mapping[str, Any], key: str, check: Any) -> str:
    try:
        return str(check(fields.get(key)))
    except (InvalidName, TypeError):
        _impossible(f"{key}: no name")


def _mapping(fields: Mapping[str, Any], key: str, most: int) -> Mapping[str, Any]:
    value = fields.get(key)
    if not isinstance(value, dict) or len(value) > most:
        _impossible(f"{key}: no object of at most {most} values")
    return value


def _whole(fields: Mapping[str, Any], key: str, most: int = _MOST) -> int:
    value = fields.get(key)
    if type(value) is not int or not 0 <= value <= most:
        _impossible(f"{key}: no whole number from 0 to {most}")
    return value


def _number(fields: Mapping[str, Any], key: str, least: float, most: float) -> float:
    value = fields.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        _impossible(f"{key}: no number from {least:g} to {most:g}")
    return float(value)
