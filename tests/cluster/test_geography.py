from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogLevel, capturedLogs

from livestream.cluster.geography import Geography
from livestream.config import ConfigError
from livestream.steering.nodes import Location
from tests.cluster.maxmind import MARKER, at, database

PARIS, TOKYO = Location(48.85, 2.35), Location(35.68, 139.69)


def loaded(folder: Path, data: bytes) -> Geography:
    path = folder / "places.mmdb"
    path.write_bytes(data)
    geography = Geography(str(path))
    geography.load()
    return geography


@pytest.fixture
def world(tmp_path: Path) -> Geography:
    return loaded(
        tmp_path, database({"192.0.2.0/24": at(48.85, 2.35), "2001:db8::/32": at(35.68, 139.69), "198.51.100.7/32": {}})
    )


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.1", PARIS),
        ("192.0.2.255", PARIS),
        ("192.0.3.1", None),
        ("::ffff:192.0.2.1", PARIS),
        ("2001:db8::1", TOKYO),
        ("2001:db8:0:0:0:0:0:1", TOKYO),
        ("2001:db9::1", None),
        ("fe80::1%eth0", None),
        ("198.51.100.7", None),
    ],
)
def test_an_address_is_somewhere_or_its_place_is_not_known(
    world: Geography, address: str, place: Location | None
) -> None:
    assert world.locate(address) == place


@pytest.mark.parametrize("garbage", ["", "unix", "192.0.2", "192.0.2.1.5", "192.0.2.1, 1", "::g", "\x00", "9" * 5000])
def test_what_is_no_address_is_nowhere(world: Geography, garbage: str) -> None:
    assert world.locate(garbage) is None


@pytest.mark.parametrize(
    "record",
    [
        at(float("nan"), 2.35),
        at(48.85, float("inf")),
        at(90.5, 0.0),
        at(0.0, -180.5),
        at("48", "2"),
        at(True, 0.0),
        {"location": {"latitude": 48.85}},
        {"location": "Paris"},
        {"location": []},
        "Paris",
        [1, 2],
    ],
    ids=repr,
)
def test_a_place_that_is_none_is_not_known(tmp_path: Path, record: Any) -> None:
    assert loaded(tmp_path, database({"192.0.2.0/24": record})).locate("192.0.2.1") is None


def test_a_database_of_ipv4_knows_no_place_for_ipv6(tmp_path: Path) -> None:
    geography = loaded(tmp_path, database({"192.0.2.0/24": at(48.85, 2.35)}, version=4))
    assert geography.locate("192.0.2.1") == geography.locate("::ffff:192.0.2.1") == PARIS
    with capturedLogs() as logged:
        assert geography.locate("2001:db8::1") is None
    assert not logged


@pytest.mark.parametrize("data", [b"", b"no database", MARKER, MARKER + b"\xe1\x41a\x41b", bytes(100_000)], ids=len)
def test_a_file_that_is_no_database_is_an_error_of_the_configuration_in_one_line(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ConfigError) as raised:
        loaded(tmp_path, data)
    (line,) = raised.value.lines
    assert line.startswith("cluster.geo_database: ") and "\n" not in line


def test_so_is_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        Geography(str(tmp_path / "nothing.mmdb")).load()


def test_a_corrupt_file_makes_places_unknown_and_is_said_once(tmp_path: Path) -> None:
    data = bytearray(database({"192.0.2.0/24": at(48.85, 2.35)}))
    where = data.index(b"location") - 1
    data[where] = 0xFF
    geography = loaded(tmp_path, bytes(data))
    with capturedLogs() as logged:
        assert geography.locate("192.0.2.1") is None
        assert geography.locate("192.0.2.2") is None
    assert [event["log_level"] for event in logged] == [LogLevel.error]


def test_it_can_be_read_again_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    geography = loaded(tmp_path, database({"192.0.2.0/24": at(48.85, 2.35)}))
    path = Path(geography.path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ConfigError):
        geography.load()
    assert geography.locate("192.0.2.1") == PARIS
    path.write_bytes(database({"192.0.2.0/24": at(35.68, 139.69)}))
    geography.load()
    assert geography.locate("192.0.2.1") == TOKYO
