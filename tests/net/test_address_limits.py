"""How much one address may ask: pure counts, with the time passed in."""

from __future__ import annotations

import pytest

from livestream.net.address_limits import (
    BURST_S,
    MAX_IDLE,
    MINUTE_S,
    AddressConnections,
    AddressLimits,
    Networks,
    OverLimit,
    WrongKeys,
    group_of,
)

HERE, THERE = "192.0.2.1", "192.0.2.2"
EXEMPT = Networks.of(["127.0.0.0/8", "::1/128", "10.0.0.0/8"])


def fills(counts: AddressConnections, address: str, now: float = 0.0) -> int:
    """How many connections the address gets now."""
    for number in range(10_000):
        try:
            counts.connect(address, now)
        except OverLimit:
            return number
    raise AssertionError("no limit")


@pytest.mark.parametrize(
    ("address", "group"),
    [
        (HERE, HERE),
        ("::ffff:192.0.2.1", HERE),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.2", ""),
        ("::ffff:127.0.0.2", ""),
        ("::1", ""),
        ("::2", "::/64"),
        ("unix", ""),
        ("", ""),
    ],
)
def test_an_address_counts_as_its_customer_does(address: str, group: str) -> None:
    assert group_of(address, EXEMPT) == group


def test_one_address_has_so_many_connections_and_another_has_its_own() -> None:
    counts = AddressConnections(AddressLimits(connections=3))
    assert fills(counts, HERE) == fills(counts, THERE) == 3
    counts.release(HERE, 0.0)
    assert fills(counts, HERE) == 1


def test_the_addresses_of_one_network_of_ipv6_share_what_it_may_have() -> None:
    counts = AddressConnections(AddressLimits(connections=3))
    assert [counts.connect(f"2001:db8::{number}", 0) for number in range(3)] == ["2001:db8::/64"] * 3
    assert fills(counts, "2001:db8::4") == 0
    assert fills(counts, "2001:db8:0:1::4") == 3


def test_new_connections_come_in_a_burst_and_then_at_the_rate() -> None:
    counts = AddressConnections(AddressLimits(connects=20))
    assert fills(counts, HERE) == BURST_S * 20
    assert [fills(counts, HERE, now) for now in (0.0, 0.5, 1.0, 1.04, 1.05, 60.0)] == [0, 10, 10, 0, 1, BURST_S * 20]


def test_the_rate_holds_for_connections_that_end_at_once() -> None:
    counts, let_in = AddressConnections(AddressLimits(connects=20)), 0
    for tick in range(10_000):
        now = tick / 1000
        try:
            counts.release(counts.connect(HERE, now), now)
            let_in += 1
        except OverLimit as over:
            assert over.limit == "connects"
    assert let_in == pytest.approx(20 * (10 + BURST_S), abs=1)


def test_what_is_held_is_no_new_connection() -> None:
    counts = AddressConnections(AddressLimits(connections=100, connects=1))
    assert [counts.hold(HERE, 0) for _ in range(100)] == [HERE] * 100
    with pytest.raises(OverLimit, match="connections"):
        counts.hold(HERE, 0)


@pytest.mark.parametrize("limits", [AddressLimits(), AddressLimits(1, 1, EXEMPT)])
def test_without_a_limit_and_for_exempt_addresses_there_is_none(limits: AddressLimits) -> None:
    counts = AddressConnections(limits)
    groups = [counts.connect("10.0.0.1", 0) for _ in range(10_000)]
    for group in groups:
        counts.release(group, 0)
    assert len(counts) == 0


def test_limits_that_change_count_the_connections_that_there_are() -> None:
    counts = AddressConnections()
    groups = [counts.connect(HERE, 0) for _ in range(5)]
    counts.limits = AddressLimits(connections=6, connects=100)
    assert fills(counts, HERE) == 1
    counts.limits = AddressLimits(connections=6, exempt=Networks.of([f"{HERE}/32"]))
    for group in groups:
        counts.release(group, 1)
    counts.limits = AddressLimits(connections=6)
    assert fills(counts, HERE) == 5


def test_addresses_without_connections_are_forgotten_and_never_more_than_so_many_remembered() -> None:
    counts, most = AddressConnections(AddressLimits(connects=1)), 0
    for number in range(MAX_IDLE + 5_000):
        counts.release(counts.connect(f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1", 1.0), 1.0)
        most = max(most, len(counts))
    assert most <= MAX_IDLE + 1
    counts.release(counts.connect(HERE, 1.0 + BURST_S), 1.0 + BURST_S)
    assert len(counts) == 1


def test_an_address_may_try_so_many_wrong_keys_a_minute_and_is_then_refused_for_its_rest() -> None:
    tries = WrongKeys(3)
    for now in (0.0, 10.0, 20.0):
        assert not tries.are_too_many(HERE, now)
        tries.add(HERE, now)
    assert tries.are_too_many(HERE, 20.0) and tries.are_too_many("::ffff:192.0.2.1", MINUTE_S - 1)
    assert not tries.are_too_many(THERE, 20.0)
    assert not tries.are_too_many(HERE, MINUTE_S)
    assert len(tries) == 0


def test_wrong_keys_of_exempt_addresses_and_without_a_limit_are_not_counted() -> None:
    for tries in (WrongKeys(0), WrongKeys(3, Networks.of([f"{HERE}/32"]))):
        for _ in range(100):
            tries.add(HERE, 0.0)
        assert not tries.are_too_many(HERE, 0.0) and len(tries) == 0


def test_wrong_keys_of_many_networks_are_remembered_within_bounds() -> None:
    tries = WrongKeys(3)
    for number in range(MAX_IDLE + 1_000):
        tries.add(f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1", 1.0)
    assert len(tries) == MAX_IDLE
