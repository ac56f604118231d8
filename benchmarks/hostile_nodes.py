"""The nodes that a hostile peer attacks, with a broadcast to watch, and what the kernel says of each of them."""

from __future__ import annotations

import contextlib
import ctypes
import random
import socket
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import define, frozen
from rtmp_peers import SERVER_CORE, Usage, free_port

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # Redis, the processes and the encoder are those of the tests

from tests.lab.publishers import Encoder, encoded  # noqa: E402
from tests.lab.redis import LabRedis  # noqa: E402
from tests.system.processes import Daemon, get, until  # noqa: E402

HOST, STREAM, KEY = "127.0.0.1", "show", "benchmark"
ROLES = ("ingest", "origin", "edge")
PLAYLIST = f"/live/{STREAM}/source/index.m3u8"
SEGMENT_S = 1
LIVE_S, COUNTS_S = 30, 30
MIB = 2**20
Address = tuple[str, int]


@define(eq=False)
class Node:
    """One daemon, and what it uses; nothing is known of one that has died."""

    daemon: Daemon
    log: Path
    spool: Path
    """The folder of its temporary files."""

    @property
    def is_running(self) -> bool:
        return self.daemon.child.poll() is None

    def memory_mib(self) -> float:
        """Resident memory."""
        return Usage(self.daemon.pid).memory_bytes() / MIB if self.is_running else float("nan")

    def forget_peak(self) -> None:
        """Have the peak of resident memory begin anew (proc(5), clear_refs)."""
        Path(f"/proc/{self.daemon.pid}/clear_refs").write_text("5")

    def peak_mib(self) -> float:
        """The most resident memory since then."""
        if not self.is_running:
            return float("nan")
        status = dict(line.split(":", 1) for line in Path(f"/proc/{self.daemon.pid}/status").read_text().splitlines())
        return int(status["VmHWM"].split()[0]) / 1024

    def cpu_s(self) -> float:
        return Usage(self.daemon.pid).cpu_s() if self.is_running else float("nan")

    def waited_s(self) -> float:
        """How long it could have run and its core had other work, as far as the kernel says (schedstat)."""
        path = Path(f"/proc/{self.daemon.pid}/schedstat")
        return int(path.read_text().split()[1]) / 1e9 if self.is_running and path.exists() else float("nan")

    def log_bytes(self) -> int:
        return self.log.stat().st_size

    def spooled_bytes(self) -> int:
        """What is in its temporary files, of which none has a name."""
        sizes = []
        for descriptor in Path(f"/proc/{self.daemon.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(descriptor.readlink()).startswith(str(self.spool)):
                    sizes.append(descriptor.stat().st_blocks * 512)
        return sum(sizes)

    def counts(self, name: str) -> dict[str, float]:
        """The samples of a counter, by their labels as the node writes them."""
        lines = get(f"http://{HOST}:{self.daemon.ops}/metrics", COUNTS_S)[2].decode().splitlines()
        samples = (line.rpartition(" ") for line in lines if line.startswith(name))
        return {sample.removeprefix(name): float(value) for sample, _, value in samples}


@define(eq=False)
class Nodes:
    """Either one process of all roles, or three and Redis; all of the daemons on one core."""

    nodes: dict[str, Node]
    http: Address
    """Where viewers ask."""
    rtmp: Address
    """Where players ask."""
    ingest: Address
    ops: Address
    upstream_ports: Sequence[int]

    @classmethod
    @contextmanager
    def running(cls, folder: Path, sets: Sequence[str], *, is_cluster: bool) -> Iterator[Nodes]:
        """Start them, and a broadcast, and wait until viewers are answered."""
        with ExitStack() as stack:
            nodes = (_three if is_cluster else _alone)(stack, folder, sets)
            url = f"rtmp://{HOST}:{nodes.ingest[1]}/live/{STREAM}?key={KEY}"
            encoder = Encoder("broadcaster", encoded(folder.parent, SEGMENT_S), {"": url}, folder, random.Random(1))
            stack.enter_context(encoder.running())
            encoder.publish("")
            playlist = f"http://{HOST}:{nodes.http[1]}{PLAYLIST}"
            until(lambda: get(playlist)[0] == 200, f"an answer to viewers; see {folder}", LIVE_S)
            yield nodes


def _alone(stack: ExitStack, folder: Path, sets: Sequence[str]) -> Nodes:
    http, rtmp = free_port(), free_port()
    own = [f"edge.http={_endpoint(http)}", f"ingest.rtmp={_endpoint(rtmp)}"]
    node = _started(stack, folder, "all", [*own, *sets])
    return Nodes({"all": node}, (HOST, http), (HOST, rtmp), (HOST, rtmp), (HOST, node.daemon.ops), ())


def _three(stack: ExitStack, folder: Path, sets: Sequence[str]) -> Nodes:
    redis = LabRedis.of(folder, HOST)
    stack.enter_context(redis.running())
    ports = {role: (free_port(), free_port()) for role in ROLES}
    nodes = {}
    for role, (http, rtmp) in ports.items():
        own = [
            f"bus.redis=redis://{HOST}:{redis.address[1]}/0",
            "cluster.secret=the secret of this benchmark",
            f"node.id={role}-1",
            f"node.http=http://{HOST}:{http}",
            f"node.rtmp=rtmp://{HOST}:{rtmp}",
            f"{role}.http={_endpoint(http)}",
            f"{role}.rtmp={_endpoint(rtmp)}",
        ]
        nodes[role] = _started(stack, folder, role, [*own, *sets])
    (http, rtmp), ingest = ports["edge"], (HOST, ports["ingest"][1])
    upstream_ports = [*ports["ingest"], *ports["origin"]]
    return Nodes(nodes, (HOST, http), (HOST, rtmp), ingest, (HOST, nodes["edge"].daemon.ops), upstream_ports)


def _started(stack: ExitStack, folder: Path, role: str, sets: Sequence[str]) -> Node:
    common = ["transcode.ladder=[]", f"hls.segment_s={SEGMENT_S}"]
    daemon = Daemon.of(folder, role, *common, *sets, role=role)
    daemon.arguments = ["taskset", "-c", SERVER_CORE, *daemon.arguments]
    spool = folder / f"{role}-temporary"
    spool.mkdir()
    daemon.environ = {"TMPDIR": str(spool)}
    stack.enter_context(daemon.running())
    return Node(daemon, folder / f"{role}.log", spool)


def _endpoint(port: int) -> str:
    return f"tcp:{port}:interface={HOST}:backlog=4096"


@frozen
class Connections:
    """
    Counts the TCP connections that are begun to some ports on loopback, by the kernel's packet filter.

    It needs the right to open packet sockets; without it the count is not known.
    """

    _socket: socket.socket | None

    @classmethod
    def to(cls, ports: Sequence[int]) -> Connections:
        try:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        except PermissionError:
            return cls(None)
        code = b"".join(struct.pack("HBBI", *each) for each in _begins_to(ports))
        memory = ctypes.create_string_buffer(code)
        sock.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(code) // 8, ctypes.addressof(memory))
        )
        sock.bind(("lo", ETH_P_IP))
        return cls(sock)

    def count(self) -> int | None:
        """So many since this was asked last."""
        if self._socket is None:
            return None
        packets, _ = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        return int(packets)


