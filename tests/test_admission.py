"""Refusals of publishers and viewers, in the words of every protocol."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from livestream.http.refusals import STATUS
from livestream.model.admission import Reason
from livestream.net.rtmp.requests import CODES


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_words_in_every_protocol(reason: Reason) -> None:
    for_publisher, for_player = CODES[reason]
    assert for_publisher.startswith("NetStream.Publish.") and for_player.startswith("NetStream.Play.")
    code, _, phrase = STATUS[reason].partition(" ")
    assert phrase == HTTPStatus(int(code)).phrase and int(code) in range(400, 600)
