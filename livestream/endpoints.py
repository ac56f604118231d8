"""
The endpoints that settings name, such as ``tcp:8080:interface=127.0.0.1``.

Twisted reads them too (``twisted.internet.endpoints.serverFromString``), and leniently: of an argument that comes twice
it takes the last, and it raises TypeError for one that does not exist. What is read here is read by Twisted in the
same way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from attrs import frozen

from livestream.urls import is_loopback, split_authority

_PIECES = re.compile(r"[^\\:=]+|\\.|.", re.DOTALL)


@frozen
class Endpoint:
    """Where to listen: its kind, such as ``tcp``, and the arguments by name, those that were given."""

    kind: str
    arguments: dict[str, str]

    @property
    def port(self) -> str:
        """The port as it was written; empty where there is none."""
        return self.arguments.get("port", "")

    @property
    def is_loopback(self) -> bool:
        """Whether only who is on this machine can connect."""
        return self.kind == "unix" or is_loopback(self.arguments.get("interface", ""))

    @property
    def files(self) -> list[str]:
        """The paths of the files that must be there."""
        names = ("privateKey", "certKey", "extraCertChain", "dhParameters")
        given = [self.arguments[name] for name in names if name in self.arguments]
        return given if self.kind != "ssl" or "privateKey" in self.arguments else ["server.pem", *given]


def parse(text: str) -> Endpoint:
    """
    Read an endpoint.

    :raises ValueError: it is not one of ours; the message says what would be right.
    """
    (kind, *unnamed), *rest = _tokens(text)
    known = _KINDS.get(kind)
    if known is None or unnamed:
        raise ValueError("write tcp:PORT or tcp:PORT:interface=ADDRESS, or unix:PATH")
    places, arguments = iter(known), {}
    for token in rest:
        name = next(places, "") if len(token) == 1 else token[0]
        if name not in known:
            raise ValueError(f"{kind} takes no other arguments than {', '.join(known)}")
        if name in arguments:
            raise ValueError(f"{name} is given twice (a colon in a value is written \\:)")
        arguments[name] = token[-1]
    for name in _NEEDED[kind]:
        if name not in arguments:
            raise ValueError(f"{kind} needs {name}")
    for name, value in arguments.items():
        known[name](value)
    if kind == "systemd" and len(arguments) != 2:
        raise ValueError("systemd needs either index or name")
    return Endpoint(kind, arguments)


def _tokens(text: str) -> Iterator[list[str]]:
    """What is between the colons that are not escaped; with a name before an equals sign, if there is one."""
    token = [""]
    for piece in _PIECES.findall(text):
        if piece == ":":
            yield token
            token = [""]
        elif piece == "=" and len(token) == 1:
            token.append("")
        elif piece == "\\":
            raise ValueError("a backslash must be followed by another character")
        else:
            token[-1] += piece[-1] if piece.startswith("\\") else piece
    yield token


def _matches(pattern: str, words: str) -> Callable[[str], None]:
    def check(value: str) -> None:
        if re.fullmatch(pattern, value) is None:
            raise ValueError(words)

    return check


def _port(value: str) -> None:
    if re.fullmatch(r"[0-9]{1,5}", value) is None or int(value) > 65535:
        raise ValueError("a port is a number up to 65535")


def _interface(value: str) -> None:
    host = f"[{value.partition('%')[0]}]" if ":" in value else value
    try:
        port = split_authority(host)[1] if host else None
    except ValueError:
        port = -1
    if port is not None:
        raise ValueError("an interface is an IP address of this machine; a colon in it is written \\:")


_path = _matches(r".+", "a path must not be empty")
_backlog = _matches(r"[1-9][0-9]{0,4}", "a backlog is a number from 1 to 99999")

_KINDS: dict[str, dict[str, Callable[[str], None]]] = {
    "tcp": {"port": _port, "interface": _interface, "backlog": _backlog},
    "tcp6": {"port": _port, "backlog": _backlog, "interface": _interface},
    "ssl": {
        "port": _port,
        "privateKey": _path,
        "certKey": _path,
        "sslmethod": _matches(r"[A-Za-z0-9_]+_METHOD", "a method is one of OpenSSL's, such as TLS_METHOD"),
        "interface": _interface,
        "backlog": _backlog,
        "extraCertChain": _path,
        "dhParameters": _path,
    },
    "unix": {
        "address": _path,
        "mode": _matches(r"[0-7]{3,4}", "a mode is three octal digits, such as 660"),
        "backlog": _backlog,
        "lockfile": _matches(r"[01]", "lockfile is 0 or 1"),
    },
    "systemd": {
        "domain": _matches(r"INET|INET6|UNIX", "a domain is INET, INET6 or UNIX"),
        "index": _matches(r"[0-9]{1,4}", "an index is a number"),
        "name": _path,
    },
}
"""The kinds of endpoints, each with its arguments in the order in which they may come without their names."""
_NEEDED = {"tcp": ["port"], "tcp6": ["port"], "ssl": ["port"], "unix": ["address"], "systemd": ["domain"]}
