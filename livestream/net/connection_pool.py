"""The connections of a port: how many there may be, in all and of one address, and which makes room for a newcomer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar, Generic, Protocol, TypeVar

from attrs import define, field
from twisted.logger import Logger

from livestream.metrics import Metrics
from livestream.net.address_limiter import AddressLimiter
from livestream.net.log_summary import LogSummary

PLAYERS_SHARE = 0.9
"""Where publishers come in, so many of the connections at most may be players'."""
LIMIT = "rtmp_connections"
FULL = "{count} RTMP clients refused or disconnected in the last {seconds} s: limits.rtmp_connections is {limit}"


class Pooled(Protocol):
    """A connection. ``group`` is the pool's: what its address is counted as."""

    group: str

    def abort(self, reason: str) -> None:
        """End the connection now."""


C = TypeVar("C", bound=Pooled)


@define(eq=False)
class ConnectionPool(Generic[C]):
    """
    Knows which connections are served (publish or play), and in which order the others came.

    Who is not served has proven nothing. So when all places are taken, the one of them that came first has to go:
    strangers who ask for nothing, however many, push each other out, and not somebody who begins to publish.
    """

    metrics: Metrics
    addresses: AddressLimiter
    publishers: int = field(default=0, init=False)
    """How many of the connections publish."""
    _all: set[C] = field(factory=set, init=False)
    _unserved: dict[C, None] = field(factory=dict, init=False)
    _full: LogSummary = field(init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._full = LogSummary(self.log, FULL, self.addresses.clock)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[C]:
        return iter(list(self._all))

    def enter(self, address: str, limit: int, make: Callable[[bool], C]) -> C | None:
        """
        Let a new connection in, if there are no more than ``limit`` with it, and not too many of its address.

        ``make`` is told whether its address is yet to be told by a proxy, and is not called for one that is refused.
        """
        is_proxied = address in self.addresses.proxies
        group = "" if is_proxied else self.addresses.connect(address)
        if group is None:
            return None
        if len(self._all) >= limit and not self._make_room(limit):
            self.addresses.release(group)
            return None
        connection = make(is_proxied)
        connection.group = group
        self._all.add(connection)
        self._unserved[connection] = None
        return connection

    def tell(self, connection: C, address: str) -> bool:
        """A proxy has told a connection's address; return whether that may have one more."""
        group = self.addresses.connect(address)
        connection.group = group or ""
        return group is not None

    def serve(self, connection: C) -> None:
        """It publishes or plays from here on."""
        self._unserved.pop(connection, None)

    def unserve(self, connection: C) -> None:
        """It publishes or plays no more, and may ask for something else."""
        if connection in self._all:
            self._unserved[connection] = None

    def has_room_for_players(self, limit: int) -> bool:
        """Whether one more may play, of ``limit`` connections some of which are kept for publishers."""
        players = len(self._all) - len(self._unserved) - self.publishers
        if players < limit * PLAYERS_SHARE:
            return True
        self._full.note(limit=str(limit))
        return False

    def leave(self, connection: C) -> None:
        """A connection is over; it may have been said before."""
        if connection in self._all:
            self._all.discard(connection)
            self._unserved.pop(connection, None)
            self.addresses.release(connection.group)

    def _make_room(self, limit: int) -> bool:
        self.metrics.limit_hit(LIMIT)
        self._full.note(limit=str(limit))
        oldest = next(iter(self._unserved), None)
        if oldest is None:
            return False
        self.leave(oldest)
        oldest.abort("closed to make room for others")
        return True
