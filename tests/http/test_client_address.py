from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.http.client_address import TrustedProxies

OURS = TrustedProxies.of(["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"])
VIEWER, FORGED = "198.51.100.7", "203.0.113.9"


@pytest.mark.parametrize(
    ("peer", "forwarded", "viewer"),
    [
        (VIEWER, "", VIEWER),
        (VIEWER, FORGED, VIEWER),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", VIEWER, VIEWER),
        ("10.0.0.1", f"{FORGED}, {VIEWER}", VIEWER),
        ("10.0.0.1", f"{FORGED},{VIEWER}, 10.0.0.2", VIEWER),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("::ffff:10.0.0.1", VIEWER, VIEWER),
        ("fd00::1", "2001:db8::5", "2001:db8::5"),
        ("fd00::1", "[2001:db8::5]:443", "2001:db8::5"),
        ("10.0.0.1", f"{VIEWER}:50123", VIEWER),
        ("10.0.0.1", f"::ffff:{VIEWER}", VIEWER),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", f"{FORGED}, for=me, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", ", ,", "10.0.0.1"),
        ("10.0.0.1", ",".join([FORGED, *["10.0.0.2"] * 40]), "10.0.0.2"),
        ("", VIEWER, ""),
    ],
)
def test_only_the_word_of_trusted_hops_counts(peer: str, forwarded: str, viewer: str) -> None:
    assert OURS.viewer(peer, forwarded) == viewer


def test_without_trusted_proxies_the_peer_is_the_viewer() -> None:
    assert TrustedProxies().viewer("10.0.0.1", VIEWER) == "10.0.0.1"


@given(st.text())
def test_no_viewer_chooses_an_address_by_what_it_sends(sent: str) -> None:
    assert OURS.viewer(VIEWER, sent) == VIEWER
    assert OURS.viewer("10.0.0.1", f"{sent}, {VIEWER}") == VIEWER
    assert OURS.viewer("10.0.0.1", f"{sent}, {VIEWER}, 10.0.0.2") == VIEWER
