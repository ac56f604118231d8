"""
Heartbeats: one message a second from each node, as signed JSON.

A message is ``SIGNATURE JSON``; the signature is the HMAC-SHA256 of the JSON under the cluster's secret, in hex digits.
Decoding is strict even though the sender has the secret: a broken node must not break the others.
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
from livestream.steering.nodes import REPORTED_STATES, Load, Location, Node, NodeState
from livestream.urls import split_url

VERSION = 1
MAX_MESSAGE_BYTES = 8192
MAX_STREAMS = 16
"""How many streams a message names: those with the most viewers."""
MAX_ANSWERS = 64
"""How many nonces of other nodes a message repeats."""
NONCE_BYTES = 8
MAX_PROTOCOLS = 16
GONE = "gone"
"""The state in a node's last message."""
_MAX_NUMBER = 1 << 53
_MAX_COUNT = 10**9
_MAX_VALUE = 1e15
_LATEST_S = 1e11
_SIGNATURE_BYTES = 64
_STATES = [state.value for state in REPORTED_STATES]
_HTTP = re.compile(r"https?://[A-Za-z0-9._:\[\]-]{1,260}")
_RTMP = re.compile(r"(rtmp://[A-Za-z0-9._:\[\]-]{1,260}:[0-9]{1,5})?")
_PROTOCOL = re.compile(r"[a-z][a-z0-9_-]{0,15}")
_NONCE = re.compile(rf"[0-9a-f]{{{2 * NONCE_BYTES}}}")

RunId = tuple[str, int]
"""One run of a node's process: the node's id, and its ``boot``."""


class Fault(Enum):
    """Why a message is dropped; the values are metric labels."""

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
    """A message that is dropped; the error says why."""

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault = fault

    @classmethod
    def of(cls, fault: Fault, heartbeat: Heartbeat) -> InvalidHeartbeat:
        """The error for a message that can be decoded; it names the claimed sender."""
        node = heartbeat.node
        return cls(fault, f"{node.id}, {node.role} at {node.http}")


