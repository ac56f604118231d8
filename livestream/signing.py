"""
What nodes of a cluster sign with the cluster's secret: what they tell each other, and their requests to each other.

The signature of a request, or of an RTMP play, is ``NODE.EXPIRES.HMAC``: the name of the node that asks, a Unix time in
seconds by its own clock, and the HMAC-SHA256 of both, in hex digits. It stays the same for half a minute, so that equal
requests are equal byte for byte. What the clock of another node shows is learnt from what it says
(`livestream.cluster.runs`).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable

from attrs import define, field

from livestream.model.names import NODE

HEADER = "X-Livestream-Node"
"""The header field that has the signature of a request."""
RELAY = "relay"
"""The key in the query of an RTMP play by which a relay says that it is one; the value is its signature."""
UNSIGNED = "1"
"""The value where there is no secret."""
VALID_S = 60
"""A signature expires so long after the moment at which it could first be made."""
SAME_S = 30
"""For so long it stays the same."""
CLOCKS_APART_S = 300
"""So far may the clocks of two nodes be apart."""
LEARNT_APART_S = 30
"""So far from now may a message be of a node whose clock is known: it is known to some seconds, and messages queue."""

_SIGNATURE = re.compile(rf"({NODE})\.([0-9]{{1,12}})\.([0-9a-f]{{64}})")


def sign(node: str, secret: str, now: float) -> str:
    """The signature of ``node`` at the Unix time ``now``."""
    claim = f"{node}.{int(now) // SAME_S * SAME_S + VALID_S}"
    return f"{claim}.{_digest(claim, secret)}"


class WrongSignature(Exception):
    """A signature is not that of a node of ours, or not of this time; the message says which, and what to do."""


ClockOf = Callable[[str], float | None]
"""The Unix time in seconds that the clock of a node shows now, as far as it was learnt; ``None`` where it was not."""


def unknown_clock(node: str) -> float | None:
    """What is known of clocks where nothing is."""
    return None


def verify(signature: str, secret: str, now: float, clock_of: ClockOf = unknown_clock) -> str:
    """
    Return the node that made a signature.

    It expires by the clock of that node, which ``clock_of`` knows. Where it does not, our own shows ``now``, and the
    two may be minutes apart.

    :raises WrongSignature: no node of ours made it, or it has expired, or cannot have been made yet.
    """
    match = _SIGNATURE.fullmatch(signature)
    node, expires, digest = match.groups() if match else ("", "0", "")
    if not hmac.compare_digest(digest, _digest(f"{node}.{expires}", secret)):
        raise WrongSignature("it is signed with another secret; give every node the same cluster.secret")
    learnt = clock_of(node)
    at, apart_s = (now, CLOCKS_APART_S) if learnt is None else (learnt, LEARNT_APART_S)
    if not -apart_s <= int(expires) - at <= VALID_S + apart_s:
        raise WrongSignature(
            f"{node} signed it more than {apart_s} s ago or ahead; synchronize the clocks of both nodes"
        )
    return node


@define(eq=False)
class Credentials:
    """
    Who this node is to the others of its cluster, and who they are.

    ``seconds`` is our wall clock, and ``clock_of`` has those of the others, as far as they are known.

    Without a secret it signs nothing, and knows nobody.
    """

    node: str
    secret: str = field(repr=False)
    seconds: Callable[[], float]
    clock_of: ClockOf = unknown_clock
    _period: int = field(default=-1, init=False)
    _signature: str = field(default="", init=False)
    _headers: dict[str, list[str]] = field(factory=dict, init=False)

    def headers(self) -> dict[str, list[str]]:
        """The header fields that sign a request; they are made once in `SAME_S`."""
        self._renew()
        return self._headers

    def relay(self) -> str:
        """What a play has at `RELAY`."""
        self._renew()
        return self._signature or UNSIGNED

    def _renew(self) -> None:
        period = int(self.seconds()) // SAME_S
        if self.secret and period != self._period:
            self._period = period
            self._signature = sign(self.node, self.secret, self.seconds())
            self._headers = {HEADER: [self._signature]}

    def signer(self, signature: str) -> str | None:
        """The node that signed a request; ``None`` for none of ours."""
        try:
            return self.verify(signature) if self.secret else None
        except WrongSignature:
            return None

    def verify(self, signature: str) -> str:
        """The node that signed a request. :raises WrongSignature: none of ours did, or not now."""
        return verify(signature, self.secret, self.seconds(), self.clock_of)


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
