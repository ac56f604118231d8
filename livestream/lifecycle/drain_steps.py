"""What each way of serving does while the node drains: how its viewers are moved, and what is waited for."""

from __future__ import annotations

from livestream.bus.acknowledgements import Acknowledgements
from livestream.cache.cache import Cache
from livestream.http.site import HttpSite
from livestream.ingest.broadcasts import Broadcasts
from livestream.ingest.publish_admission import PublishAdmission
from livestream.lifecycle.drain import Drain, DrainPhase
from livestream.net.rtmp.connection import RtmpConnection
from livestream.net.rtmp.server import RtmpServerFactory
from livestream.push.flv import FlvPush
from livestream.signing import RELAY

PUBLISH_ELSEWHERE = "this server is draining: publish again, to another one or in a minute"
GONE = "this node is draining"
QUIET_S = 2.0
"""Viewers have moved when none has come for as long as each takes to ask again, and so much more."""


def drain_http(draining: Drain, site: HttpSite, flv: FlvPush | None = None, viewers_ask_every_s: float = 0.0) -> None:
    """
    Every connection ends with its next response; FLV viewers are disconnected at a key frame.

    Viewers who make a connection per request come back, every ``viewers_ask_every_s``, until they have learnt where
    else to go.
    """
    quiet_s = viewers_ask_every_s + QUIET_S if viewers_ask_every_s else 0.0

    def coming() -> int:
        return int(site.clock.seconds() - site.left_at < quiet_s)

    draining.at(DrainPhase.ANNOUNCED, site.drain)
    draining.wait_for(DrainPhase.MIGRATING, "HTTP responses", lambda: site.answering)
    draining.wait_for(DrainPhase.MIGRATING, "or more recent HTTP viewers", coming)
    if flv is not None:
        draining.at(DrainPhase.MIGRATING, flv.disconnect_at_key_frame)
        draining.wait_for(DrainPhase.MIGRATING, "FLV viewers", lambda: flv.watching)
        draining.at(DrainPhase.CLOSING, flv.disconnect_all)
        draining.wait_for(DrainPhase.CLOSING, "FLV viewers", lambda: flv.watching)
    draining.at(DrainPhase.CLOSING, site.close_idle)
    draining.wait_for(DrainPhase.CLOSING, "HTTP responses", lambda: site.answering)


def drain_rtmp(draining: Drain, factory: RtmpServerFactory, *, keeps_relays: bool) -> None:
    """
    Players are redirected, and stay while there is nowhere to go; downstream relays find their way themselves.

    A node that alone has the broadcasts, as an ingest does, keeps its relays.
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

    draining.at(DrainPhase.MIGRATING, move)
    draining.wait_for(DrainPhase.MIGRATING, "RTMP players", lambda: len(players()))
    draining.at(DrainPhase.CLOSING, close)
    draining.wait_for(DrainPhase.CLOSING, "RTMP players", lambda: len(players()))


def drain_cache(draining: Drain, cache: Cache) -> None:
    """Fetches that have begun are finished."""
    draining.wait_for(DrainPhase.CLOSING, "objects being fetched", lambda: cache.filling)


def drain_publishers(
    draining: Drain, admission: PublishAdmission, broadcasts: Broadcasts, acknowledgements: Acknowledgements | None
) -> None:
    """
    New publishers are refused, and those here go on while there is time. Then all that has come is cut, announced and,
    with ``acknowledgements``, kept until the origins have it. No broadcast is announced as ended: its publisher will go
    on.
    """
    draining.at(DrainPhase.ANNOUNCED, lambda: admission.drain(PUBLISH_ELSEWHERE))
    draining.wait_for(DrainPhase.MIGRATING, "publishers", lambda: admission.publishing)
    draining.at(DrainPhase.CLOSING, admission.disconnect_all)
    draining.wait_for(DrainPhase.CLOSING, "broadcasts with segments to announce", lambda: broadcasts.unsettled)
    if acknowledgements is not None:
        draining.at(DrainPhase.ANNOUNCED, acknowledgements.start)
        draining.wait_for(
            DrainPhase.CLOSING, "renditions that origins are fetching", lambda: acknowledgements.outstanding
        )
