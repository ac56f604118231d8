from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
from twisted.internet.testing import StringTransport

from livestream.push.backlog import Backlog
from livestream.push.viewer import Viewer
from tests.logged_failures import LoggedFailures
from tests.push.frames import configs, picture, sound
from tests.push.show import TICK_S, Player, Show

STALL_S = 10.0


@pytest.fixture
def show() -> Iterator[Show]:
    show = Show()
    show.cached += [*configs(0), picture(0, True)]
    yield show
    for player in show.players:
        player.close()


def test_a_viewer_begins_with_everything_since_the_last_key_frame_and_goes_on_from_there(show: Show) -> None:
    show.add(picture(40))
    player = show.player()
    show.add(picture(80))
    show.tick()
    assert player.read_all() == "[C0 C0 K0 p40 p80] "
    show.add(picture(120), sound(130))
    show.tick()
    assert player.read() == "p120 s130 "


def test_nothing_goes_out_before_its_tick_and_then_everything_at_once(show: Show) -> None:
    player = show.flowing()
    show.reactor.advance(0.01)
    show.add(picture(40))
    show.reactor.advance(0.02)
    show.add(picture(80))
    assert player.read() == ""
    show.tick()
    assert player.read() == "p40 p80 "


def test_ticks_lie_on_a_grid_however_the_frames_come(show: Show) -> None:
    player = show.flowing()
    show.reactor.advance(-show.reactor.seconds() % TICK_S + 0.060)
    show.add(picture(40))
    show.reactor.advance(0.005)
    assert player.read() == "p40 "


def test_with_a_tick_of_nothing_frames_go_out_at_the_end_of_the_turn(show: Show) -> None:
    show.fanout.tick_s = 0.0
    player = show.player()
    show.reactor.advance(0)
    player.read_all()
    show.add(picture(40), picture(80))
    show.reactor.advance(0)
    assert player.read() == "p40 p80 "


@pytest.mark.parametrize("viewers", [1, 3, 20])
def test_few_and_many_viewers_get_the_same_bytes(show: Show, viewers: int) -> None:
    players = [show.player() for _ in range(viewers)]
    show.tick()
    for player in players:
        player.read_all()
    show.add(picture(40), sound(50))
    show.tick()
    assert {player.read() for player in players} == {"p40 s50 "}
    assert all(not player.transport.dataBuffer for player in players)


def test_a_full_socket_gets_the_rest_later_and_in_order(show: Show) -> None:
    player = show.flowing()
    sent = []
    for index in range(100):
        show.add(*[picture(40 * index + 40 + step) for step in range(30)])
        sent.append("".join(f"p{40 * index + 40 + step} " for step in range(30)))
        show.tick()
    assert player.viewer.descriptor is None
    assert player.viewer.backlog
    assert player.read_all() == "".join(sent)
    show.add(picture(999_999))
    show.tick()
    assert player.read() == "p999999 "


def test_a_slow_viewer_misses_pictures_and_the_others_notice_nothing(show: Show) -> None:
    slow, quick = show.flowing(), show.flowing()
    text = ""
    for time_ms in range(40, 20_000, 40):
        show.add(picture(time_ms, time_ms % 1000 == 0), *[sound(time_ms + step) for step in range(30)])
        show.tick()
        assert quick.read().startswith(("p", "K"))
        show.reactor.write()
        text += slow.read(40)
    assert slow.viewer.backlog.size_bytes < 100_000
    assert show.value("livestream_push_skipped_gops_total") > 3
    names = (text + slow.read_all()).split()
    pictures = [name for name in names if name[0] in "pK"]
    for before, after in itertools.pairwise(pictures):
        assert after[0] == "K" or int(after[1:]) == int(before[1:]) + 40
    assert int(pictures[-1][1:]) > 19_000
    show.add(picture(20_000, True))
    show.tick()
    assert slow.read() == "K20000 "


def test_what_a_slow_viewer_was_still_to_get_goes_with_it(show: Show) -> None:
    slow = show.flowing()
    for time_ms in range(40, 4_000, 40):
        show.add(*[picture(time_ms + step, True) for step in range(30)])
        show.tick()
    assert slow.viewer.backlog.size_bytes > 0
    show.fanout.detach(slow.viewer)
    assert (slow.viewer.backlog.size_bytes, len(slow.viewer.backlog)) == (0, 0)


def test_a_viewer_who_stays_blocked_is_closed(show: Show) -> None:
    player = show.flowing()
    for index in range(round(2 * STALL_S / TICK_S)):
        show.add(*[picture(64 * index + step, True) for step in range(60)])
        show.tick()
        show.fanout.close_stalled(STALL_S)
    assert show.value("livestream_push_closed_total") == 1
    assert player.is_lost
    assert len(show.fanout) == 0


def test_a_broken_socket_is_dropped_and_the_others_are_served(show: Show) -> None:
    broken, other = show.flowing(), show.flowing()
    broken.far.close()
    show.add(picture(40))
    show.tick()
    show.reactor.advance(0)
    assert other.read() == "p40 "
    assert broken.is_lost
    assert len(show.fanout) == 1


def test_what_the_transport_holds_goes_first(show: Show) -> None:
    player = show.flowing()
    player.transport.write(b"pong ")
    show.fanout.wrote(player.viewer)
    show.add(picture(40))
    show.tick()
    assert player.read_all() == "pong p40 "
    show.add(picture(80))
    show.tick()
    assert player.read() == "p80 "