SO_ATTACH_FILTER, SOL_PACKET, PACKET_STATISTICS, ETH_P_IP = 26, 263, 6, 0x0800
LOAD_BYTE, HALF_AT_X, BYTE_AT_X, HEADER_TO_X = 0x30, 0x48, 0x50, 0xB1
AND, IF_EQUAL, RETURN = 0x54, 0x15, 0x06
PACKET_TYPE, PROTOCOL, PORT, FLAGS = 0xFFFFF004, 9, 2, 13
TCP, SYN, SYN_OR_ACK = 6, 0x02, 0x12


def _begins_to(ports: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """A classic BPF program that keeps what comes in, is TCP with SYN and without ACK, and goes to one of the ports."""
    head = [
        (LOAD_BYTE, 0, 0, PACKET_TYPE),  # loopback shows each packet twice: as it goes out, and as it comes in (0)
        (IF_EQUAL, 0, 0, 0),
        (LOAD_BYTE, 0, 0, PROTOCOL),
        (IF_EQUAL, 0, 0, TCP),
        (HEADER_TO_X, 0, 0, 0),
        (BYTE_AT_X, 0, 0, FLAGS),
        (AND, 0, 0, SYN_OR_ACK),
        (IF_EQUAL, 0, 0, SYN),
        (HALF_AT_X, 0, 0, PORT),
    ]
    size = len(head) + len(ports)
    drop = size
    program = [
        (code, 0, drop - at - 1 if code == IF_EQUAL else 0, value) for at, (code, _, _, value) in enumerate(head)
    ]
    program += [(IF_EQUAL, drop - at, 0, port) for at, port in enumerate(ports, len(head))]
    return [*program, (RETURN, 0, 0, 0), (RETURN, 0, 0, 1)]


def changed(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """By how much counters have grown, of those that have."""
    grown = {labels: value - before.get(labels, 0) for labels, value in after.items()}
    return {labels: value for labels, value in grown.items() if value}
