"""Who may play as a relay: a node of the tier below. The port of an ingest plays to nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from livestream.metrics import Metrics
from livestream.model.admission import Reason, Refusal
from livestream.net.rtmp.client import RtmpLink
from livestream.net.rtmp.limits import RtmpLimits
from livestream.net.rtmp.requests import UNIX, RtmpRequest
from livestream.net.rtmp.server import RtmpServerFactory
from livestream.push.feed import PushLimits
from livestream.push.feeds import Feeds
from livestream.push.framing import CLOCK
from livestream.push.relay_admission import (
    PLAY_AT_AN_EDGE,
    PLAY_WITHOUT,
    WARN_S,
    NearRelays,
    RelayAdmission,
    RelayRule,
    SignedRelays,
)
from livestream.push.rtmp import RtmpPlaying
from livestream.push.timeline_splice import TimelineOrigin
from livestream.push.viewer_admission import ViewerAdmission
from livestream.rtmp.client import ClientSession
from livestream.settings import PRIVATE_NETWORKS
from livestream.signing import (
    CLOCKS_APART_S,
    LEARNT_APART_S,
    SAME_S,
    VALID_S,
    ClockOf,
    Credentials,
    sign,
    unknown_clock,
)
from tests.observer import Observer
from tests.push.frames import configs, picture

SECRET, NOW = "the secret of these tests", 1_800_000_000.0


@define(eq=False)
class Admission:
    """The admission of one port, at a time of the test."""

    rule: RelayRule
    takes_viewers: bool = True
    clock: Clock = field(factory=Clock)
    relays: RelayAdmission = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.relays = RelayAdmission(self.rule, self.takes_viewers, self.clock.seconds)

    def ask(self, relay: str | None = None, address: str = "192.0.2.1") -> bool | str:
        """Whether a relay asks, or what it is told if it is refused."""
        query = {"rendition": "480p"} if relay is None else {"rendition": "480p", "relay": relay}
        try:
            return self.relays.is_relay(RtmpRequest("live", "show", query, address))
        except Refusal as refusal:
            assert refusal.limit == "relay" and refusal.reason is Reason.NOT_ALLOWED
            return refusal.message


def signed_relays(clock_of: ClockOf = unknown_clock) -> SignedRelays:
    return SignedRelays(Credentials("origin-1", SECRET, lambda: NOW, clock_of))


NEAR = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.2", UNIX]
PRIVATE = ["10.1.2.3", "172.31.0.1", "192.168.7.7", "169.254.1.1", "fd00::1", "fe80::1%eth0", "::ffff:10.0.0.1"]
PUBLIC = ["192.0.2.1", "172.32.0.1", "2001:db8::1", "::ffff:192.0.2.1", "100.64.0.1"]


@pytest.mark.parametrize("takes_viewers", [True, False])
def test_without_a_secret_the_address_decides(takes_viewers: bool) -> None:
    refusal = PLAY_WITHOUT if takes_viewers else PLAY_AT_AN_EDGE
    by_default = Admission(NearRelays.of(PRIVATE_NETWORKS), takes_viewers)
    here_alone = Admission(NearRelays.of([]), takes_viewers)
    for value in ("1", "", sign("edge-1", SECRET, NOW)):
        for address in (*NEAR, *PRIVATE):
            assert by_default.ask(value, address) is True, address
        for address in NEAR:
            assert here_alone.ask(value, address) is True, address
        for address in (*PRIVATE, *PUBLIC):
            assert here_alone.ask(value, address) == refusal, address
        for address in PUBLIC:
            assert by_default.ask(value, address) == refusal, address
    assert Admission(NearRelays.of(["192.0.2.0/24"])).ask("1", "192.0.2.1") is True


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.1"])
@pytest.mark.parametrize("rule", [NearRelays.of(PRIVATE_NETWORKS), signed_relays()], ids=["no secret", "a secret"])
def test_viewers_play_where_viewers_are_taken(rule: RelayRule, address: str) -> None:
    assert Admission(rule).ask(address=address) is False
    assert Admission(rule, takes_viewers=False).ask(address=address) == PLAY_AT_AN_EDGE


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.1"])
def test_with_a_secret_the_signature_decides_wherever_it_comes_from(address: str) -> None:
    ingest = Admission(signed_relays(), takes_viewers=False)
    assert ingest.ask(sign("origin-1.eu", SECRET, NOW), address) is True
    signature = sign("a", SECRET, NOW)
    wrong = ["1", "", "a", signature.upper(), signature + "\n", f"b{signature[1:]}", f"{signature[:-1]}x"]
    wrong += [sign("a", "another secret of others", NOW), "a" * 16_000, "\u0661." * 100, f"a.{'9' * 9_000}.{'0' * 64}"]
    assert {ingest.ask(each, address) for each in wrong} == {PLAY_AT_AN_EDGE}


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [
        (VALID_S + CLOCKS_APART_S, True),
        (-CLOCKS_APART_S, True),
        (VALID_S + CLOCKS_APART_S + 1, PLAY_WITHOUT),
        (-CLOCKS_APART_S - SAME_S, PLAY_WITHOUT),
    ],
)
def test_a_signature_expires(age_s: float, expected: bool | str) -> None:
    assert Admission(signed_relays()).ask(sign("edge-1", SECRET, NOW - age_s)) == expected


@pytest.mark.parametrize("apart_s", [-900, -CLOCKS_APART_S, CLOCKS_APART_S, 900])
def test_it_expires_by_the_clock_of_its_node_once_that_is_known(apart_s: float) -> None:
    edge = Admission(signed_relays({"edge-1": NOW + apart_s}.get))
    assert edge.ask(sign("edge-1", SECRET, NOW + apart_s)) is True
    assert edge.ask(sign("edge-1", SECRET, NOW + apart_s - VALID_S - LEARNT_APART_S - SAME_S)) == PLAY_WITHOUT


def test_refusals_are_logged_once_a_minute_with_what_to_do_and_without_what_was_sent() -> None:
    scene, secret = Admission(signed_relays(), takes_viewers=False), sign("edge-1", "another secret of others", NOW)
    scene.clock.advance(NOW)
    for relay in (secret, None, "1"):
        with capturedLogs() as logged:
            for _ in range(50):
                assert scene.ask(relay) == PLAY_AT_AN_EDGE
        said = [str(formatEvent(event)) for event in logged]
        if relay is None:
            assert said == ["192.0.2.1 may not play here as a viewer: viewers play at an edge"]
        else:
            [line] = said
            unsigned = "it is not signed; give that node the cluster.secret and this version"
            wrong = "it is signed with another secret; give every node the same cluster.secret"
            reason = unsigned if relay == "1" else wrong
            assert line == f"192.0.2.1 may not play here as a relay: {reason}"
        assert not [event for event in logged if secret in str(event)]
        scene.clock.advance(WARN_S)


@define(eq=False)
class Player:
    """What a player or a relay is told, until media comes or it is refused."""

    told: list[str] = field(factory=list)
    settled: Deferred[None] = field(factory=Deferred)

    def started(self) -> None: ...
    def heard(self) -> None: ...
    def over(self) -> None: ...

    def media(self, type_id: int, timestamp_ms: int, body: bytes) -> None:
        self._settle("media")

    def data(self, timestamp_ms: int, name: str, values: list[object]) -> None:
        if name == CLOCK:
            self.told.append("clock")

    def lost(self, reason: str) -> None:
        self._settle(reason)

    def _settle(self, word: str) -> None:
        if not self.settled.called:
            self.told.append(word)
            self.settled.callback(None)


@define(eq=False)
class Port:
    """A port on a real socket, where one stream is live."""

    number: int
    metrics: Metrics

    async def play(self, name: str) -> list[str]:
        """What somebody at 127.0.0.2 gets who plays ``name``."""
        player, url = Player(), f"rtmp://127.0.0.1:{self.number}"
        link = RtmpLink(url, player, reactor, Observer())
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.number, 5, ("127.0.0.2", 0))
        link.connect(endpoint, ClientSession(b"player", "live", f"{url}/live", name))
        await player.settled.addTimeout(5, reactor)
        link.close()
        return player.told

    def hits(self, limit: str) -> float:
        return self.metrics.registry.get_sample_value("livestream_limits_hit_total", {"limit": limit}) or 0.0


@asynccontextmanager
async def port(rule: RelayRule, *, takes_viewers: bool) -> AsyncIterator[Port]:
    clock: Any = reactor
    metrics = Metrics()
    feeds = Feeds(PushLimits(), clock, metrics)
    feed = feeds.begin("show", "source", TimelineOrigin(7))
    for frame in [*configs(), picture(0, True)]:
        feed.add(evolve(frame, arrived=clock.seconds()))
    play = RtmpPlaying(ViewerAdmission(feeds), RelayAdmission(rule, takes_viewers, clock.seconds))
    listening = clock.listenTCP(0, RtmpServerFactory(None, play, RtmpLimits(), clock, metrics), interface="127.0.0.1")
    try:
        yield Port(listening.getHost().port, metrics)
    finally:
        feeds.stop()
        await listening.stopListening()


def now_signed(secret: str = SECRET, ago_s: float = 0.0) -> str:
    clock: Any = reactor
    return sign("edge-1", secret, clock.seconds() - ago_s)


@pytest_twisted.ensureDeferred
async def test_an_ingest_of_a_cluster_plays_to_its_relays_and_to_nobody_else() -> None:
    clock: Any = reactor
    credentials = Credentials("ingest-1", SECRET, clock.seconds, {"edge-2": clock.seconds() + 900}.get)
    with capturedLogs() as logged:
        async with port(SignedRelays(credentials), takes_viewers=False) as ingest:
            late = now_signed(ago_s=VALID_S + CLOCKS_APART_S + SAME_S)
            refused = ["show", "show?rendition=source", "show?relay=1", f"show?relay={late}", "show?relay="]
            refused += [f"show?relay={now_signed('another secret of others')}", f"show?relay={'a' * 9000}"]
            for name in refused:
                assert await ingest.play(name) == [PLAY_AT_AN_EDGE], name
            assert ingest.hits("relay") == len(refused) and ingest.hits("refused") == 0
            assert await ingest.play(f"show?rendition=source&relay={now_signed()}") == ["clock", "media"]
            ahead = sign("edge-2", SECRET, clock.seconds() + 900)
            assert await ingest.play(f"show?relay={ahead}") == ["clock", "media"]
    lines = [str(formatEvent(event)) for event in logged if "log_namespace" in event]
    assert len([line for line in lines if "may not play" in line]) == 2
    assert not [line for line in lines if "refused" in line or PLAY_AT_AN_EDGE in line]
    assert not [event for event in logged for signature in (late, ahead) if signature in str(event)]


@pytest_twisted.ensureDeferred
async def test_without_a_secret_an_ingest_plays_to_the_relays_of_this_machine() -> None:
    async with port(NearRelays.of([]), takes_viewers=False) as ingest:
        assert await ingest.play("show") == [PLAY_AT_AN_EDGE]
        assert await ingest.play("show?relay=1") == ["clock", "media"]


@pytest_twisted.ensureDeferred
async def test_an_edge_plays_to_viewers_and_takes_relays_of_its_cluster_alone() -> None:
    clock: Any = reactor
    async with port(SignedRelays(Credentials("edge-2", SECRET, clock.seconds)), takes_viewers=True) as edge:
        assert await edge.play("show") == ["media"]
        assert await edge.play("show?relay=1") == [PLAY_WITHOUT]
        assert await edge.play(f"show?relay={now_signed()}") == ["clock", "media"]
        assert edge.hits("relay") == 1
