"""What nodes say of themselves, as signed JSON: both ways, and nothing else is let in."""

from __future__ import annotations

import hmac
import json
from contextlib import suppress
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.cluster.messages import (
    MAX_ANSWERS,
    MAX_MESSAGE_BYTES,
    Fault,
    Heartbeat,
    InvalidHeartbeat,
    decode,
    encode,
)
from livestream.steering.nodes import Load, Location, Node, NodeState

SECRET = "a secret of the cluster"
LOAD = Load(120, 4000.25, 3_000_000_000.0, 1.5, {"hls": 100, "rtmp": 20})
NODE = Node(
    "edge-1",
    "edge",
    "http://127.0.0.4:8080",
    "rtmp://127.0.0.4:1937",
    NodeState.READY,
    "eu-west",
    Location(52.5, 13.4),
    200_000.0,
    10_000.0,
    LOAD,
)
HEARTBEAT = Heartbeat(NODE, 1 << 52, 7, 1_799_999_000.125, {"show": 20}, 3)


def signed(fields: Any, secret: str = SECRET) -> bytes:
    payload = (fields if isinstance(fields, str) else json.dumps(fields)).encode()
    return hmac.new(secret.encode(), payload, "sha256").hexdigest().encode() + b" " + payload


def fields_of(heartbeat: Heartbeat) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(encode(heartbeat, SECRET).partition(b" ")[2])
    return fields


def fault_of(message: bytes) -> Fault | None:
    try:
        decode(message, SECRET)
    except InvalidHeartbeat as error:
        return error.fault
    return None


@pytest.mark.parametrize(
    "heartbeat",
    [
        HEARTBEAT,
        attrs.evolve(HEARTBEAT, node=Node("all", "all", "https://[2001:db8::1]:443")),
        attrs.evolve(HEARTBEAT, node=attrs.evolve(NODE, state=NodeState.STARTING, location=Location(-90.0, 180.0))),
        attrs.evolve(HEARTBEAT, node=attrs.evolve(NODE, state=NodeState.DRAINING), is_last=True),
        attrs.evolve(HEARTBEAT, nonce="0123456789abcdef", answers=("fedcba9876543210", "0" * 16)),
        attrs.evolve(HEARTBEAT, node=attrs.evolve(NODE, http="https://[2001:db8::1]:8443", rtmp="rtmp://[::1]:1935")),
    ],
)
def test_a_message_comes_back_as_it_was(heartbeat: Heartbeat) -> None:
    assert decode(encode(heartbeat, SECRET), SECRET) == heartbeat


def test_the_longest_message_of_ours_is_short_enough() -> None:
    node = attrs.evolve(
        NODE,
        id="n" * 64,
        http="https://" + ".".join(["h" * 63] * 3 + ["h" * 61]) + ":65535",
        rtmp="rtmp://" + ".".join(["h" * 63] * 3 + ["h" * 61]) + ":65535",
        region="r" * 64,
        load=Load(10**9, 1e15, 1e15, 1e15, {f"protocol-{n:07}": 10**9 for n in range(16)}),
    )
    heartbeat = Heartbeat(node, 1 << 53, 1 << 53, 1e11, {f"{n:064}": 10**9 for n in range(16)}, 1 << 53)
    heartbeat = attrs.evolve(heartbeat, nonce="f" * 16, answers=("f" * 16,) * MAX_ANSWERS)
    assert decode(encode(heartbeat, SECRET), SECRET) == heartbeat
    assert len(encode(heartbeat, SECRET)) <= MAX_MESSAGE_BYTES


def test_only_who_has_the_secret_is_heard() -> None:
    message = encode(HEARTBEAT, SECRET)
    assert fault_of(message) is None
    assert fault_of(message.partition(b" ")[2]) is Fault.UNSIGNED
    assert fault_of(b"") is Fault.UNSIGNED
    assert fault_of(encode(HEARTBEAT, "another secret of ours")) is Fault.ALTERED
    assert fault_of(message.replace(b'"ready"', b'"gone"')) is Fault.ALTERED
    assert fault_of(b"\xff" * 64 + message[64:]) is Fault.ALTERED


def test_what_asks_nothing_and_answers_nothing_may_say_nothing_of_it() -> None:
    fields = fields_of(HEARTBEAT)
    del fields["nonce"], fields["answers"]
    assert decode(signed(fields), SECRET) == HEARTBEAT


