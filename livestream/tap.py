"""``twistd livestream``: its options, and the service that they configure."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from twisted.application.service import IService, MultiService
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python import usage

from livestream.config import Config, ConfigError, load
from livestream.endpoints import parse
from livestream.files import check_files, read_text
from livestream.lifecycle.garbage import LOOK_S, Garbage
from livestream.model.names import APP, watch_path
from livestream.net.listeners import CannotListen
from livestream.net.periodic import Ticker
from livestream.net.sd_notify import Notifier
from livestream.transcode.sandbox import clean_environment


class Options(usage.Options):
    """Live video delivery: RTMP in, adaptive HLS and RTMP push out."""

    synopsis = "[--role=ROLE] [--config=FILE] [--set section.key=value ...] [--demo]"
    optParameters: ClassVar[list[list[Any]]] = [
        ["role", "r", "all", "Role of this process: all, ingest, origin or edge."],
        ["config", "c", None, "Configuration file in TOML."],
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        ["check", None, "Validate the configuration and exit: with 0, or with 2 and one line per error."],
        ["print-config", None, "Print the effective configuration as TOML, with a comment on each setting, and exit."],
        ["demo", None, "Publish a moving test card with a clock and a tone as stream 'demo'."],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["set"] = []
        self._folder = Path.cwd()

    def opt_set(self, text: str) -> None:
        """Override one setting, as section.key=value; may be repeated."""
        self["set"].append(text)

    def postOptions(self) -> None:
        try:
            self["loaded"] = config = self.read()
            if self["check"]:
                check_files(config, self._folder)
        except ConfigError as error:
            sys.stderr.write(f"{error}\n")
            raise SystemExit(2) from None
        if self["print-config"]:
            sys.stdout.write(self["loaded"].to_toml())
        if self["check"] or self["print-config"]:
            raise SystemExit(0)

    def read(self) -> Config:
        """
        Read all that a configuration is put together from, wherever twistd has gone meanwhile.

        :raises ConfigError: with all that is wrong.
        """
        role, path, sets = self["role"], self["config"], self["set"]
        return load(role, path, os.environ, sets, lambda name: read_text(self._folder / name))


class Livestream(MultiService):
    """All of the daemon's services; one that cannot listen ends the process with one line."""

    def __init__(self, notifier: Notifier) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._notifier = notifier

    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()  # type: ignore[no-untyped-call]
        except CannotListen as error:
            sys.stderr.write(f"{error}\n")
            sys.stderr.flush()
            os._exit(1)

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._notifier.say("READY=1")


class Demo(ProcessProtocol):
    """The publisher of the test card, a process of its own that ends with this one."""

    def __init__(self, reactor: Any, port: str) -> None:
        self._arguments = [sys.executable, "-m", "livestream.transcode.demo", "127.0.0.1", port, "demo"]
        self._reactor = reactor

    def start(self) -> None:
        process = self._reactor.spawnProcess(
            self, sys.executable, self._arguments, env=clean_environment(os.environ), childFDs={0: "w", 1: 1, 2: 2}
        )
        self._reactor.addSystemEventTrigger("before", "shutdown", self._kill, process)

    def _kill(self, process: IProcessTransport) -> None:
        with suppress(ProcessExitedAlready):  # Ctrl-C reaches both
            process.signalProcess("KILL")


def makeService(options: Options) -> IService:
    """The service of one process."""
    from twisted.internet import reactor

    from livestream.lifecycle.drain import DrainPhase
    from livestream.roles import build

    config: Config = options["loaded"]
    raise_file_limit()
    notifier = Notifier.of(os.environ)
    service = Livestream(notifier)
    try:
        process = build(config, reactor)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    process.services.setServiceParent(service)
    process.drain.at(DrainPhase.ANNOUNCED, lambda: notifier.say("STOPPING=1"))
    garbage = Garbage()
    reactor.callWhenRunning(garbage.begin)
    Ticker(LOOK_S, garbage.look, reactor).setServiceParent(service)  # type: ignore[no-untyped-call]
    reactor.callWhenRunning(hear, reactor, signal.SIGTERM, lambda: process.drain.begin_or_stop("SIGTERM"))
    reactor.callWhenRunning(hear, reactor, signal.SIGHUP, lambda: process.reloader.reload(options.read))
    if notifier.watchdog_s:
        alive = Ticker(notifier.watchdog_s, lambda: notifier.say("WATCHDOG=1"), reactor)
        alive.setServiceParent(service)  # type: ignore[no-untyped-call]
    if options["demo"]:
        reactor.callWhenRunning(Demo(reactor, port_of(config.ingest.rtmp)).start)
    for line in greeting(config, options["demo"]):
        Logger("livestream").info("{line}", line=line)
    return service


def hear(reactor: Any, number: int, act: Callable[[], object]) -> None:
    """Have a signal do this, in the place of what the reactor does."""
    signal.signal(number, lambda *_: reactor.callFromThread(act))


def port_of(endpoint: str) -> str:
    """The port of an endpoint; empty where it has none."""
    return parse(endpoint).port


def greeting(config: Config, demo: bool) -> list[str]:
    """What to open, what to paste into OBS, and an ffmpeg line."""
    lines = []
    if config.role == "all" and port_of(config.edge.http):
        http = f"http://127.0.0.1:{port_of(config.edge.http)}"
        lines.append(f"open      {http}{watch_path('demo')}" if demo else f"open      {http}/")
    if config.role in ("all", "ingest") and port_of(config.ingest.rtmp):
        rtmp = f"rtmp://127.0.0.1:{port_of(config.ingest.rtmp)}/{APP}"
        lines.append(f"OBS       server {rtmp}   stream key NAME")
        lines.append(f"ffmpeg    ffmpeg -re -i FILE -c:v libx264 -g 90 -b:v 2500k -c:a aac -f flv {rtmp}/NAME")
    return lines


def raise_file_limit() -> None:
    """Let this process have as many files as it may: every segment in memory is one."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
