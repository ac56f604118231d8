"""What is answered to whoever asks for something under ``/live/``, however the bytes then leave."""

from __future__ import annotations

from typing import ClassVar

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.hls.objects import Found, Objects
from livestream.hls.paths import Kind, Target
from livestream.hls.playlists import Playlists
from livestream.http.conditions import Conditions
from livestream.http.response import Answer, Answers, Content
from livestream.net.body import Body
from livestream.net.log_summary import LogSummary

UNAVAILABLE = "{count} requests of the last {seconds} s for what cannot be had, such as {path}: {reason}"


@frozen
class Wanted:
    """One request: what is asked for, and on which conditions; a HEAD wants no body."""

    target: Target
    conditions: Conditions
    is_head: bool = False


@frozen
class _Given:
    """The last answer for something that was waited for: a herd of waiters is given the same."""

    body: Body
    outcome: str
    conditions: Conditions
    second: int
    answer: Answer


@define(eq=False)
class Service:
    """Answers by name. ``clock`` has the wall clock's time."""

    playlists: Playlists
    objects: Objects
    answers: Answers
    clock: IReactorTime
    _unavailable: LogSummary = field(init=False)
    _given: _Given | None = field(default=None, init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._unavailable = LogSummary(self.log, UNAVAILABLE, self.clock)

    def seconds(self) -> float:
        return self.clock.seconds()

    def ready(self, wanted: Wanted) -> Answer | None:
        """The answer, if it can be given this instant."""
        content = self._ready(wanted)
        return None if content is None else self._found(content, wanted)

    def answer(self, wanted: Wanted) -> Deferred[Answer]:
        """
        The answer, waited for if need be; its body may still be arriving. It may be cancelled, and fails only then.
        """
        content = self._ready(wanted)
        if content is not None:
            return succeed(self._found(content, wanted))
        if self.is_absent(wanted.target):
            answer = self.answers.error("404 Not Found", self.seconds(), wanted.target.kind)
            return succeed(self._whole_or_head(answer, wanted))
        coming: Deferred[Found] = self.objects.get(wanted.target)
        return coming.addCallbacks(self._arriving, self._missing, (wanted,), errbackArgs=(wanted,))

    def is_stream(self, stream: str) -> bool:
        """Whether anything is known of a stream of this name."""
        return self.playlists.windows.window(stream) is not None

    def is_absent(self, target: Target) -> bool:
        """Whether nothing has this name, as far as is known here."""
        if target.name:
            return not self.objects.is_known(target)
        return self.playlists.ready(target, zipped=False) is None

    def _ready(self, wanted: Wanted) -> Content | None:
        target = wanted.target
        if target.kind in (Kind.MULTIVARIANT, Kind.PLAYLIST):
            return self.playlists.ready(target, wanted.conditions.gzip)
        return self.objects.ready(target)

    def _found(self, content: Content, wanted: Wanted) -> Answer:
        return self._whole_or_head(self.answers.found(content, wanted.conditions, self.seconds()), wanted)

    def _arriving(self, found: Found, wanted: Wanted) -> Answer:
        given, second = self._given, int(self.seconds())
        if (
            given is None
            or given.body is not found.body
            or (given.outcome, given.conditions, given.second) != (found.outcome, wanted.conditions, second)
        ):
            content = self.objects.content(wanted.target.kind, found)
            answer = self.answers.found(content, wanted.conditions, self.seconds())
            given = self._given = _Given(found.body, found.outcome, wanted.conditions, second, answer)
        return self._whole_or_head(given.answer, wanted)

    def _missing(self, failure: Failure, wanted: Wanted) -> Answer | Failure:
        if failure.check(CancelledError):
            return failure
        target, now = wanted.target, self.seconds()
        if failure.check(LookupError):
            answer = self.answers.error("404 Not Found", now, target.kind)
        else:
            self._unavailable.note(path=target.path, reason=failure.getErrorMessage())
            answer = self.answers.error("503 Service Unavailable", now, target.kind, (b"Retry-After", b"1"))
        return self._whole_or_head(answer, wanted)

    def _whole_or_head(self, answer: Answer, wanted: Wanted) -> Answer:
        return answer.without_body() if wanted.is_head else answer
