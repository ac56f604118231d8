"""What becomes of a configuration that is read again."""

from __future__ import annotations

import pytest
from attrs import define, field
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from livestream.config import Config, ConfigError, changes, load
from livestream.lifecycle.derived import relay_rule
from livestream.lifecycle.reload import Reloader
from livestream.lifecycle.reload_hooks import reload_relays
from livestream.model.admission import Refusal
from livestream.net.rtmp.requests import RtmpRequest
from livestream.push.relay_admission import RelayAdmission
from livestream.signing import Credentials


def configured(*sets: str, role: str = "all") -> Config:
    return load(role, None, {}, sets, lambda _: "")


BEFORE = configured("push.slow_s=4", "hls.window=6")


@define(eq=False)
class Scene:
    reloader: Reloader = field(factory=lambda: Reloader(BEFORE))
    taken: list[float] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.reloader.follow(lambda config: config.push.slow_s, self.taken.append)

    def reload(self, *sets: str) -> list[str]:
        """Read these settings; return what the log says."""
        with capturedLogs() as logged:
            self.reloader.reload(lambda: configured(*sets))
        return [str(formatEvent(event)) for event in logged]


@pytest.mark.parametrize(
    ("sets", "names"),
    [
        ([], []),
        (["push.slow_s=4.0"], []),
        (["push.slow_s=5"], ["push.slow_s"]),
        (["ingest.keys={a = 'long-enough'}", "hls.window=7"], ["ingest.keys", "hls.window"]),
    ],
)
def test_changes_are_named(sets: list[str], names: list[str]) -> None:
    assert changes(BEFORE, configured(*sets)) == names


def test_a_live_setting_is_taken_over_by_every_part_that_has_it() -> None:
    scene = Scene()
    scene.reloader.follow(lambda config: -config.push.slow_s, scene.taken.append)
    assert scene.reload("push.slow_s=5") == ["configuration reloaded; applied: push.slow_s"]
    assert scene.taken == [5, -5]
    assert scene.reload("push.slow_s=5") == ["configuration reloaded; applied: nothing"]
    assert scene.taken == [5, -5]


def test_a_setting_that_needs_a_restart_is_named_each_time_until_there_was_one() -> None:
    scene = Scene()
    for _ in range(2):
        said = scene.reload("hls.window=7")
        assert said[0] == "configuration reloaded; hls.window has changed and requires a restart"
    assert scene.reloader.config.hls.window == 6


def test_an_error_changes_nothing_and_each_is_a_line() -> None:
    scene = Scene()
    said = scene.reload("push.slow_s=-1", "hls.windo=7")
    assert len(said) == 2 and "push.slow_s" in said[0] and "hls.windo" in said[1]
    assert (scene.taken, scene.reloader.config) == ([], BEFORE)


def test_what_turns_out_wrong_before_anything_is_taken_over_changes_nothing_either() -> None:
    scene = Scene()

    def refuse(new: Config) -> None:
        raise ConfigError(["cluster.geo_database: no such file"])

    scene.reloader.check_first(refuse)
    (said,) = scene.reload("push.slow_s=5")
    assert "cluster.geo_database: no such file" in said
    assert scene.taken == []


def test_what_is_of_another_role_is_of_no_interest() -> None:
    upstreams = 'edge.upstreams=[{http="http://127.0.0.1:1"}]'
    edge = configured(upstreams, "bus.redis=unix:/x", role="edge")
    reloader = Reloader(edge)
    with capturedLogs() as logged:
        reloader.reload(lambda: configured(upstreams, "bus.redis=unix:/x", "ingest.grace_s=1", role="edge"))
    assert len(logged) == 1


def relays(admission: RelayAdmission, *addresses: str) -> list[str]:
    """Those of the addresses from which a relay may play."""
    found = []
    for address in addresses:
        try:
            admission.is_relay(RtmpRequest("live", "show", {"relay": "1"}, address))
        except Refusal:
            continue
        found.append(address)
    return found


@pytest.mark.parametrize(
    ("secret", "before", "after"), [("", ["10.0.0.1"], ["192.0.2.1"]), ("0123456789abcdef", [], [])]
)
def test_relays_come_from_other_networks_after_a_reload(secret: str, before: list[str], after: list[str]) -> None:
    scene, credentials = Scene(), Credentials("all", secret, Clock().seconds)
    admission = RelayAdmission(relay_rule(BEFORE, credentials), True, Clock().seconds)
    reload_relays(scene.reloader, admission, credentials)
    assert relays(admission, "10.0.0.1", "192.0.2.1") == before
    scene.reload("limits.relays_from=['192.0.2.0/24']")
    assert relays(admission, "10.0.0.1", "192.0.2.1") == after
