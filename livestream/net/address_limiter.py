"""Whose connection is one too many for its address, for the listeners of one kind: counted, and said in the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from livestream.metrics import Metrics
from livestream.net.address_limits import AddressConnections, Networks, OverLimit
from livestream.net.log_summary import LogSummary

OVER = "{count} connections refused in the last {seconds} s, such as one from {address}: limits.{limit} is {most}"
NO_HEADER = (
    "{count} connections closed in the last {seconds} s for lack of a PROXY header, such as one from {address}: have "
    "that proxy send the header, or remove it from cluster.trusted_proxies ({reason})"
)


@define(eq=False)
class AddressLimiter:
    """
    Counts connections by address. A limit is named as its setting is: ``prefix`` and ``connections_per_address``.

    Peers in ``proxies`` begin with a header of the PROXY protocol: they are counted by the address in it.
    """

    prefix: str
    clock: IReactorTime
    metrics: Metrics
    connections: AddressConnections = field(factory=AddressConnections)
    proxies: Networks = Networks()
    _over: LogSummary = field(init=False)
    _no_header: LogSummary = field(init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._over = LogSummary(self.log, OVER, self.clock)
        self._no_header = LogSummary(self.log, NO_HEADER, self.clock)

    def connect(self, address: str) -> str | None:
        """Count a new connection; return what :meth:`release` is to be given, or ``None`` if there may not be one."""
        return self._enter(self.connections.connect, address)

    def hold(self, address: str) -> str | None:
        """Count something that lasts and is no connection of its own, as :meth:`connect` does."""
        return self._enter(self.connections.hold, address)

    def release(self, group: str) -> None:
        """A connection is over."""
        self.connections.release(group, self.clock.seconds())

    def warn_of_proxy(self, address: str, reason: str) -> None:
        """A proxy has not told whose connection it is."""
        self.metrics.limit_hit("proxy_protocol")
        self._no_header.note(address=address, reason=reason)

    def _enter(self, enter: Callable[[str, float], str], address: str) -> str | None:
        try:
            return enter(address, self.clock.seconds())
        except OverLimit as over:
            self._refused(address, over)
            return None

    def _refused(self, address: str, over: OverLimit) -> None:
        limit = f"{self.prefix}{over.limit}_per_address"
        self.metrics.limit_hit(limit)
        self._over.note(address=address, limit=limit, most=str(getattr(self.connections.limits, over.limit)))
