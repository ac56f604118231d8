"""The settings that are declared to be live, or to be listeners, are those that roles use as such."""

from __future__ import annotations

from functools import cache

import pytest

from livestream.config import ROLES, SETTINGS, Config, ConfigError
from livestream.lifecycle.reload import Reloader
from tests.other_values import with_other
from tests.roles.test_address_limits import Node

ANOTHER = "192.0.2.1"
"""An address, so that it can be a network, a host and a word."""
CLUSTER = ("cluster.secret=0123456789abcdef", "node.id=one", "node.http=http://192.0.2.8:80")
SETS = {"all": (), "ingest": (), "origin": CLUSTER, "edge": CLUSTER}
USED = ("cluster.trusted_proxies=['192.0.2.9']", "node.latitude=1", "node.longitude=1")
"""Without these, others have no meaning."""
ONCE = {"push.tick_ms", "push.chunk_bytes"}
"""What has other values beside it that are live, but is not: a feed is framed in one way for all of its viewers."""


@cache
def node(role: str) -> Reloader:
    return Node(role, (*SETS[role], *USED)).process.reloader


def concerns(reloader: Reloader, new: Config) -> bool:
    """Whether some part would take something over if this were in force."""
    old = reloader.config
    try:
        for apply in reloader._checks:
            apply(new)
    except ConfigError:  # there is no such file: somebody has looked for it
        return True
    return any(each.value(old) != each.value(new) for each in reloader.followers)


@pytest.mark.parametrize("role", ROLES)
def test_nothing_is_taken_over_if_nothing_has_changed(role: str) -> None:
    assert not concerns(node(role), node(role).config)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_live_if_some_part_takes_other_values_of_it(name: str) -> None:
    is_used = any(concerns(node(role), with_other(node(role).config, name, ANOTHER)) for role in ROLES)
    assert is_used == (SETTINGS[name].metadata["live"] or name in ONCE)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_listens_where_settings_say_that_it_does(role: str) -> None:
    assert set(Node(role).factories) == {name for name, each in SETTINGS.items() if role in each.metadata["listens"]}
