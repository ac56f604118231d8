"""The RTMP servers that the benchmarks compare, how each is started, and what the kernel says that each has used."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import field, frozen

SERVER_CORE, LOAD_CORE = "0", "1"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

NGINX = """\
{module}
worker_processes 1; daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
worker_rlimit_nofile 65536;
events {{ worker_connections 32768; }}
rtmp {{
  access_log off;
  server {{ listen 127.0.0.1:{port}; chunk_size 4096; application live {{ live on; }} }}
}}
"""

SRS = """\
listen {port}; max_connections 20000; daemon off; srs_log_tank console; pid {folder}/srs.pid;
vhost __defaultVhost__ {{
  tcp_nodelay on; min_latency on;
  play {{ mw_latency 64; gop_cache on; queue_length 10; }}
  publish {{ mr off; }}
}}
"""

MEDIAMTX = """\
logLevel: error
api: no
rtsp: no
hls: no
webrtc: no
srt: no
rtmp: yes
rtmpAddress: 127.0.0.1:{port}
writeQueueSize: 1024
paths: {{all_others: }}
"""

TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile=")


@frozen
class Peer:
    """One server: its name, its command line, and what to write into which file before it starts."""

    name: str
    command: Sequence[str]
    files: dict[str, str] = field(factory=dict)


def livestream(port: int, *settings: str) -> Peer:
    """This project, as one process that takes publishers and players on one port and encodes nothing."""
    sets = [
        f"ingest.rtmp=tcp:{port}:interface=127.0.0.1",
        f"edge.rtmp=tcp:{port}:interface=127.0.0.1",
        f"edge.http=tcp:{free_port()}:interface=127.0.0.1",
        f"ops.http=tcp:{free_port()}:interface=127.0.0.1",
        "transcode.ladder=[]",
        *settings,
    ]
    command = [*TWISTD, "livestream"]
    return Peer("livestream", [*command, *(part for one in sets for part in ("--set", one))])


def nginx(port: int, folder: Path) -> Peer:
    module = next(Path("/usr").glob("lib/nginx/modules/ngx_rtmp_module.so"), None)
    load = f"load_module {module};" if module else ""
    config = NGINX.format(module=load, folder=folder, port=port)
    return Peer("nginx-rtmp", ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], {"nginx.conf": config})


def srs(port: int, folder: Path, path: str) -> Peer:
    return Peer("SRS", [path, "-c", str(folder / "srs.conf")], {"srs.conf": SRS.format(port=port, folder=folder)})


def mediamtx(port: int, folder: Path, path: str) -> Peer:
    return Peer("MediaMTX", [path, str(folder / "mediamtx.yml")], {"mediamtx.yml": MEDIAMTX.format(port=port)})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(peer: Peer, port: int, folder: Path) -> Iterator[Usage]:
    """Run a server on its core, and yield what it uses."""
    for name, text in peer.files.items():
        (folder / name).write_text(text)
    with (folder / f"{peer.name}.log").open("w") as log:
        command = ["taskset", "-c", SERVER_CORE, *peer.command]
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={**os.environ, "GOMAXPROCS": "1"})
        try:
            _await_port(port, server, folder / f"{peer.name}.log")
            yield Usage(server.pid)
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@frozen
class Usage:
    """What one process has used so far."""

    pid: int

    def cpu_s(self) -> float:
        """CPU time, in the process and in the kernel for it. What the kernel does in softirqs is nobody's."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def memory_bytes(self) -> int:
        """Resident memory, without what the kernel holds in socket buffers."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_BYTES


def _await_port(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"{server.args!r}: does not listen on {port}\n{log.read_text()[-2000:]}")


def compiled(folder: Path) -> str:
    """The load generator, compiled for this machine."""
    program = folder / "rtmp_load"
    subprocess.run(["cc", "-O2", "-o", program, Path(__file__).with_name("rtmp_load.c")], check=True)
    return str(program)


def load(program: str, *words: object) -> subprocess.Popen[str]:
    """Start the load generator on its core."""
    command = ["taskset", "-c", LOAD_CORE, program, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def encoded(folder: Path, seconds: int = 20) -> Path:
    """The stream of the benchmarks: 1280x720, 30 pictures a second, 2.5 Mbit/s and sound, a key frame every 2 s."""
    path = folder / "stream.flv"
    if not path.exists():
        video = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", "2500k", "-minrate", "2500k", "-maxrate", "2500k"]
        video += ["-bufsize", "2500k", "-nal-hrd", "cbr", "-g", "60", "-bf", "0", "-pix_fmt", "yuv420p"]
        source = [
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=1280x720:rate=30",
            "-f",
            "lavfi",
            "-i",
            "sine=440:sample_rate=48000",
        ]
        sound = ["-c:a", "aac", "-b:a", "128k"]
        command = [ffmpeg(), "-loglevel", "error", "-y", *source, *video, *sound, "-t", str(seconds), str(path)]
        subprocess.run(command, check=True)
    return path


def ffmpeg() -> str:
    found = shutil.which("ffmpeg")
    if found is None:
        import imageio_ffmpeg

        found = imageio_ffmpeg.get_ffmpeg_exe()
    return str(found)


def figures(line: str) -> dict[str, float]:
    """What the load generator printed last."""
    return {name: float(value) for name, _, value in (word.partition("=") for word in line.split())}


def raise_limits() -> None:
    """Thousands of connections need as many descriptors, here and in the servers."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
