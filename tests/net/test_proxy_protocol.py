"""The header of the PROXY protocol: tables of what is one and what is none, in any pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.net.proxy_protocol import (
    MAX_BYTES,
    V1_BYTES,
    V2,
    ProxyHeader,
    ProxyPreface,
    ProxyProtocolError,
    read_header,
)

FOUR = bytes([198, 51, 100, 7, 192, 0, 2, 1, 0xC3, 0x50, 0x07, 0x8F])
SIX = bytes.fromhex("20010db800000000000000000000000520010db8000000000000000000000001c350078f")
MAPPED = bytes(10) + b"\xff\xff" + FOUR[:4] + SIX[16:]
TLVS = b"\x03\x00\x04\x01\x02\x03\x04\x04\x00\x00"


def binary(command: int, family: int, rest: bytes, size: int | None = None) -> bytes:
    return V2 + bytes([command, family]) + (len(rest) if size is None else size).to_bytes(2, "big") + rest


HEADERS = {
    "tcp4": (b"PROXY TCP4 198.51.100.7 192.0.2.1 50000 1935\r\n", "198.51.100.7"),
    "port 0": (b"PROXY TCP4 198.51.100.7 192.0.2.1 0 65535\r\n", "198.51.100.7"),
    "tcp6": (b"PROXY TCP6 2001:db8::5 2001:db8::1 50000 1935\r\n", "2001:db8::5"),
    "tcp6 mapped": (b"PROXY TCP6 ::ffff:198.51.100.7 ::1 50000 1935\r\n", "198.51.100.7"),
    "longest": (b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n", "ffff:" * 7 + "ffff"),
    "unknown": (b"PROXY UNKNOWN\r\n", ""),
    "unknown with more": (b"PROXY UNKNOWN ffff:f ffff:f 65535 65535\r\n", ""),
    "v2 tcp4": (binary(0x21, 0x11, FOUR), "198.51.100.7"),
    "v2 tcp4 tlvs": (binary(0x21, 0x11, FOUR + TLVS), "198.51.100.7"),
    "v2 tcp6": (binary(0x21, 0x21, SIX), "2001:db8::5"),
    "v2 tcp6 mapped": (binary(0x21, 0x21, MAPPED), "198.51.100.7"),
    "v2 tcp6 tlvs": (binary(0x21, 0x21, SIX + TLVS), "2001:db8::5"),
    "v2 unix": (binary(0x21, 0x31, bytes(216)), ""),
    "v2 unspecified": (binary(0x21, 0x00, b""), ""),
    "v2 unspecified tlvs": (binary(0x21, 0x00, TLVS), ""),
    "v2 local": (binary(0x20, 0x00, b""), ""),
    "v2 local with addresses": (binary(0x20, 0x11, FOUR), ""),
    "v2 local of an unknown family": (binary(0x20, 0xFF, b"abc"), ""),
    "v2 largest": (binary(0x21, 0x11, FOUR + bytes(MAX_BYTES - 16 - 12)), "198.51.100.7"),
}

WRONG = {
    "rtmp": b"\x03",
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "lower case": b"proxy TCP4 ",
    "tls": b"\x16\x03\x01",
    "no family": b"PROXY \r\n",
    "udp": b"PROXY UDP4 198.51.100.7 192.0.2.1 1 2\r\n",
    "four is six": b"PROXY TCP6 198.51.100.7 192.0.2.1 1 2\r\n",
    "six is four": b"PROXY TCP4 2001:db8::5 2001:db8::1 1 2\r\n",
    "a zone": b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "no destination": b"PROXY TCP4 198.51.100.7 nothing 1 2\r\n",
    "three words": b"PROXY TCP4 198.51.100.7\r\n",
    "seven words": b"PROXY TCP4 198.51.100.7 192.0.2.1 1 2 3\r\n",
    "two spaces": b"PROXY TCP4  198.51.100.7 192.0.2.1 1 2\r\n",
    "octal": b"PROXY TCP4 198.051.100.7 192.0.2.1 1 2\r\n",
    "large port": b"PROXY TCP4 198.51.100.7 192.0.2.1 65536 2\r\n",
    "no port": b"PROXY TCP4 198.51.100.7 192.0.2.1 x 2\r\n",
    "port 01": b"PROXY TCP4 198.51.100.7 192.0.2.1 01 2\r\n",
    "many digits": b"PROXY TCP4 198.51.100.7 192.0.2.1 " + b"9" * 60 + b" 2\r\n",
    "not ascii": "PROXY TCP4 198.51.100.\uff17 192.0.2.1 1 2\r\n".encode(),
    "no end": b"PROXY UNKNOWN " + b"x" * V1_BYTES,
    "end too late": b"PROXY UNKNOWN " + b"x" * (V1_BYTES - 15) + b"\r\n",
    "v2 version 1": binary(0x11, 0x11, FOUR),
    "v2 command 2": binary(0x22, 0x11, FOUR),
    "v2 udp": binary(0x21, 0x12, FOUR),
    "v2 family 4": binary(0x21, 0x41, FOUR),
    "v2 tcp4 short": binary(0x21, 0x11, FOUR[:11]),
    "v2 tcp6 short": binary(0x21, 0x21, SIX[:35]),
    "v2 unix short": binary(0x21, 0x31, bytes(215)),
    "v2 too long": binary(0x21, 0x11, FOUR, MAX_BYTES - 15),
    "v2 local too long": binary(0x20, 0x00, b"", 65535),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_tells_the_address_and_where_it_ends_in_any_pieces(name: str) -> None:
    header, address = HEADERS[name]
    assert read_header(header + b"more") == ProxyHeader(address, len(header))
    for length in range(len(header)):
        assert read_header(header[:length]) is None, length


@pytest.mark.parametrize("name", WRONG)
def test_anything_else_is_none(name: str) -> None:
    with pytest.raises(ProxyProtocolError):
        read_header(WRONG[name])


@given(st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", V2, V2 + b"\x21\x11\x00"]), st.binary(max_size=200))
def test_any_bytes_are_a_header_or_wait_for_more_or_are_none(begin: bytes, more: bytes) -> None:
    try:
        header = read_header(begin + more)
    except ProxyProtocolError:
        return
    if header is None:
        assert len(begin + more) < MAX_BYTES
    else:
        assert read_header((begin + more)[: header.length]) == header


@pytest.mark.parametrize("name", ["tcp4", "v2 tcp6 tlvs", "unknown"])
def test_what_follows_a_header_is_handed_on_wherever_it_is_split(name: str) -> None:
    header, address = HEADERS[name]
    data = header + b"\x03rest"
    for cut in range(len(data) + 1):
        begun: list[tuple[str, bytes]] = []
        preface = ProxyPreface(lambda *told: begun.append(told), pytest.fail)  # noqa: B023
        preface.receive(data[:cut])
        if not begun:
            preface.receive(data[cut:])
            assert begun == [(address, b"\x03rest")]
        else:
            assert begun == [(address, data[len(header) : cut])]


def test_what_is_no_header_fails_at_the_first_byte_that_shows_it() -> None:
    failed: list[str] = []
    preface = ProxyPreface(lambda *told: pytest.fail(str(told)), failed.append)
    preface.receive(b"P")
    assert failed == []
    preface.receive(b"O")
    assert len(failed) == 1
