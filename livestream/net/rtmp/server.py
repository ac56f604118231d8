"""An RTMP port: whom it lets in, and how often its connections are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from attrs import define, field
from twisted.internet.interfaces import IAddress, IReactorFDSet, IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import ServerFactory

from livestream.metrics import Metrics
from livestream.net.address_limiter import AddressLimiter
from livestream.net.connection_pool import ConnectionPool
from livestream.net.direct_socket import DirectSocket, Poller
from livestream.net.rtmp.connection import RtmpConnection
from livestream.net.rtmp.limits import RtmpLimits
from livestream.net.rtmp.requests import UNIX, Playing, Publishing, RtmpRequest

REST_S = 0.008
"""How long frames may wait until those of other publishers are read as well."""
UNWATCHED_REST_S = 0.048
"""And how long while nobody watches live: what is cut into segments of seconds has time for that."""
MANY_PUBLISHERS = 8
"""From so many on it is worth a wait, which whoever else comes to this port has at each turn of the conversation."""


@define(eq=False)
class RtmpServerFactory(ServerFactory):
    """
    Takes RTMP connections for whoever publishes and plays here; either may be missing.

    ``elsewhere`` is asked before a play begins, and says where it is to be had instead, as ``rtmp://HOST:PORT/APP``.
    No address has a limit until ``addresses`` is given some.
    """

    publishing: Publishing | None
    playing: Playing | None
    limits: RtmpLimits
    clock: IReactorTime
    metrics: Metrics
    elsewhere: Callable[[RtmpRequest], str | None] = lambda _: None
    noisy = False
    unserved_bytes: int = field(default=0, init=False)
    """What is held for those who do not publish."""
    addresses: AddressLimiter = field(init=False)
    pool: ConnectionPool[RtmpConnection] = field(init=False)
    _polling: Poller | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.addresses = AddressLimiter("rtmp_", self.clock, self.metrics)
        self.pool = ConnectionPool(self.metrics, self.addresses)
        self._polling = Poller(self.clock, self._rest_s) if IReactorFDSet.providedBy(self.clock) else None

    def buildProtocol(self, addr: IAddress | None) -> TwistedProtocol | None:
        host = getattr(addr, "host", UNIX)
        return self.pool.enter(host, self.limits.connections, partial(RtmpConnection, self, host))

    @property
    def has_room_for_players(self) -> bool:
        """Whether one more may play: where publishers come in, some room is kept for them."""
        return self.publishing is None or self.pool.has_room_for_players(self.limits.connections)

    def _rest_s(self) -> float:
        if self.pool.publishers < MANY_PUBLISHERS:
            return 0.0
        watched = self.playing is not None and self.playing.audience
        return REST_S if watched or self.pool.publishers < len(self.pool) else UNWATCHED_REST_S

    def adopt(self, direct: DirectSocket) -> None:
        """Poll a plain connection that has just been made."""
        if self._polling is not None:
            self._polling.adopt(direct)

    def gone(self, connection: RtmpConnection, direct: DirectSocket | None) -> None:
        """Forget a connection that is over, with that socket if it was plain."""
        if self._polling is not None and direct is not None:
            self._polling.release(direct)
        self.pool.leave(connection)

    def redirect_players(self) -> None:
        """Have everybody who plays go on where ``elsewhere`` says; whom it says nothing for stays."""
        for connection in self.connections():
            url = None if connection.played is None else self.elsewhere(connection.played)
            if url is not None:
                connection.redirect(url)

    def connections(self) -> Iterator[RtmpConnection]:
        return iter(self.pool)
