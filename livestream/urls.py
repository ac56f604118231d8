"""How hosts and URLs are written: in HTTP's Host field, and where the configuration names another server."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

HOST_CHARACTERS = 253
"""A host name is at most so long without the dot that may end it (RFC 1035, 2.3.4, as text)."""

_LABEL = r"[A-Za-z0-9_-]{1,63}"
_AUTHORITY = re.compile(rf"(?:({_LABEL}(?:\.{_LABEL})*)\.?|\[([0-9A-Fa-f:.]{{2,45}})\])(?::([0-9]{{0,5}}))?")
_DATABASE = re.compile(r"/?|/[0-9]{1,5}")


def split_authority(text: str) -> tuple[str, int | None]:
    """
    Return the host and the port of ``HOST[:PORT]`` (RFC 3986, 3.2.2): the name in lower case without a dot at its end,
    or the address without brackets, and ``None`` where there is no port.

    :raises ValueError: it is not 1 to 63 letters, digits, ``-`` or ``_`` between dots, nor an address, or no such port.
    """
    match = _AUTHORITY.fullmatch(text) if len(text) <= HOST_CHARACTERS + len(".:65535") else None
    if match is None:
        raise ValueError("invalid host or port")
    name, address, digits = match.groups()
    port = int(digits) if digits else None
    if port is not None and port > 65535:
        raise ValueError("a port is at most 65535")
    if name is None:
        return str(IPv6Address(address)), port
    if len(name) > HOST_CHARACTERS:
        raise ValueError("a host name is too long")
    return name.lower(), port


def split_url(text: str) -> tuple[str, str, int | None]:
    """
    Return the scheme, the host and the port of ``SCHEME://HOST[:PORT]``, which has nothing else.

    :raises ValueError: it has, or the host or the port cannot be.
    """
    scheme, separator, authority = text.partition("://")
    if not separator:
        raise ValueError("not a URL")
    host, port = split_authority(authority)
    if port == 0 or authority.endswith(":"):
        raise ValueError("a port is from 1 to 65535")
    return scheme, host, port


def check_redis(url: str) -> None:
    """
    Make sure that ``url`` is ``redis://[USER:PASSWORD@][HOST[:PORT]][/DB]`` or ``unix:PATH``.

    :raises ValueError: it is not; the message quotes nothing, for a password may be in any part of it.
    """
    is_sound = len(url) > len("unix:") if url.startswith("unix:") else _is_redis(url)
    if not is_sound:
        raise ValueError("write redis://[USER:PASSWORD@]HOST[:PORT][/DB], the password %-encoded, or unix:PATH")


def _is_redis(url: str) -> bool:
    try:
        parts = urlsplit(url)
        where = parts.netloc.rpartition("@")[2]
        port = split_authority(where)[1] if where else None
    except ValueError:
        return False
    is_address = parts.scheme == "redis" and port != 0 and not where.endswith(":")
    return is_address and not (parts.query or parts.fragment) and _DATABASE.fullmatch(parts.path) is not None


def without_password(url: str) -> str:
    """The URL of a Redis with ``***`` in the place of its password."""
    if url.startswith("unix:"):
        return url
    parts = urlsplit(url)
    login, at, where = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    return parts._replace(netloc=f"{user}:***@{where}").geturl() if at and colon else url


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine has ``host``, an address or a name."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
