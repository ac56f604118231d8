"""
What nodes of a cluster sign with the cluster's secret: what they tell each other, and their requests to each other.

The signature of a request is ``NODE.EXPIRES.HMAC``: the name of the node that asks, a Unix time in seconds by its own
clock, and the HMAC-SHA256 of both, in hex digits. It stays the same for half a minute, so that equal requests are equal
byte for byte.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable

from attrs import define, field

HEADER = "X-Livestream-Node"
"""The header field that has the signature of a request."""
VALID_S = 60
"""A signature expires so long after the moment at which it could first be made."""
SAME_S = 30
"""For so long it stays the same."""
CLOCKS_APART_S = 300
"""So far may the clocks of two nodes be apart."""

_SIGNATURE = re.compile(r"([A-Za-z0-9_.-]{1,64})\.([0-9]{1,12})\.([0-9a-f]{64})")


def sign(node: str, secret: str, now: float) -> str:
    """The signature of ``node`` at the Unix time ``now``."""
    claim = f"{node}.{int(now) // SAME_S * SAME_S + VALID_S}"
    return f"{claim}.{_digest(claim, secret)}"


class WrongSignature(Exception):
    """A signature is not that of a node of ours, or not of this time; the message says which, and what to do."""


def verify(signature: str, secret: str, now: float) -> str:
    """
    Return the node that made a signature.

    :raises WrongSignature: no node of ours made it, or it has expired.
    """
    match = _SIGNATURE.fullmatch(signature)
    node, expires, digest = match.groups() if match else ("", "0", "")
    if not hmac.compare_digest(digest, _digest(f"{node}.{expires}", secret)):
        raise WrongSignature("it is not of our secret; give every node the same cluster.secret")
    if not -CLOCKS_APART_S <= int(expires) - now <= VALID_S + CLOCKS_APART_S:
        minutes = CLOCKS_APART_S // 60
        raise WrongSignature(f"{node} signed it more than {minutes} minutes ago or ahead; set the clocks of both nodes")
    return node


@define(eq=False)
class Credentials:
    """
    Who this node is to the others of its cluster. ``seconds`` is the wall clock.

    Without a secret it signs nothing, and knows nobody.
    """

    node: str
    secret: str
    seconds: Callable[[], float]
    _period: int = field(default=-1, init=False)
    _headers: dict[str, list[str]] = field(factory=dict, init=False)

    def headers(self) -> dict[str, list[str]]:
        """The header fields that sign a request; they are made once in `SAME_S`."""
        if not self.secret:
            return {}
        period = int(self.seconds()) // SAME_S
        if period != self._period:
            self._period = period
            self._headers = {HEADER: [sign(self.node, self.secret, self.seconds())]}
        return self._headers

    def signer(self, signature: str) -> str | None:
        """The node that signed a request; ``None`` for none of ours."""
        try:
            return verify(signature, self.secret, self.seconds()) if self.secret else None
        except WrongSignature:
            return None


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
