"""
How much one address asks of this process: its connections, and the publishing keys that it got wrong.

One IPv4 address counts as one, and so does one IPv6 network of 64 bits, within which a host may take any address it
likes (RFC 8981). Nothing here looks at a clock: ``now`` is in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from attrs import define, field, frozen

from livestream.net.token_bucket import TokenBucket

BURST_S = 2
"""An address may open so many seconds' worth of connections at once, as a lecture hall does when a stream begins."""
MINUTE_S = 60.0
MAX_IDLE = 16_384
"""So many addresses are remembered that have no connection: the oldest are forgotten first. It is 4 MB of memory."""


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """An address without a zone, or ``None`` for any other text. An IPv4 address that is mapped to IPv6 is IPv4."""
    try:
        numeric = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(numeric, "ipv4_mapped", None) or numeric


@frozen(cache_hash=True)
class Networks:
    """Networks, asked whether an address is in one of them."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, networks: Iterable[str]) -> Networks:
        return cls(tuple(ip_network(network) for network in networks))

    def __bool__(self) -> bool:
        return bool(self.networks)

    def __contains__(self, address: str) -> bool:
        return bool(self.networks) and self.has(parse_address(address))

    def has(self, address: IPv4Address | IPv6Address | None) -> bool:
        """Whether an address that was parsed is in one of the networks."""
        return address is not None and any(address in network for network in self.networks)


NONE = Networks()


@lru_cache(4096)
def group_of(address: str, exempt: Networks = NONE) -> str:
    """What counts as one with this address; empty for one that is exempt, and for what is none (a unix socket)."""
    numeric = parse_address(address)
    if numeric is None or exempt.has(numeric):
        return ""
    if isinstance(numeric, IPv4Address):
        return str(numeric)
    return f"{IPv6Address(int(numeric) >> 64 << 64)}/64"


class OverLimit(Exception):
    """An address has as many connections as it may; ``limit`` is the field of `AddressLimits`."""

    def __init__(self, limit: str) -> None:
        super().__init__(limit)
        self.limit = limit


@frozen
class AddressLimits:
    """How many connections one address may have, and how many new ones a second; 0: no limit."""

    connections: int = 0
    connects: int = 0
    exempt: Networks = NONE


@define(eq=False)
class _Entry:
    """One address. ``bucket`` has a token for each new connection, and ``idle_at`` is when the last one was over."""

    connections: int = 0
    bucket: TokenBucket | None = None
    idle_at: float = 0.0

    def has_token(self, rate: int, now: float) -> bool:
        """Whether there may be a new connection, which is then counted. Another ``rate`` begins with a full bucket."""
        if not rate:
            return True
        if self.bucket is None or self.bucket.rate != rate:
            self.bucket = TokenBucket(rate, rate * BURST_S)
        return self.bucket.try_take(now)


@define(eq=False)
class AddressConnections:
    """
    The connections of each address.

    What is remembered of an address that has none left is gone `BURST_S` later, when it has no bearing any more.
    """

    limits: AddressLimits = field(factory=AddressLimits)
    _busy: dict[str, _Entry] = field(factory=dict, init=False)
    _idle: dict[str, _Entry] = field(factory=dict, init=False)

    def __len__(self) -> int:
        """How many addresses are remembered."""
        return len(self._busy) + len(self._idle)

    def connect(self, address: str, now: float) -> str:
        """
        Count a new connection and return what :meth:`release` is to be given when it is over.

        :raises OverLimit: there may not be one more now.
        """
        return self._enter(address, now, self.limits.connects)

    def hold(self, address: str, now: float) -> str:
        """
        Count something that lasts as a connection does, but is none of its own, as :meth:`connect` does.

        :raises OverLimit: the address has as many as it may.
        """
        return self._enter(address, now, 0)

    def release(self, group: str, now: float) -> None:
        """A connection is over."""
        if not group:
            return
        entry = self._busy[group]
        entry.connections -= 1
        if not entry.connections:
            del self._busy[group]
            self._remember(group, entry, now)

    def _enter(self, address: str, now: float, rate: int) -> str:
        self._forget(now)
        group, limits = group_of(address, self.limits.exempt), self.limits
        if not group:
            return ""
        entry = self._busy.get(group) or self._idle.pop(group, None) or _Entry()
        if 0 < limits.connections <= entry.connections:
            raise OverLimit("connections")
        if not entry.has_token(rate, now):
            if not entry.connections:
                self._remember(group, entry, now)
            raise OverLimit("connects")
        entry.connections += 1
        self._busy[group] = entry
        return group

    def _remember(self, group: str, entry: _Entry, now: float) -> None:
        if entry.bucket is not None:
            entry.idle_at = now
            self._idle[group] = entry
            if len(self._idle) > MAX_IDLE:
                del self._idle[next(iter(self._idle))]
        self._forget(now)

    def _forget(self, now: float) -> None:
        """Drop the oldest, whose buckets are full again; they stand in the order in which they became idle."""
        while self._idle:
            group, entry = next(iter(self._idle.items()))
            if now - entry.idle_at < BURST_S:
                return
            del self._idle[group]


@define(eq=False)
class _Tries:
    since: float
    count: int = 0


@define(eq=False)
class WrongKeys:
    """
    How often each address has tried a wrong publishing key in this minute, which begins with the first.

    At the limit all that it tries is refused until the minute is over, right keys too: if those were let in, the limit
    would not keep anybody from trying on. 0: no limit.
    """

    limit: int = 0
    exempt: Networks = NONE
    _tries: dict[str, _Tries] = field(factory=dict, init=False)

    def __len__(self) -> int:
        """How many addresses are remembered."""
        return len(self._tries)

    def add(self, address: str, now: float) -> None:
        """Count a wrong key."""
        self._forget(now)
        group = group_of(address, self.exempt)
        if group and self.limit:
            self._tries.setdefault(group, _Tries(now)).count += 1
            if len(self._tries) > MAX_IDLE:
                del self._tries[next(iter(self._tries))]

    def are_too_many(self, address: str, now: float) -> bool:
        """Whether the address has tried as often as it may."""
        self._forget(now)
        tries = self._tries.get(group_of(address, self.exempt)) if self._tries else None
        return tries is not None and 0 < self.limit <= tries.count

    def _forget(self, now: float) -> None:
        while self._tries:
            group, tries = next(iter(self._tries.items()))
            if 0 <= now - tries.since < MINUTE_S:
                return
            del self._tries[group]
