"""What nodes ask and answer when an ingest takes a stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from livestream.bus.announcements import decode_epochs, encode_position
from livestream.bus.interface import TemporarilyUnavailable
from livestream.cache.upstream.body_reader import UpstreamError
from livestream.ingest.claims import Survey
from livestream.model.segments import StreamPosition, Superseded
from livestream.roles.claim_requests import TakeRequests
from livestream.roles.claim_survey import LEARNING_S, OtherNodes
from livestream.signing import HEADER, LEARNT_APART_S, VALID_S, Credentials, sign
from livestream.steering.nodes import Node
from tests.cluster.members import Member, Members
from tests.cluster.nodes import SECRET as MEMBERS_SECRET

SECRET = "the secret of these tests"


def credentials(node: str, secret: str = SECRET) -> Credentials:
    return Credentials(node, secret, lambda: 1_800_000_000.0, lambda _: None)


@define(eq=False)
class Answering:
    answer: Callable[[], Mapping[str, Any]] = lambda: encode_position(StreamPosition(9, 41))
    asked: list[tuple[str, str, int]] = field(factory=list)

    def take(self, stream: str, epoch: int) -> Mapping[str, Any]:
        self.asked.append(("take", stream, epoch))
        return self.answer()

    def taken(self, stream: str, epoch: int) -> None:
        self.asked.append(("taken", stream, epoch))

    def epochs(self) -> Mapping[str, int]:
        return {"show": 12}


def raising(error: Exception) -> Callable[[], Mapping[str, Any]]:
    def answer() -> Mapping[str, Any]:
        raise error

    return answer


def signature(node: str = "ingest-2", secret: str = SECRET) -> str:
    return credentials(node, secret).headers()[HEADER][0]


def test_who_signs_is_answered() -> None:
    answering = Answering()
    status, text = TakeRequests(credentials("o"), answering).answer("take", "show", "12", signature())
    assert (status, json.loads(text)["msn"]) == ("200 OK", 41)
    assert TakeRequests(credentials("o"), answering).answer("taken", "show", "13", signature())[0] == "200 OK"
    assert answering.asked == [("take", "show", 12), ("taken", "show", 13)]


@pytest.mark.parametrize("signed", ["", "x", signature(secret="another secret of others")])
def test_nobody_else_is(signed: str) -> None:
    answering = Answering()
    for requests in (TakeRequests(credentials("o"), answering), TakeRequests(credentials("o", ""), answering)):
        assert requests.answer("take", "show", "12", signed)[0] == "403 Forbidden"
    assert answering.asked == []


@pytest.mark.parametrize("clock_s", [0, 290, -290])
def test_a_request_is_recorded_in_vain_as_soon_as_the_clock_of_its_node_is_known(clock_s: float) -> None:
    members = Members()
    asking, asked, late = members.start("ingest-1", clock_s), members.start("origin-1"), members.start("origin-2")
    late.is_deaf = True
    members.pass_s(5)

    def status(of: Member, request: str) -> str:
        credentials = Credentials(of.name, MEMBERS_SECRET, lambda: of.seconds, of.nodes.clock_of)
        return TakeRequests(credentials, Answering()).answer("take", "show", "12", request)[0]

    recorded = sign("ingest-1", MEMBERS_SECRET, asking.seconds)
    assert status(asked, recorded) == status(late, recorded) == "200 OK"
    members.pass_s(VALID_S + int(LEARNT_APART_S) + 1)
    assert status(asked, recorded) == "403 Forbidden"
    assert status(asked, sign("ingest-1", MEMBERS_SECRET, asking.seconds)) == "200 OK"


@pytest.mark.parametrize("epoch", ["", "-1", "1e3", "x", "9" * 17])
def test_an_epoch_is_a_number(epoch: str) -> None:
    assert TakeRequests(credentials("o"), Answering()).answer("take", "show", epoch, signature())[0][:3] == "400"


def test_a_younger_epoch_is_named_and_who_does_not_know_says_so() -> None:
    status, text = TakeRequests(credentials("o"), Answering(raising(Superseded(77)))).answer(
        "take", "show", "12", signature()
    )
    assert (status, json.loads(text)["epoch"]) == ("409 Conflict", 77)
    learning = TakeRequests(credentials("o"), Answering(raising(TemporarilyUnavailable())))
    assert learning.answer("take", "show", "12", signature())[0][:3] == "503"


@define(eq=False)
class Scene:
    """Nodes whose answers the test has; ``None`` is one that does not answer."""

    answers: dict[str, list[tuple[int, bytes] | None]]
    clock: Clock = field(factory=Clock)
    learns_s: float = 0.0

    def survey(self) -> Survey:
        """What those say that are known after ``learns_s``."""
        others = OtherNodes(True, self._nodes, self._knows_nodes, self._connect, self.clock)
        result = Deferred.fromCoroutine(others.survey("show", 12))
        self.clock.pump([0.25] * 40)
        survey: Survey = result.result  # type: ignore[assignment]
        return survey

    def _knows_nodes(self) -> bool:
        return self.clock.seconds() >= self.learns_s

    def _nodes(self, role: str) -> list[Node]:
        if not self._knows_nodes():
            return []
        return [Node(name, role, f"http://{name}") for name in self.answers if name.startswith(role)]

    def _connect(self, url: str) -> Any:
        return Peer(self.answers[url.removeprefix("http://")])


@define(eq=False)
class Peer:
    answers: list[tuple[int, bytes] | None]

    async def post(self, path: str) -> tuple[int, bytes]:
        assert path == "/take/show?epoch=12"
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            raise UpstreamError("does not answer")
        return answer


def at(msn: int, **more: object) -> tuple[int, bytes]:
    return 200, json.dumps({**encode_position(StreamPosition(9, msn)), **more}).encode()


YOUNGER = 409, json.dumps(encode_position(StreamPosition(99))).encode()
LEARNING = 503, b""


@pytest.mark.parametrize(
    ("answers", "is_complete"),
    [
        ({"ingest-2": [at(5)], "origin-1": [at(4)]}, True),
        ({"ingest-2": [None], "origin-1": [at(4)], "origin-2": [at(4)]}, True),
        ({"ingest-2": [None], "origin-1": [at(4)], "origin-2": [None]}, False),
        ({"ingest-2": [at(5)], "ingest-3": [None], "origin-1": [None]}, False),
        ({"ingest-2": [at(5)], "origin-1": [(200, b"{}")]}, True),
        ({"origin-1": [at(5)]}, True),
        ({"origin-1": [LEARNING]}, False),
        ({"origin-1": [LEARNING, LEARNING, at(5)]}, True),
        ({}, False),
    ],
)
def test_all_other_ingests_or_all_origins_must_answer(answers: dict[str, Any], is_complete: bool) -> None:
    survey = Scene(answers).survey()
    assert (survey.is_complete, survey.has_addresses) == (is_complete, True)


def test_a_node_that_learns_is_not_asked_for_ever() -> None:
    scene = Scene({"origin-1": [LEARNING]})
    assert not scene.survey().is_complete and scene.clock.seconds() >= LEARNING_S


@pytest.mark.parametrize(("learns_s", "is_complete"), [(0.0, True), (1.0, True), (3600.0, False)])
def test_a_node_that_has_just_started_asks_when_it_has_learnt_whom(learns_s: float, is_complete: bool) -> None:
    scene = Scene({"ingest-2": [at(5)], "origin-1": [at(4)]}, learns_s=learns_s)
    assert scene.survey().is_complete == is_complete


def test_what_was_answered_is_summed_up() -> None:
    survey = Scene({"ingest-2": [at(5, live=True)], "origin-1": [YOUNGER]}).survey()
    assert ([position.msn for position in survey.positions], survey.younger, survey.displaced) == ([5], 99, True)


def test_which_streams_are_here_is_said_to_who_asks() -> None:
    assert decode_epochs(TakeRequests(credentials("o"), Answering()).epochs()) == {"show": 12}
