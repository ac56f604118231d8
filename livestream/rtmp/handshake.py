"""The plain RTMP handshake (specification 1.0, 5.2), for both ends."""

from __future__ import annotations

from attrs import define, field

from livestream.rtmp.errors import RemoteProtocolError

VERSION = 3
SIZE = 1536

_HINTS = {
    0x16: "TLS on a plain RTMP port; use rtmp://, or connect to the RTMPS port",
    0x06: "RTMPE, which is not served",
}


@define(eq=False)
class ServerHandshake:
    """
    The server's end. S0, S1 and S2 go out as soon as C0 and C1 are here; a C2 that does not echo S1 is accepted.

    S1's version bytes are zero: any other makes some players demand a digest.
    """

    nonce: bytes
    done: bool = field(default=False, init=False)
    rest: bytes = field(default=b"", init=False)
    _received: bytearray = field(factory=bytearray, init=False)
    _answered: bool = field(default=False, init=False)

    def receive(self, data: bytes) -> bytes:
        """
        Take bytes from the peer and return those to send; when ``done``, ``rest`` has what came after C2.

        :raises RemoteProtocolError: the peer does not speak plain RTMP.
        """
        self._received += data
        if self._received and self._received[0] != VERSION:
            raise RemoteProtocolError(_describe(bytes(self._received[:8])))
        answer = b""
        if not self._answered and len(self._received) > SIZE:
            self._answered = True
            c1 = bytes(self._received[1 : SIZE + 1])
            answer = b"".join((bytes([VERSION]), bytes(8), _padded(self.nonce), c1))
        if self._answered and len(self._received) > 2 * SIZE:
            self.done = True
            self.rest = bytes(self._received[2 * SIZE + 1 :])
            self._received.clear()
        return answer


@define(eq=False)
class ClientHandshake:
    """The client's end: :meth:`hello` first, then C2 for S1; S2 is not compared."""

    nonce: bytes
    done: bool = field(default=False, init=False)
    rest: bytes = field(default=b"", init=False)
    _received: bytearray = field(factory=bytearray, init=False)

    def hello(self) -> bytes:
        """C0 and C1."""
        return b"".join((bytes([VERSION]), bytes(8), _padded(self.nonce)))

    def receive(self, data: bytes) -> bytes:
        """
        Take bytes from the server and return those to send; when ``done``, ``rest`` has what came after S2.

        :raises RemoteProtocolError: it does not speak plain RTMP.
        """
        self._received += data
        if self._received and self._received[0] != VERSION:
            raise RemoteProtocolError("the server does not speak RTMP")
        if len(self._received) <= 2 * SIZE:
            return b""
        self.done = True
        self.rest = bytes(self._received[2 * SIZE + 1 :])
        s1 = bytes(self._received[1 : SIZE + 1])
        self._received.clear()
        return s1


def _padded(nonce: bytes) -> bytes:
    size = SIZE - 8
    return (nonce * (size // len(nonce) + 1))[:size]


def _describe(start: bytes) -> str:
    if start[:1].isalpha():
        return "HTTP on the RTMP port; the HTTP port is another one"
    return _HINTS.get(start[0], f"a first byte of {start[0]:#04x}, which is not RTMP")
