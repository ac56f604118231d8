"""Writes small databases in MaxMind's format 2.0 (https://maxmind.github.io/MaxMind-DB/)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

MARKER = b"\xab\xcd\xefMaxMind.com"
_EXTENDED = 7


def database(places: Mapping[str, Any], *, version: int = 6) -> bytes:
    """A database with a record for each network; ``version`` is that of the addresses it has."""
    nodes: list[list[int | None]] = [[None, None]]
    data = bytearray()
    for network, record in places.items():
        where = len(data)
        data += encoded(record)
        _place(nodes, _bits(network, version), where)
    count = len(nodes)
    tree = b"".join(struct.pack(">II", *(_pointer(side, count) for side in node)) for node in nodes)
    about = {
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1_800_000_000,
        "database_type": "Test-City",
        "description": {"en": "for tests"},
        "ip_version": version,
        "languages": ["en"],
        "node_count": count,
        "record_size": 32,
    }
    return tree + bytes(16) + bytes(data) + MARKER + encoded(about)


def at(latitude: Any, longitude: Any) -> dict[str, Any]:
    """A record of somewhere, as the databases of cities have it."""
    return {"location": {"latitude": latitude, "longitude": longitude}}


def encoded(value: Any) -> bytes:
    """A value of the data section."""
    if isinstance(value, str):
        text = value.encode()
        return _control(2, len(text)) + text
    if isinstance(value, float):
        return _control(3, 8) + struct.pack(">d", value)
    if isinstance(value, bool):
        return _control(14, int(value))
    if isinstance(value, int):
        digits = value.to_bytes((value.bit_length() + 7) // 8, "big")
        return _control(9, len(digits)) + digits
    if isinstance(value, list):
        return _control(11, len(value)) + b"".join(encoded(each) for each in value)
    pairs = (encoded(key) + encoded(each) for key, each in value.items())
    return _control(7, len(value)) + b"".join(pairs)


def _control(kind: int, size: int) -> bytes:
    assert size < 285
    length, rest = (size, b"") if size < 29 else (29, bytes([size - 29]))
    if kind > _EXTENDED:
        return bytes([length, kind - _EXTENDED]) + rest
    return bytes([kind << 5 | length]) + rest


def _bits(network: str, version: int) -> list[int]:
    parsed = ip_network(network)
    width = 32 if version == 4 else 128
    number, length = int(parsed.network_address), parsed.prefixlen
    if version == 6 and parsed.version == 4:
        length += 96
    return [number >> (width - 1 - place) & 1 for place in range(length)]


def _place(nodes: list[list[int | None]], bits: list[int], where: int) -> None:
    """Nodes point to nodes by their number, and to data by a number below nought."""
    here = 0
    for bit in bits[:-1]:
        following = nodes[here][bit]
        if following is None:
            following = nodes[here][bit] = len(nodes)
            nodes.append([None, None])
        here = following
    nodes[here][bits[-1]] = -1 - where


def _pointer(side: int | None, count: int) -> int:
    if side is None:
        return count
    return side if side >= 0 else count + 16 - 1 - side
