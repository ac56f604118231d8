"""Something that is done every so often, and goes on being done when it fails once."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger


@define(eq=False)
class Ticker(Service):
    """Calls ``action`` every ``period_s`` seconds."""

    period_s: float
    action: Callable[[], None]
    clock: IReactorTime
    _call: IDelayedCall | None = field(default=None, init=False)

    log: ClassVar[Logger] = Logger()

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._call = self.clock.callLater(self.period_s, self._tick)

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]
        if self._call is not None and self._call.active():
            self._call.cancel()

    def _tick(self) -> None:
        self._call = self.clock.callLater(self.period_s, self._tick)
        try:
            self.action()
        except Exception:
            self.log.failure("a periodic task failed")