def test_what_is_longer_than_any_message_is_not_even_looked_at() -> None:
    assert fault_of(signed(" " * MAX_MESSAGE_BYTES)) is Fault.IMPOSSIBLE


@pytest.mark.parametrize("version", [2, 0, "1", None, 1.0, True])
def test_a_version_that_is_not_known_is_told_from_what_is_wrong(version: Any) -> None:
    assert fault_of(signed({**fields_of(HEARTBEAT), "v": version})) is Fault.VERSION


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("id", ""),
        ("id", "n" * 65),
        ("id", 'a"b'),
        ("id", None),
        ("role", "viewer"),
        ("role", ["edge"]),
        ("http", ""),
        ("http", "ftp://a"),
        ("http", "http://a/b"),
        ("http", 'http://a"><script>'),
        ("http", "http://user:pass@a"),
        ("http", "http://a\r\nb"),
        ("http", "http://" + "a" * 300),
        ("http", "http://["),
        ("http", "http://]a["),
        ("http", "http://[a]:80"),
        ("http", "http://a:b"),
        ("http", "http://a:0"),
        ("http", "http://:80"),
        ("http", "http://a:65536"),
        ("rtmp", "rtmp://a:65536"),
        ("rtmp", "rtmp://[:1935"),
        ("rtmp", "rtmp://a"),
        ("rtmp", None),
        ("state", "broken"),
        ("state", "cut_off"),
        ("state", 1),
        ("state", {}),
        ("region", "a b"),
        ("latitude", 90.1),
        ("latitude", None),
        ("longitude", -181),
        ("longitude", "13"),
        ("capacity_rps", 0),
        ("capacity_mbps", -1),
        ("capacity_mbps", float("nan")),
        ("load", None),
        ("load.connections", -1),
        ("load.connections", 1.5),
        ("load.connections", True),
        ("load.requests_per_s", float("nan")),
        ("load.requests_per_s", -0.1),
        ("load.bits_per_s", float("inf")),
        ("load.bits_per_s", 10**400),
        ("load.delay_ms", float("-inf")),
        ("load.delay_ms", True),
        ("load.viewers", []),
        ("load.viewers", {"HLS <b>": 1}),
        ("load.viewers", {"hls": -1}),
        ("load.viewers", {f"p{n}": 1 for n in range(17)}),
        ("boot", -1),
        ("boot", 1 << 60),
        ("sequence", 1.0),
        ("sequence", None),
        ("sent_at", float("nan")),
        ("sent_at", 1e12),
        ("streams", {"../etc": 1}),
        ("streams", {f"s{n}": 1 for n in range(17)}),
        ("stream_count", None),
        ("nonce", "0" * 15),
        ("nonce", "0" * 17),
        ("nonce", "G" * 16),
        ("nonce", 1234567890123456),
        ("answers", None),
        ("answers", {}),
        ("answers", [""]),
        ("answers", [["0" * 16]]),
        ("answers", ["0" * 16] * (MAX_ANSWERS + 1)),
    ],
)
def test_one_field_out_of_place_is_impossible(path: str, value: Any) -> None:
    fields = fields_of(HEARTBEAT)
    *parents, key = path.split(".")
    table = fields[parents[0]] if parents else fields
    table[key] = value
    assert fault_of(signed(fields)) is Fault.IMPOSSIBLE


@pytest.mark.parametrize("text", ["[" * 3000, "[]", "7", '{"v":1,', "1" * 4000, '{"v":1,"load":' + "9" * 3900 + "}"])
def test_what_is_no_object_is_impossible(text: str) -> None:
    assert fault_of(signed(text)) is Fault.IMPOSSIBLE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200))
def test_garbage_is_an_invalid_heartbeat(data: bytes) -> None:
    with pytest.raises(InvalidHeartbeat):
        decode(data, SECRET)


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(sorted(fields_of(HEARTBEAT))), JSON)
def test_any_signed_value_in_any_field_is_read_or_is_an_invalid_heartbeat(key: str, value: Any) -> None:
    with suppress(InvalidHeartbeat):
        read = decode(signed({**fields_of(HEARTBEAT), key: value}), SECRET)
        assert decode(encode(read, SECRET), SECRET).node.id == read.node.id
