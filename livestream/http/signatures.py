"""
Checks the signatures of requests by downstream nodes.

A request without a signature is served. One that is wrong is refused, and not served as if it were none: a node whose
secret or clock is wrong should be found at once, and not when signatures are required of it.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import define, field
from twisted.logger import Logger

from livestream.http.head import Head, Refused
from livestream.signing import HEADER, Credentials, WrongSignature

WARN_S = 60.0
_FIELD = HEADER.lower().encode("ascii")


@define(eq=False)
class Signatures:
    """Checks the signatures of requests with this node's own ``credentials``."""

    credentials: Credentials
    _warned_at: float = field(default=float("-inf"), init=False)

    log: ClassVar[Logger] = Logger()

    def check(self, head: Head, host: str) -> None:
        """
        Make sure that the peer at ``host`` is the node that it says it is, if it says so.

        :raises Refused: it is not.
        """
        signature = head.fields.get(_FIELD)
        if signature is None:
            return
        try:
            self.credentials.verify(signature.decode("latin-1"))
        except WrongSignature as error:
            self._warn_rate_limited(host, error)
            raise Refused("403 Forbidden") from error

    def _warn_rate_limited(self, host: str, error: WrongSignature) -> None:
        now = self.credentials.seconds()
        if abs(now - self._warned_at) >= WARN_S:
            self._warned_at = now
            self.log.warn("request from {host} rejected for its signature: {error}", host=host, error=error)
