"""One line of the log for what anybody can cause as often as they like: how often it was, and one example."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

PERIOD_S = 10.0
SHOWN = 64
"""So many characters of a name that a stranger has chosen are shown."""


def _without_source(log: Logger) -> Logger:
    """The same log, but of no object: one that has its own summary would be in a cycle, and not be freed at once."""
    return Logger(log.namespace, observer=log.observer)


@define(eq=False)
class LogSummary:
    """
    Counts events, and logs one line ``period_s`` seconds after the first of them.

    ``text`` is a format with the fields ``count`` and ``seconds``, and those of the example, which is the first event:
    ``"{count} requests in the last {seconds} s, such as '{name}' from {peer}"``. What an example consists of may come
    from a stranger: it is cut short, and what is not printable ASCII is escaped.
    """

    log: Logger = field(converter=_without_source)
    text: str
    clock: IReactorTime
    level: LogLevel = LogLevel.warn
    period_s: float = PERIOD_S
    _count: int = field(default=0, init=False)
    _example: dict[str, str] = field(factory=dict, init=False)

    def note(self, **example: str) -> None:
        """Count one event; it costs next to nothing unless it is the first of its period."""
        self._count += 1
        if self._count == 1:
            self._example = {name: printable(value) for name, value in example.items()}
            self.clock.callLater(self.period_s, self._tell)

    def _tell(self) -> None:
        count, self._count = self._count, 0
        self.log.emit(self.level, self.text, count=count, seconds=round(self.period_s), **self._example)


def printable(text: str) -> str:
    """A stranger's text as it may stand in a log: in printable ASCII, on one line, and short."""
    shown = text[:SHOWN].encode("unicode_escape").decode("ascii")
    return shown if len(text) <= SHOWN else f"{shown}..."
