"""
What nodes of a cluster sign with the cluster's secret: what they tell each other, and their requests to each other.

The signature of a request is ``NODE.EXPIRES.HMAC``: the name of the node that asks, a Unix time in seconds by its own
clock, and the HMAC-SHA256 of both, in hex digits. It stays the same for half a minute, so that equal requests are equal
byte for byte. What the clock of another node shows is learnt from what it says (`livestream.cluster.runs`).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable

VALID_S = 60
"""A signature expires so long after the moment at which it could first be made."""
SAME_S = 30
"""For so long it stays the same."""
CLOCKS_APART_S = 300
"""So far may the clocks of two nodes be apart."""
LEARNT_APART_S = 30
"""So far from now may a message be of a node whose clock is known: it is known to some seconds, and messages queue."""

_SIGNATURE = re.compile(r"([A-Za-z0-9_.-]{1,64})\.([0-9]{1,12})\.([0-9a-f]{64})")


def sign(node: str, secret: str, now: float) -> str:
    """The signature of ``node`` at the Unix time ``now``."""
    claim = f"{node}.{int(now) // SAME_S * SAME_S + VALID_S}"
    return f"{claim}.{_digest(claim, secret)}"


def signer_of(signature: str, secret: str, now: float, clock_of: Callable[[str], float | None]) -> str | None:
    """
    The node that made a signature; ``None`` if no node of ours did, or if it has expired, or cannot have been made yet.

    It expires by the clock of the node that made it: ``clock_of(node)`` is the Unix time in seconds that this shows
    now, as far as it was learnt. If it was not (``None``), our own shows ``now``, and they may be minutes apart.
    """
    match = _SIGNATURE.fullmatch(signature)
    if match is None:
        return None
    node, expires, digest = match.groups()
    if not hmac.compare_digest(digest, _digest(f"{node}.{expires}", secret)):
        return None
    learnt = clock_of(node)
    at, apart_s = (now, CLOCKS_APART_S) if learnt is None else (learnt, LEARNT_APART_S)
    return node if -apart_s <= int(expires) - at <= VALID_S + apart_s else None


def seal(payload: bytes, secret: str) -> bytes:
    """A message that only who has the secret can make: the HMAC-SHA256 of its payload, in hex digits, before it."""
    return payload if not secret else _mac(payload, secret) + b" " + payload


def unseal(message: bytes, secret: str) -> bytes | None:
    """The payload of a message; ``None`` if it was not made with the secret."""
    if not secret:
        return message
    digest, _, payload = message.partition(b" ")
    return payload if hmac.compare_digest(digest, _mac(payload, secret)) else None


def _mac(payload: bytes, secret: str) -> bytes:
    return hmac.digest(secret.encode("utf-8"), payload, "sha256").hex().encode("ascii")


def _digest(claim: str, secret: str) -> str:
    return _mac(claim.encode("ascii"), secret).decode("ascii")