@frozen
class Heartbeat:
    """
    A node's description of itself. ``boot`` identifies one run of its process, within which ``sequence`` rises.

    ``streams`` are those with the most viewers, with their numbers, and ``stream_count`` counts all. ``sent_at`` is by
    the node's own clock, which may be wrong. ``is_last`` says that the node leaves. ``nonce``, unless empty, is for the
    other nodes to repeat, and ``answers`` are nonces of theirs.
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
    """Encode and sign a heartbeat."""
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
        "latitude": node.location and node.location.latitude,
        "longitude": node.location and node.location.longitude,
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
    Decode a message.

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
            location=_location(fields),
            capacity_rps=_number(fields, "capacity_rps", 0.001, _MAX_VALUE),
            capacity_mbps=_number(fields, "capacity_mbps", 0.001, _MAX_VALUE),
            load=_load(_mapping(fields, "load", 5)),
        ),
        boot=_whole(fields, "boot"),
        sequence=_whole(fields, "sequence"),
        sent_at=_number(fields, "sent_at", 0, _LATEST_S),
        streams=_counts(_mapping(fields, "streams", MAX_STREAMS), _is_stream),
        stream_count=_whole(fields, "stream_count"),
        is_last=is_last,
        nonce=_nonce(fields["nonce"]) if fields.get("nonce") else "",
        answers=_answers(fields.get("answers", [])),
    )


def _signature(payload: bytes, secret: str) -> bytes:
    return hmac.digest(secret.encode("utf-8"), payload, "sha256").hex().encode("ascii")


def _payload(data: bytes, secret: str) -> bytes:
    if len(data) > MAX_MESSAGE_BYTES:
        raise InvalidHeartbeat(Fault.IMPOSSIBLE, f"{len(data)} bytes, of {MAX_MESSAGE_BYTES} at most")
    signature, space, payload = data.partition(b" ")
    if not space or len(signature) != _SIGNATURE_BYTES:
        raise InvalidHeartbeat(Fault.UNSIGNED, "no signature")
    if not hmac.compare_digest(signature, _signature(payload, secret)):
        raise InvalidHeartbeat(Fault.ALTERED, "wrong signature")
    return payload


def _fields(payload: bytes) -> Mapping[str, Any]:
    try:
        fields = _JSON.decode(payload.decode("ascii"))
    except (ValueError, RecursionError):
        _invalid("not JSON")
    if not isinstance(fields, dict):
        _invalid("not an object")
    if fields.get("v") != VERSION or type(fields["v"]) is not int:
        raise InvalidHeartbeat(Fault.VERSION, f"v: not {VERSION}, the version of this node")
    return fields


def _refuse_constant(text: str) -> float:
    """Refuse NaN and infinities, which Python decodes although JSON does not have them."""
    raise ValueError(text)


_JSON = json.JSONDecoder(parse_constant=_refuse_constant)


def _invalid(reason: str) -> NoReturn:
    raise InvalidHeartbeat(Fault.IMPOSSIBLE, reason)


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
        connections=_whole(fields, "connections", _MAX_COUNT),
        requests_per_s=_number(fields, "requests_per_s", 0, _MAX_VALUE),
        bits_per_s=_number(fields, "bits_per_s", 0, _MAX_VALUE),
        delay_ms=_number(fields, "delay_ms", 0, _MAX_VALUE),
        viewers=_counts(_mapping(fields, "viewers", MAX_PROTOCOLS), _PROTOCOL.fullmatch),
    )


def _id(fields: Mapping[str, Any]) -> str:
    return _name(fields, "id", node_name) or _invalid("id: empty")


def _location(fields: Mapping[str, Any]) -> Location | None:
    if fields.get("latitude") is None and fields.get("longitude") is None:
        return None
    return Location(_number(fields, "latitude", -90, 90), _number(fields, "longitude", -180, 180))


def _nonce(value: object) -> str:
    if not isinstance(value, str) or _NONCE.fullmatch(value) is None:
        _invalid("invalid nonce")
    return value


def _answers(values: object) -> tuple[str, ...]:
    if not isinstance(values, list) or len(values) > MAX_ANSWERS:
        _invalid(f"answers: not a list of at most {MAX_ANSWERS} nonces")
    return tuple(map(_nonce, values))


def _counts(fields: Mapping[str, Any], is_name: Any) -> Mapping[str, int]:
    if not all(map(is_name, fields)):
        _invalid("invalid name")
    return {name: _whole(fields, name, _MAX_COUNT) for name in fields}


def _is_stream(name: str) -> bool:
    try:
        return bool(stream_name(name))
    except InvalidName:
        return False


def _state(value: object) -> NodeState:
    return NodeState(_one_of(value, _STATES, "state"))


def _one_of(value: object, known: Any, key: str) -> str:
    if not isinstance(value, str) or value not in known:
        _invalid(f"{key}: unknown value")
    return value


def _url(fields: Mapping[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or pattern.fullmatch(value) is None or (value and not _has_host(value)):
        _invalid(f"{key}: not a URL")
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
        _invalid(f"{key}: not a name")


def _mapping(fields: Mapping[str, Any], key: str, maximum: int) -> Mapping[str, Any]:
    value = fields.get(key)
    if not isinstance(value, dict) or len(value) > maximum:
        _invalid(f"{key}: not an object of at most {maximum} values")
    return value


def _whole(fields: Mapping[str, Any], key: str, maximum: int = _MAX_NUMBER) -> int:
    value = fields.get(key)
    if type(value) is not int or not 0 <= value <= maximum:
        _invalid(f"{key}: not an integer from 0 to {maximum}")
    return value


def _number(fields: Mapping[str, Any], key: str, minimum: float, maximum: float) -> float:
    value = fields.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not minimum <= value <= maximum:
        _invalid(f"{key}: not a number from {minimum:g} to {maximum:g}")
    return float(value)
