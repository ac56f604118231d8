"""Ports for processes that are told their port before they start.

A port that the kernel chose is soon taken again: it also gives them, from the same range, to every outgoing connection.
These come from below that range, so that none of the connections of a test can take one.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_000
_given: set[int] = set()


def free_port() -> int:
    """Return a TCP port on which nothing listens, and which this process has not been given before."""
    while True:
        port = random.randrange(_LOWEST, _end())
        if port not in _given and _is_free(port):
            _given.add(port)
            return port


def _end() -> int:
    lowest_ephemeral = int(_EPHEMERAL.read_text().split()[0]) if _EPHEMERAL.exists() else 32_768
    return lowest_ephemeral if lowest_ephemeral > _LOWEST + 1_000 else 65_536


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
