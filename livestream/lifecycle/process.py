"""What every role runs in: services, timers, draining, reloading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.application.service import MultiService, Service
from twisted.internet.interfaces import IProtocolFactory

from livestream.config import Config
from livestream.lifecycle.drain import Drain
from livestream.lifecycle.reload import Reloader
from livestream.lifecycle.reload_hooks import reload_drain_limit
from livestream.net.listeners import Listener
from livestream.net.periodic import Ticker


@define(eq=False)
class Process:
    """A role adds what it has built; whoever runs the process starts and stops ``services``."""

    reactor: Any
    drain: Drain
    reloader: Reloader
    services: MultiService = field(factory=MultiService, init=False)

    @classmethod
    def of(cls, config: Config, reactor: Any, *, drains: bool = True) -> Process:
        """A process that ``drains`` has time to move its viewers elsewhere before it stops; another stops at once."""
        drain = Drain(config.cluster.drain_s if drains else 0.0, reactor, reactor.stop)
        process = cls(reactor, drain, Reloader(config))
        if drains:
            reload_drain_limit(process.reloader, drain)
        return process

    def run(self, service: Service) -> None:
        """Start and stop ``service`` with the process."""
        service.setServiceParent(self.services)

    def listen(self, setting: str, where: str, factory: IProtocolFactory, *, is_held: bool = False) -> Listener:
        """Serve ``factory`` at the endpoint ``where``, the value of ``setting``; see `Listener` for ``is_held``."""
        listener = Listener(setting, where, factory, self.reactor, is_held)
        self.run(listener)
        return listener

    def every(self, period_s: float, action: Callable[[], None]) -> None:
        """Call ``action`` every so often."""
        self.run(Ticker(period_s, action, self.reactor))

    def when_running(self, action: Callable[..., Any], *arguments: object) -> None:
        """Call ``action`` as soon as the reactor runs."""
        self.reactor.callWhenRunning(action, *arguments)

    def at_stop(self, action: Callable[[], Any]) -> None:
        """Call ``action`` before the process ends."""
        self.reactor.addSystemEventTrigger("before", "shutdown", action)
