"""
How many functions of the project are called for a frame, a segment, a relayed tick and a request.

    python benchmarks/calls.py [--rounds 20] [--detail WAY]

A node runs in this program, which drives it through its sockets; ``sys.setprofile`` counts in the reactor's thread. The
counts depend neither on the machine nor on how modules are named, so that they compare two versions of the code.

frame       a publisher's video frame that is no key frame and cuts nothing; role all, without viewers
key-frame   one that ends a segment, whose audio has come: packaged, stored and announced; role all
hot-get     a segment in memory, requested in the same bytes a moment before; role all
first-head  the same with a new header block, on a connection that has had responses; role all
first-get   the same with a new header block, on a new connection; role all
cold-get    a segment that an edge has to fetch from its origin; a cluster of three tiers, with a secret and Redis
relay       64 ms of media (two video and three audio frames) through that edge, from the origin to one RTMP viewer

A call is one of a Python function of ``livestream``, also where Twisted calls it; each resumption of a coroutine or
generator is one too, and so is a comprehension before Python 3.12. The last column leaves out what attrs generates.
All calls are counted that a stimulus causes, but not those of timers and other background work, which is recognised in
an idle period. *alike* is how many rounds had as many calls as the median. It needs the project with ``[test]``.
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from http.client import HTTPConnection
from io import StringIO
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from statistics import median_low
from types import CodeType, FrameType
from typing import Any

import hostile_bytes as wire
from attrs import define, field

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the node is of this checkout, and so are Redis and the processes of the tests

from tests.lab.redis import LabRedis  # noqa: E402
from tests.ports import free_port  # noqa: E402
from tests.system.processes import Daemon, get, until  # noqa: E402

WAYS = ("frame", "key-frame", "hot-get", "first-head", "first-get", "cold-get", "relay")
COLUMNS = "{:<12} {:>8} {:>8} {:>8} {:>14}"
HOST, STREAM, AGENT = "127.0.0.1", "bench", "calls"
ROLES = ("ingest", "origin", "edge")

AVC_CONFIG = bytes.fromhex("17000000000142c015ffe100186742c015d901e08feb0110000003004000000fa0f162e48001000468cb8cb2")
AAC_CONFIG = bytes.fromhex("af001190")
"""H.264 baseline of 480x270, and AAC-LC of 48 kHz in stereo, as bodies of RTMP messages."""
KEY_FRAME = bytes.fromhex("1701000000 00000bb9 65") + bytes(3000)
VIDEO_FRAME = bytes.fromhex("2701000000 0000012d 41") + bytes(300)
AUDIO_FRAME = bytes.fromhex("af01") + bytes(170)
"""Frames of one NAL unit and one AAC frame, which nobody decodes."""
GOP_MS, VIDEO_MS, AUDIO_MS = 1024, 32, 64 / 3
TICK, TICKS = 5, 16
"""The messages in a tick of 64 ms, two of video and three of audio, and the ticks in a GOP."""
CHUNK_BYTES = 60_000
"""As ffmpeg sends to this server: each message is one chunk, and is read at once."""
SETTLED = 16  # segments, after which the window is full and each new one is as much work as the last
QUIET_S, IDLE_S = 0.1, 3.0
"""How long to wait for the last call that a stimulus causes, and to record what is called without any."""

Trace = tuple[str, ...]
"""The functions that were called in one outermost call, which is the first, in order."""
Calls = dict[str, list[Trace]]
"""For each way, the functions that were called in each round."""


def name_of(code: CodeType, module: str) -> str:
    """The name of a function of the project, in angle brackets if attrs generated it; empty for any other."""
    kind, _, owner = code.co_filename.rpartition(" ")
    if kind.startswith("<attrs generated"):
        return f"<{owner[:-1]}.{code.co_name}>" if owner.startswith("livestream.") else ""
    return f"{module}.{code.co_qualname}" if module.startswith("livestream.") else ""


@define(eq=False)
class Recorder:
    """Records calls in the reactor's thread, for the thread that drives the node."""

    reactor: Any
    _idle: list[Trace] = field(factory=list, init=False)
    _rounds: dict[str, list[list[Trace]]] = field(factory=dict, init=False)
    _traces: list[list[str]] = field(factory=list, init=False)
    _depth: int = field(default=0, init=False)

    def record_idle(self) -> None:
        """Record what is called while nothing happens."""
        self._idle = self._during(partial(time.sleep, IDLE_S))

    def record(self, way: str, stimulus: Callable[[], object]) -> None:
        """Record one round."""
        self._rounds.setdefault(way, []).append(self._during(stimulus))

    def calls(self) -> Calls:
        """All calls but those of background work, told by its first two: it is not in every round, or as when idle."""
        idle, calls = set(self._idle), Calls()
        for way, rounds in self._rounds.items():
            always = set.intersection(*[{trace[:2] for trace in traces} for traces in rounds])
            background = {trace[:2] for trace in idle} - always
            kept = ([one for one in traces if one not in idle and one[:2] not in background] for traces in rounds)
            calls[way] = [tuple(chain.from_iterable(traces)) for traces in kept]
        return calls

    def _during(self, stimulus: Callable[[], object]) -> list[Trace]:
        from twisted.internet.threads import blockingCallFromThread

        self._traces, self._depth = [], 0
        blockingCallFromThread(self.reactor, sys.setprofile, self._note)
        stimulus()
        time.sleep(QUIET_S)
        blockingCallFromThread(self.reactor, sys.setprofile, None)
        return [tuple(trace) for trace in self._traces]

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        is_python = event in ("call", "return")
        name = name_of(frame.f_code, frame.f_globals.get("__name__") or "") if is_python else ""
        if name and event == "call":
            if not self._depth:
                self._traces.append([])
            self._traces[-1].append(name)
            self._depth += 1
        elif name:
            self._depth -= 1