def test_the_first_bytes_follow_what_the_protocol_said(show: Show) -> None:
    player = show.player()
    player.transport.write(b"accepted ")
    show.tick()
    assert player.read_all() == "accepted [C0 C0 K0] "


def test_a_viewer_who_has_no_key_frame_begins_with_the_next(show: Show) -> None:
    show.cached = configs(0)
    player = show.player()
    show.tick()
    show.add(picture(40), sound(45))
    show.tick()
    show.add(picture(80), picture(120, True), picture(160))
    show.tick()
    assert player.read_all() == "[C0 C0] s45 K120 p160 "
    show.add(picture(200))
    show.tick()
    assert player.read() == "p200 "


def test_a_paused_viewer_gets_nothing_and_goes_on_with_a_key_frame(show: Show) -> None:
    player = show.flowing()
    show.fanout.pause(player.viewer)
    show.add(picture(40, True))
    show.tick()
    show.fanout.resume(player.viewer)
    show.add(picture(80), sound(90))
    show.tick()
    show.add(picture(120, True), picture(160))
    show.tick()
    assert player.read_all() == "C0 C0 s90 K120 p160 "


def test_a_viewer_who_pauses_before_the_first_byte_begins_when_it_resumes(show: Show) -> None:
    player = show.player()
    show.fanout.pause(player.viewer)
    show.add(picture(40))
    show.tick()
    assert player.read_all() == ""
    show.fanout.resume(player.viewer)
    show.tick()
    assert player.read_all() == "[C0 C0 K0 p40] "


def test_what_fails_after_a_key_frame_is_done_for_the_others(show: Show, logged_failures: LoggedFailures) -> None:
    def fails() -> None:
        raise ZeroDivisionError

    player, done = show.flowing(), []
    show.fanout.after_key_frame(fails)
    show.fanout.after_key_frame(lambda: done.append(player.read()))
    show.add(picture(40, True))
    show.tick()
    assert done == ["K40 "]
    logged_failures.take(ZeroDivisionError)


def test_the_end_comes_after_the_last_frames(show: Show) -> None:
    flowing, full, fresh = show.flowing(), show.flowing(), show.player()
    for index in range(1000):
        show.add(picture(40 * index + 40, True))
    show.tick()
    show.add(picture(80_000))
    show.fanout.finish()
    assert flowing.is_over and full.is_over and fresh.is_over
    assert flowing.read_all().endswith("p80000 ")
    assert full.read_all().endswith("p80000 ")
    assert len(show.fanout) == 0
    assert show.reactor.getDelayedCalls() == []


def test_a_layer_between_is_written_through_and_its_pauses_are_kept(show: Show) -> None:
    transport = StringTransport()
    viewer = Viewer(transport, Player(show.reactor), Backlog(100_000, 4000))
    show.players.append(viewer.connection)  # type: ignore[arg-type]
    show.fanout.attach(viewer)
    show.tick()
    transport.clear()
    show.add(picture(40))
    show.tick()
    viewer.pauseProducing()
    show.add(picture(80))
    show.tick()
    assert transport.value() == b"p40 "
    viewer.resumeProducing()
    assert transport.value() == b"p40 p80 "
    show.fanout.finish()
    assert transport.producer is None


def test_a_detached_viewers_descriptor_is_never_written_to(show: Show) -> None:
    player, other = show.flowing(), show.flowing()
    show.fanout.detach(player.viewer)
    show.add(picture(40))
    show.tick()
    assert (player.read(), other.read()) == ("", "p40 ")


def test_what_was_begun_is_sent_whole_to_a_viewer_who_stops_but_stays_connected(show: Show) -> None:
    player = show.flowing()
    show.add(*[picture(40 * index, True) for index in range(4000)])
    show.tick()
    show.add(picture(160_000))
    show.tick()
    show.fanout.detach(player.viewer)
    player.transport.write(b"another")
    assert player.read_all() == "".join(f"K{40 * index} " for index in range(4000)) + "another"
    assert player.transport.producer is None


def test_a_process_without_descriptors_to_spare_still_pushes(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> int:
        raise OSError(24, "Too many open files")

    players = [show.player() for _ in range(8)]
    show.tick()
    for player in players:
        player.read_all()
    monkeypatch.setattr(os, "memfd_create", none_left)
    show.add(picture(40))
    show.tick()
    assert {player.read() for player in players} == {"p40 "}


def test_late_ticks_bytes_and_delay_are_counted(show: Show) -> None:
    show.flowing()
    before = show.metrics.registry.get_sample_value("livestream_push_bytes_total", {"protocol": "rtmp"})
    show.reactor.advance(100)
    show.add(picture(40, arrived=show.reactor.seconds()))
    show.reactor.advance(1)
    assert show.value("livestream_push_late_ticks_total") == 1
    assert show.metrics.registry.get_sample_value("livestream_push_bytes_total", {"protocol": "rtmp"}) == before + 4
    assert show.value("livestream_push_delay_seconds_count") == 1
    assert show.value("livestream_push_delay_seconds_sum") == pytest.approx(1, abs=0.1)


def test_no_memory_file_is_left_open(show: Show) -> None:
    players = [show.player() for _ in range(8)]
    show.tick()
    for player in players:
        player.read_all()
    before = len(os.listdir("/proc/self/fd"))
    for index in range(20):
        show.add(picture(index))
        show.tick()
    assert len(os.listdir("/proc/self/fd")) == before
