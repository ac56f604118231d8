"""What each way of serving does when the node goes: how those who are served this way move, and when none is left."""

from __future__ import annotations

from livestream.bus.acknowledgements import Receipts
from livestream.cache.cache import Cache
from livestream.http.site import HttpSite
from livestream.ingest.broadcasts import Broadcasts
from livestream.ingest.publish_admission import PublishDoor
from livestream.lifecycle.drain import Draining, Phase
from livestream.net.rtmp.connection import RtmpConnection
from livestream.net.rtmp.server import RtmpServerFactory
from livestream.push.flv import FlvPush
from livestream.signing import RELAY

SHUT = "this server is going away: publish again, to another or in a minute"
GONE = "this node is going away"
QUIET_S = 2.0


def leave_http(
    draining: Draining, site: HttpSite, flv: FlvPush | None = None, viewers_ask_every_s: float = 0.0
) -> None:
    """
    Every connection ends with its next answer. FLV viewers are ended at a key frame.

    Viewers who have a connection per request come back until they have learnt where else to go, so they have moved when
    none has come for as long as it takes until one asks again, and a little more.
    """
    quiet_s = viewers_ask_every_s + QUIET_S if viewers_ask_every_s else 0.0

    def coming() -> int:
        return int(site.clock.seconds() - site.left_at < quiet_s)

    draining.at(Phase.TOLD, site.drain)
    draining.wait_for(Phase.MOVING, "HTTP answers", lambda: site.answering)
    draining.wait_for(Phase.MOVING, "or more HTTP viewers who came lately", coming)
    if flv is not None:
        draining.at(Phase.MOVING, flv.move)
        draining.wait_for(Phase.MOVING, "FLV viewers", lambda: flv.watching)
        draining.at(Phase.CLOSING, flv.send_away)
        draining.wait_for(Phase.CLOSING, "FLV viewers", lambda: flv.watching)
    draining.at(Phase.CLOSING, site.close_idle)
    draining.wait_for(Phase.CLOSING, "HTTP answers", lambda: site.answering)


def leave_rtmp(draining: Draining, factory: RtmpServerFactory, *, keeps_relays: bool) -> None:
    """
    Players are told where to go on, and stay when there is nowhere; relays of the tier below find the way themselves.

    They are kept by a node that alone has the broadcasts, as an ingest does.
    """

    def relays() -> list[RtmpConnection]:
        return [each for each in factory.connections() if each.played is not None and RELAY in each.played.query]

    def players() -> list[RtmpConnection]:
        return [each for each in factory.connections() if each.played is not None and RELAY not in each.played.query]

    def move() -> None:
        factory.redirect_players()
        for relay in () if keeps_relays else relays():
            relay.close(GONE)

    def close() -> None:
        for connection in players() if keeps_relays else [*players(), *relays()]:
            connection.close(GONE)

    draining.at(Phase.MOVING, move)
    draining.wait_for(Phase.MOVING, "RTMP players", lambda: len(players()))
    draining.at(Phase.CLOSING, close)
    draining.wait_for(Phase.CLOSING, "RTMP players", lambda: len(players()))


def leave_cache(draining: Draining, cache: Cache) -> None:
    """What is being fetched is fetched."""
    draining.wait_for(Phase.CLOSING, "objects on their way here", lambda: cache.filling)


def leave_ingest(draining: Draining, door: PublishDoor, broadcasts: Broadcasts, receipts: Receipts | None) -> None:
    """
    Newcomers are refused. Who publishes goes on while there is time; then all that came is cut, announced, and, with
    ``receipts``, kept until the origins have it. Nobody is told that a broadcast is over, for its publisher will go on.
    """
    draining.at(Phase.TOLD, lambda: door.shut(SHUT))
    draining.wait_for(Phase.MOVING, "publishers", lambda: door.publishing)
    draining.at(Phase.CLOSING, door.send_away)
    draining.wait_for(Phase.CLOSING, "broadcasts that are not all out", lambda: broadcasts.unsettled)
    if receipts is not None:
        draining.at(Phase.TOLD, receipts.start)
        draining.wait_for(Phase.CLOSING, "renditions that origins fetch", lambda: receipts.missing)