def media(kind: int, body: bytes, at_ms: float = 0) -> bytes:
    return wire.message(kind, body, 6 if kind == wire.VIDEO else 4, CHUNK_BYTES, round(at_ms))


def gop(number: int) -> list[bytes]:
    """The messages of a GOP, its key frame first, and last the audio frame that ends with it."""
    video = [(n * VIDEO_MS, wire.VIDEO, VIDEO_FRAME if n else KEY_FRAME) for n in range(GOP_MS // VIDEO_MS)]
    audio = [((n + 1) * AUDIO_MS, wire.AUDIO, AUDIO_FRAME) for n in range(round(GOP_MS / AUDIO_MS))]
    return [media(kind, body, number * GOP_MS + at_ms) for at_ms, kind, body in sorted(video + audio)]


def opened(port: int, request: bytes, answer: bytes) -> socket.socket:
    """An RTMP connection on which ``request`` was sent and ``answer`` has come."""
    connection, received = socket.create_connection((HOST, port), 10), b""
    connection.sendall(request)
    while answer not in received:
        data = connection.recv(1 << 16)
        assert data, f"the node at {port} does not say {answer!r} but {received!r}"
        received += data
    return connection


def published(ports: Mapping[str, int], count: int) -> socket.socket:
    """The connection of a publisher that has sent so many GOPs."""
    until(lambda: get(f"http://{HOST}:{ports['ops.http']}/readyz")[0] == 200, "the node is ready")
    encoder = opened(ports["ingest.rtmp"], wire.publisher(STREAM) + wire.set_chunk_size(CHUNK_BYTES), wire.PUBLISHING)
    encoder.sendall(media(wire.VIDEO, AVC_CONFIG) + media(wire.AUDIO, AAC_CONFIG))
    for number in range(count):
        encoder.sendall(b"".join(gop(number)))
        time.sleep(3 * QUIET_S)  # a publisher may end four segments in a second
    return encoder


def asked(client: HTTPConnection, name: str, agent: str = AGENT) -> bytes:
    """The object or playlist of this name; another ``agent`` makes another header block."""
    client.request("GET", f"/live/{STREAM}/source/{name}", headers={"User-Agent": agent})
    response = client.getresponse()
    assert response.status == 200, f"{name}: {response.status}"
    return response.read()


def listed(client: HTTPConnection) -> list[str]:
    """The names of the segments that are listed, oldest first."""
    return [line for line in asked(client, "index.m3u8").decode().split("\n") if line.endswith(".m4s")]


def drive_all(reactor: Any, ports: Mapping[str, int], rounds: int) -> Calls:
    """The ways through a node of the role ``all``."""
    encoder, client = published(ports, SETTLED), HTTPConnection(HOST, ports["edge.http"])
    asked(client, listed(client)[-2])
    recorder = Recorder(reactor)
    recorder.record_idle()
    for number in range(SETTLED, SETTLED + rounds):
        key_frame, audio, frame, *others = gop(number)
        recorder.record("key-frame", partial(encoder.sendall, key_frame))
        encoder.sendall(audio)
        time.sleep(QUIET_S)
        recorder.record("frame", partial(encoder.sendall, frame))
        segment, new_client = listed(client)[-2], HTTPConnection(HOST, ports["edge.http"])
        for way, asking in (("hot-get", client), ("first-head", client), ("first-get", new_client)):
            asked(client, segment)
            agent = AGENT if way == "hot-get" else f"{way} {number}"
            recorder.record(way, partial(asked, asking, segment, agent))
        new_client.close()
        encoder.sendall(b"".join(others))
        time.sleep(QUIET_S)
    return recorder.calls()


def drive_edge(reactor: Any, ports: Mapping[str, int], rounds: int) -> Calls:
    """The ways through the edge of a cluster whose window is of so many segments."""
    encoder, client = published(ports, rounds + 2), HTTPConnection(HOST, ports["edge.http"])
    segments, fetching, relaying = listed(client), Recorder(reactor), Recorder(reactor)
    fetching.record_idle()
    for segment in segments:
        listed(client)  # have prepared what is kept for a second
        fetching.record("cold-get", partial(asked, client, segment))
    viewer = opened(ports["edge.rtmp"], wire.player(STREAM), wire.PLAYING)
    relaying.record_idle()

    def relay(messages: Sequence[bytes]) -> None:
        encoder.sendall(b"".join(messages))
        viewer.recv(1 << 20)

    for number in range(rounds):
        ended, tick = divmod(number, TICKS - 1)
        messages = gop(rounds + 2 + ended)
        if not tick:
            relay(messages[:TICK])
            time.sleep(5 * QUIET_S)  # the segment before it passes all tiers
        relaying.record("relay", partial(relay, messages[TICK * (tick + 1) : TICK * (tick + 2)]))
    return fetching.calls() | relaying.calls()


def run(role: str, sets: Sequence[str], drive: Callable[[Any], Calls]) -> Calls:
    """Be a node of this role until it has been driven."""
    from twisted.internet import reactor
    from twisted.internet.threads import deferToThread
    from twisted.python.log import startLogging

    from livestream.tap import Options, makeService

    options: Any = Options()
    calls, failures = Calls(), list[Any]()
    startLogging(StringIO(), setStdout=False)
    options.parseOptions([f"--role={role}", *(f"--set={one}" for one in sets)])
    service = makeService(options)
    service.privilegedStartService()
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    deferToThread(drive, reactor).addCallbacks(calls.update, failures.append).addBoth(lambda _: reactor.stop())
    run: Any = reactor.run
    run(installSignalHandlers=False)
    for failure in failures:
        failure.raiseException()
    return calls


def listening(ports: Mapping[str, int], *names: str) -> list[str]:
    return [f"{name}=tcp:{ports[name]}:interface={HOST}" for name in names]


def recorded(rounds: int) -> Calls:
    """All ways: those through a whole node, and then those through the edge of three tiers."""
    ports = {f"{role}.{kind}": free_port() for role in ROLES for kind in ("http", "rtmp")} | {"ops.http": free_port()}
    usual = ["transcode.ladder=[]", "hls.segment_s=1"]
    nodes = ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1)  # a reactor runs once
    with nodes, tempfile.TemporaryDirectory(prefix="calls-") as folder, ExitStack() as stack:
        sets = [*usual, *listening(ports, "ingest.rtmp", "edge.http", "edge.rtmp", "ops.http")]
        calls = nodes.submit(run, "all", sets, partial(drive_all, ports=ports, rounds=rounds)).result()
        redis = LabRedis.of(Path(folder), HOST)
        stack.enter_context(redis.running())
        usual += [f"hls.window={rounds}", f"bus.redis=redis://{HOST}:{redis.address[1]}", f"cluster.secret={4 * AGENT}"]
        for role in ROLES:
            sets = [*usual, f"node.id={role}-1", *listening(ports, f"{role}.http", f"{role}.rtmp")]
            sets += [f"node.{kind}={kind}://{HOST}:{ports[f'{role}.{kind}']}" for kind in ("http", "rtmp")]
            if role != "edge":
                stack.enter_context(Daemon.of(Path(folder), role, *sets, role=role).running())
        sets += listening(ports, "ops.http")
        return calls | nodes.submit(run, "edge", sets, partial(drive_edge, ports=ports, rounds=rounds)).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, choices=range(3, 51), default=20, metavar="3..50")
    parser.add_argument("--detail", choices=WAYS, help="list the functions of a median round, by first call")
    args = parser.parse_args()
    ways = recorded(args.rounds)
    print(COLUMNS.format("operation", "median", "least", "alike", "without attrs"))
    detail: Counter[str] = Counter()
    for way in WAYS:
        calls = sorted(map(len, ways[way]))
        middle = median_low(calls)
        own = median_low(sum(name[0] != "<" for name in names) for names in ways[way])
        print(COLUMNS.format(way, middle, calls[0], f"{calls.count(middle)}/{len(calls)}", own))
        if way == args.detail:
            detail = Counter(next(names for names in ways[way] if len(names) == middle))
    for name, count in detail.items():
        print(f"{count:>5} {name}")


if __name__ == "__main__":
    main()
