"""Admission of publishers at an ingest: who may publish, and who may take over from whom."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from livestream.ingest.broadcast import ignore
from livestream.ingest.keys import PublishKeys
from livestream.ingest.publish_admission import RELEASE_S, SILENT_S, PublishAdmission, Publisher
from livestream.ingest.rtmp import RtmpPublishing
from livestream.ingest.takeovers import Takeovers
from livestream.media.errors import UnsupportedCodec
from livestream.metrics import Metrics
from livestream.model.admission import Refusal
from livestream.net.rtmp.requests import CODES, RtmpRequest


@define(eq=False)
class FakeConnection:
    ends: list[str] = field(factory=list)
    warnings: list[str] = field(factory=list)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def close(self, reason: str) -> None:
        self.ends.append(reason)

    def refuse(self, refusal: Refusal) -> None:
        self.ends.append(refusal.message)


@define(eq=False)
class FakeBroadcast:
    left_for: list[str] = field(factory=list)
    got: list[bytes] = field(factory=list)
    warn: Callable[[str], None] = ignore

    def media(self, type_id: int, timestamp_ms: int, body: bytes) -> int:
        if body == b"mp3":
            raise UnsupportedCodec("audio MP3 cannot be served; use AAC")
        self.got.append(body)
        return 10_000 if body == b"key frame" else 0

    def left(self, reason: str, *, is_over: bool = False) -> None:
        self.left_for.append(reason)


@define(eq=False)
class FakeRegistry:
    broadcasts: dict[str, FakeBroadcast] = field(factory=dict)

    def resume_or_start(self, stream: str, warn: Callable[[str], None]) -> FakeBroadcast:
        broadcast = self.broadcasts.setdefault(stream, FakeBroadcast())
        broadcast.warn = warn
        return broadcast


def answered(publishing: Coroutine[Any, Any, Publisher], clock: Clock) -> Publisher:
    """What is decided at once, or after the longest wait."""
    admission = Deferred.fromCoroutine(publishing)
    if not admission.called:
        clock.advance(RELEASE_S)
    outcome: list[Publisher | Failure] = []
    admission.addBoth(outcome.append)
    (end,) = outcome
    if isinstance(end, Failure):
        end.raiseException()
    assert isinstance(end, Publisher)
    return end


@define(eq=False)
class Scene:
    secrets: dict[str, str] = field(factory=dict)
    clock: Clock = field(factory=Clock)
    metrics: Metrics = field(factory=Metrics)
    registry: FakeRegistry = field(factory=FakeRegistry)
    admission: PublishAdmission = field(init=False)

    def __attrs_post_init__(self) -> None:
        keys, takeovers = PublishKeys(self.secrets), Takeovers(self.clock)
        self.admission = PublishAdmission(keys, self.registry, self.clock, self.metrics, 2, takeovers)

    def publish(
        self, name: str = "show", key: str = "", app: str = "live", address: str = "192.0.2.1"
    ) -> tuple[Publisher, FakeConnection]:
        connection = FakeConnection()
        query = {"key": key} if key else {}
        publishing = RtmpPublishing(self.admission)
        request = RtmpRequest(app, name, query, address)
        return answered(publishing.publish(request, connection), self.clock), connection  # type: ignore[arg-type]


KEYS = {"show": "show-secret", "team-*": "team-secret", "team-red-*": "red-secret"}


@pytest.mark.parametrize(
    ("stream", "secret", "is_admitted"),
    [
        ("show", "show-secret", True),
        ("show", "team-secret", False),
        ("show", "", False),
        ("other", "show-secret", False),
        ("other", "", False),
        ("team-blue-1", "team-secret", True),
        ("team-red-1", "red-secret", True),
        ("team-red-1", "team-secret", False),
    ],
)
def test_a_stream_is_opened_by_its_own_key_or_that_of_the_longest_pattern(
    stream: str, secret: str, is_admitted: bool
) -> None:
    assert PublishKeys(KEYS).admits(stream, secret) is is_admitted


def test_without_keys_anyone_publishes() -> None:
    assert PublishKeys({}).admits("show", "")


@pytest.mark.parametrize(
    ("name", "app", "key", "code"),
    [
        ("show", "other", "show-secret", "NetStream.Publish.Rejected"),
        ("../x", "live", "show-secret", "NetStream.Publish.BadName"),
        ("", "live", "show-secret", "NetStream.Publish.BadName"),
        ("show", "live", "wrong", "NetStream.Publish.Denied"),
        ("show", "live", "", "NetStream.Publish.Denied"),
    ],
)
def test_who_may_not_publish_is_told_why(name: str, app: str, key: str, code: str) -> None:
    scene = Scene(KEYS)
    with pytest.raises(Refusal) as refusal:
        scene.publish(name, key, app)
    assert CODES[refusal.value.reason][0] == code
    assert refusal.value.message
    assert "show-secret" not in refusal.value.message


def test_a_second_publisher_is_refused_and_the_first_not_disturbed() -> None:
    scene = Scene()
    first, connection = scene.publish()
    with pytest.raises(Refusal, match="already being published"):
        scene.publish()
    first.media(9, 0, b"picture")
    assert connection.ends == []
    assert scene.registry.broadcasts["show"].got == [b"picture"]


def test_a_publisher_who_is_silent_is_followed_by_the_next() -> None:
    scene = Scene()
    _, connection = scene.publish()
    scene.clock.advance(SILENT_S + 0.1)
    scene.publish()
    assert len(connection.ends) == 1


def test_the_same_key_takes_over_at_once_and_the_broadcast_is_told_before_the_newcomer_enters() -> None:
    scene = Scene(KEYS)
    first, connection = scene.publish(key="show-secret")
    scene.publish(key="show-secret")
    first.lost("closed")
    assert len(connection.ends) == 1
    assert len(scene.registry.broadcasts["show"].left_for) == 1


def test_two_encoders_that_fight_over_a_name_do_not_flap() -> None:
    scene = Scene(KEYS)
    for _ in range(4):
        scene.publish(key="show-secret")
    with pytest.raises(Refusal, match="compete"):
        scene.publish(key="show-secret")


def test_a_name_is_free_again_when_its_publisher_has_gone() -> None:
    scene = Scene()
    first, _ = scene.publish()
    first.lost("closed")
    scene.publish()
    assert scene.registry.broadcasts["show"].left_for == ["closed"]


def test_there_are_no_more_publishers_than_the_limit() -> None:
    scene = Scene()
    scene.publish("one")
    scene.publish("two")
    with pytest.raises(Refusal, match="limit of 2 broadcasts"):
        scene.publish("three")


def test_a_codec_that_cannot_be_served_is_refused_in_words() -> None:
    publisher, connection = Scene().publish()
    publisher.media(8, 0, b"mp3")
    assert connection.ends == ["audio MP3 cannot be served; use AAC"]


def test_what_a_broadcast_has_to_do_with_a_message_is_put_down_to_its_publisher() -> None:
    publisher, _ = Scene(KEYS).publish(key="show-secret")
    assert [publisher.media(9, 0, body) for body in (b"picture", b"key frame")] == [0, 10_000]


def test_a_node_that_is_going_refuses_newcomers_and_lets_go_on_who_is_here() -> None:
    scene = Scene(KEYS)
    publisher, connection = scene.publish(key="show-secret")
    scene.admission.drain("this server is draining: publish again")
    for name, key in (("team-blue-1", "team-secret"), ("show", "show-secret")):
        with pytest.raises(Refusal, match="publish again"):
            scene.publish(name, key)
    assert publisher.media(9, 0, b"picture") == 0
    assert (connection.ends, scene.admission.publishing) == ([], 1)
    scene.admission.disconnect_all()
    assert connection.ends == ["this server is draining: publish again"]
    publisher.lost("closed")
    assert scene.admission.publishing == 0


def guess(scene: Scene, key: str, name: str = "show", address: str = "192.0.2.1") -> str:
    """What somebody is told who tries a key; nothing when it is the right one."""
    try:
        scene.publish(name, key, address=address)
    except Refusal as refusal:
        return refusal.message
    return ""


@pytest.fixture
def guarded() -> Scene:
    scene = Scene(KEYS)
    scene.admission.wrong_keys.limit = 10
    return scene


def test_an_address_that_has_tried_too_many_wrong_keys_is_refused_whatever_it_tries(guarded: Scene) -> None:
    told = [guess(guarded, f"wrong-{number}") for number in range(1000)]
    assert told[:10] == ["wrong or missing key: publish STREAM?key=SECRET"] * 10
    assert set(told[10:]) == {"too many wrong keys from your address: try again in a minute"}
    assert guess(guarded, "show-secret") == guess(guarded, "team-secret", "team-blue-1") == told[-1]
    with pytest.raises(Refusal) as refusal:
        guarded.publish(key="show-secret")
    assert refusal.value.limit == "refused_publishes_per_address"


def test_an_address_may_try_again_when_the_minute_is_over_however_often_it_did(guarded: Scene) -> None:
    for second in range(60):
        guess(guarded, "wrong")
        assert guarded.clock.seconds() == second
        guarded.clock.advance(1)
    assert guess(guarded, "show-secret") == ""


def test_nobody_else_is_kept_from_publishing_and_who_publishes_goes_on(guarded: Scene) -> None:
    publisher, connection = guarded.publish(key="team-secret", name="team-blue-1")
    for _ in range(100):
        guess(guarded, "wrong")
    assert guess(guarded, "show-secret", address="192.0.2.2") == ""
    publisher.media(9, 0, b"picture")
    assert connection.ends == []


def test_refusals_that_are_not_for_the_key_are_not_counted(guarded: Scene) -> None:
    for _ in range(100):
        guess(guarded, "wrong", "../x")
    for _ in range(100):
        guess(guarded, "show-secret")  # two encoders that fight
    assert guess(guarded, "wrong").startswith("wrong or missing key")
