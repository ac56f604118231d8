"""
The PROXY protocol, versions 1 and 2: a proxy says whose connection it is that it has passed on.

The header comes before all other bytes of the connection (HAProxy, "The PROXY protocol", 2). Who may be believed is not
known here; there is no I/O.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from attrs import define, field, frozen

V1 = b"PROXY "
V1_BYTES = 107
"""The longest line of version 1, with its CRLF (2.1)."""
V2 = b"\r\n\r\n\x00\r\nQUIT\n"
V2_BYTES = 16
"""What comes before the addresses of version 2 (2.2)."""
MAX_BYTES = 4096
"""So long a header of version 2 may be: its extensions are names, checksums and, at most, a certificate's subject."""
LOCAL, PROXY = 0x20, 0x21
ADDRESS_BYTES = {0: 0, 1: 12, 2: 36, 3: 216}
"""How much each family takes: none, IPv4, IPv6 and unix sockets."""


class ProxyProtocolError(Exception):
    """The bytes are no header of the PROXY protocol."""


@frozen
class ProxyHeader:
    """
    A header of ``length`` bytes. ``address`` is that of the client; empty if the connection is the proxy's own (to see
    whether this node is well), or if the client has no IP address: then the proxy's is the one that counts (2.1, 2.2).
    """

    address: str
    length: int


def read_header(data: bytes) -> ProxyHeader | None:
    """
    The header that ``data`` begins with; ``None`` while more of it has to come.

    :raises ProxyProtocolError: it begins with none.
    """
    if data[: len(V2)] == V2[: len(data)]:
        return _read_binary(data) if len(data) >= V2_BYTES else None
    if data[: len(V1)] == V1[: len(data)]:
        return _read_line(data)
    raise ProxyProtocolError("it begins with something else")


def _read_line(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, V1_BYTES)
    if end < 0:
        if len(data) >= V1_BYTES:
            raise ProxyProtocolError(f"the line of version 1 has more than {V1_BYTES} bytes")
        return None
    try:
        words = data[:end].decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise ProxyProtocolError("the line of version 1 is not ASCII") from None
    if words[1] == "UNKNOWN":
        return ProxyHeader("", end + 2)
    if len(words) != 6 or not all(map(_is_port, words[4:])):
        raise ProxyProtocolError("the line of version 1 is not PROXY TCP4|TCP6 FROM TO PORT PORT")
    source, _ = (_address(words[1], text) for text in words[2:4])
    return ProxyHeader(source, end + 2)


def _is_port(text: str) -> bool:
    return text.isdigit() and str(int(text[:6])) == text and int(text) < 65536


def _address(family: str, text: str) -> str:
    try:
        if family == "TCP4":
            return str(IPv4Address(text))
        if family == "TCP6" and "%" not in text:
            return _plain(IPv6Address(text))
    except ValueError:
        pass
    raise ProxyProtocolError(f"the line of version 1 has no {family} address where one is expected")


def _plain(address: IPv6Address) -> str:
    return str(address.ipv4_mapped or address)


def _read_binary(data: bytes) -> ProxyHeader | None:
    command, family, size = struct.unpack_from("!BBH", data, len(V2))
    length = V2_BYTES + size
    if command not in (LOCAL, PROXY):
        raise ProxyProtocolError(f"version 2 has no command 0x{command:02x}")
    if length > MAX_BYTES:
        raise ProxyProtocolError(f"a header of {length} bytes is longer than {MAX_BYTES}")
    if command == PROXY and (family >> 4 not in ADDRESS_BYTES or family & 15 > 1 or size < ADDRESS_BYTES[family >> 4]):
        raise ProxyProtocolError(f"version 2 has no stream's addresses of kind 0x{family:02x} in {size} bytes")
    if len(data) < length:
        return None
    if command == PROXY and family == 0x11:
        return ProxyHeader(str(IPv4Address(data[V2_BYTES : V2_BYTES + 4])), length)
    if command == PROXY and family == 0x21:
        return ProxyHeader(_plain(IPv6Address(data[V2_BYTES : V2_BYTES + 16])), length)
    return ProxyHeader("", length)


@define(eq=False)
class ProxyPreface:
    """
    Takes the first bytes of a connection, up to the end of its header.

    ``begin`` is called once with the client's address, or an empty one, and with the bytes that follow; or else
    ``fail``, with what is wrong. The connection's bytes must not be given to it after that.
    """

    begin: Callable[[str, bytes], None]
    fail: Callable[[str], None]
    _data: bytes = field(default=b"", init=False)

    def receive(self, data: bytes) -> None:
        self._data += data
        try:
            header = read_header(self._data)
        except ProxyProtocolError as error:
            self._data = b""
            self.fail(str(error))
            return
        if header is not None:
            rest, self._data = self._data[header.length :], b""
            self.begin(header.address, rest)
