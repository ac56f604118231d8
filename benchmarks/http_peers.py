"""The HTTP caches that the benchmarks compare, tuned as an expert would, and the tier above them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen
from rtmp_peers import LOAD_CORE, Peer, Usage, free_port

NGINX = """\
user root; worker_processes 1; daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
worker_rlimit_nofile 65536;
events {{ worker_connections 32768; multi_accept on; }}
http {{
  access_log off; sendfile on; tcp_nopush off; keepalive_requests 1000000000; keepalive_timeout 600s;
  open_file_cache max=10000; open_file_cache_valid 600s;
  proxy_cache_path {cache} levels=1:2 keys_zone=bench:10m max_size=2g inactive=1d use_temp_path=off;
  upstream above {{ server 127.0.0.1:{origin}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port} sndbuf=128k backlog=16384;
    location / {{
      proxy_pass http://above; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_cache bench; proxy_cache_lock on; proxy_cache_valid 200 1d;
    }}
  }}
}}
"""

VARNISH = 'vcl 4.1;\nbackend above {{ .host = "127.0.0.1"; .port = "{origin}"; }}\n'

TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile=")


def livestream(port: int, origin: int, *settings: str) -> Peer:
    """This project's edge. It has no Redis, so it learns what is live from the tier above, over HTTP."""
    sets = [
        f"edge.http=tcp:{port}:interface=127.0.0.1:backlog=16384",
        f"edge.rtmp=tcp:{free_port()}:interface=127.0.0.1",
        f"ops.http=tcp:{free_port()}:interface=127.0.0.1",
        f'edge.upstreams=[{{http = "http://127.0.0.1:{origin}", rtmp = "rtmp://127.0.0.1:{origin}"}}]',
        f"bus.redis=redis://127.0.0.1:{free_port()}/0",
        *settings,
    ]
    command = [*TWISTD, "livestream", "--role=edge"]
    return Peer("livestream", [*command, *(part for one in sets for part in ("--set", one))])


def nginx(port: int, origin: int, folder: Path) -> Peer:
    """nginx with its cache on a memory file system."""
    cache = Path("/dev/shm") / folder.name
    config = NGINX.format(folder=folder, port=port, origin=origin, cache=cache)
    return Peer("nginx", ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], {"nginx.conf": config})


def varnish(port: int, origin: int, folder: Path) -> Peer:
    words = ["-j", "none", "-F", "-a", f"127.0.0.1:{port},HTTP", "-f", str(folder / "bench.vcl"), "-s", "malloc,2g"]
    words += ["-n", str(folder / "varnish"), "-p", "thread_pool_min=500", "-p", "thread_pool_max=6000"]
    words += ["-p", "listen_depth=16384", "-p", "timeout_idle=600"]
    return Peer("varnish", ["varnishd", *words], {"bench.vcl": VARNISH.format(origin=origin)})


@frozen
class Family:
    """What a server and its children use."""

    usage: Usage

    def cpu_s(self) -> float:
        return sum(Usage(pid).cpu_s() for pid in self._members())

    def memory_bytes(self) -> int:
        """Resident memory and memory files, without what the kernel holds in socket buffers."""
        return sum(Usage(pid).memory_bytes() + _memory_files(pid) for pid in self._members())

    def _members(self) -> list[int]:
        parents = {int(stat.parent.name): _parent(stat) for stat in Path("/proc").glob("[0-9]*/stat")}
        members = [self.usage.pid]
        for pid in members:
            members += [child for child, parent in parents.items() if parent == pid]
        return members


def _parent(stat: Path) -> int:
    with contextlib.suppress(OSError):
        return int(stat.read_text().rpartition(")")[2].split()[1])
    return 0


def _memory_files(pid: int) -> int:
    held = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(link.readlink()).startswith("/memfd:"):
                held[link.stat().st_ino] = link.stat().st_blocks * 512
    return sum(held.values())


@frozen
class Above:
    """The scripted tier above, while it runs."""

    port: int

    def count(self) -> dict[str, Any]:
        """How often each path was asked for, and when the last answer's first and last bytes were sent."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/count") as answer:
            return dict(json.load(answer))

    def segment(self, rendition: str, back: int = 3) -> str:
        """The path of a listed segment, so many segments old."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/live/bench/{rendition}/index.m3u8") as answer:
            names = [line for line in answer.read().decode().splitlines() if line.endswith(".m4s")]
        return f"/live/bench/{rendition}/{names[-1 - back]}"


@contextlib.contextmanager
def above(begin_ms: float = 0, send_ms: float = 0, streams: int = 1) -> Iterator[Above]:
    """Run the tier above, beside the load generator."""
    port = free_port()
    script = str(Path(__file__).with_name("http_origin.py"))
    words = [str(port), "--begin-ms", str(begin_ms), "--send-ms", str(send_ms), "--streams", str(streams)]
    server = subprocess.Popen(["taskset", "-c", LOAD_CORE, sys.executable, script, *words])
    try:
        _await_answer(Above(port), server)
        yield Above(port)
    finally:
        server.terminate()
        server.wait()


def _await_answer(tier: Above, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            tier.count()
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def await_listed(port: int, path: str) -> None:
    """Wait until a cache has an answer for a path: ours has to hear of the stream first."""
    deadline = time.monotonic() + 20
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}").read()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
