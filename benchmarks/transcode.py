"""
What transcoding costs beside ffmpeg: CPU seconds for the same source, the same rungs and the same settings.

    python benchmarks/transcode.py [--seconds 20] [--rounds 3]

The source is 1280x720 at 30 pictures a second with noise in it, and a key frame every two seconds; out come 480p and
360p. Each program works alone; user and system time of its process are counted, and so is what its start costs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from livestream.media.flv import VIDEO, parse_video
from livestream.model.frames import Frame
from livestream.transcode.commands import Command, Flush, Produced, RecordReader, Setup, Source, encode
from livestream.transcode.ladder import ladder_for

HEIGHT, HEIGHTS, PRESET = 720, (480, 360), "veryfast"
TESTED = "testsrc2=size=1280x720:rate=30,noise=alls=12:allf=t"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = made_source(Path(folder), args.seconds)
        commands = told(source)
        ours, theirs = [], []
        for _ in range(args.rounds):
            theirs.append(spent(ffmpeg(source, Path(folder)), b"")[0])
            seconds, answer = spent([sys.executable, "-m", "livestream.transcode.worker"], commands)
            ours.append(seconds)
        print(f"{'':<12} {'CPU s':>7} {'best':>7} {'of one core':>12}")
        for name, each in (("ffmpeg", theirs), ("livestream", ours)):
            median = statistics.median(each)
            print(f"{name:<12} {median:>7.2f} {min(each):>7.2f} {median / args.seconds:>11.0%}")
        print(f"ours / ffmpeg: {statistics.median(ours) / statistics.median(theirs):.2f}\n")
        rates(answer, args.seconds, Path(folder))


def made_source(folder: Path, seconds: int) -> Path:
    path = folder / "source.flv"
    made = f"-f lavfi -i {TESTED} -t {seconds} -c:v libx264 -preset veryfast -b:v 4000k -g 60 -sc_threshold 0 -bf 2"
    subprocess.run(["ffmpeg", "-v", "error", "-y", *made.split(), str(path)], check=True)
    return path


def told(source: Path) -> bytes:
    """Everything that a child is told of the source."""
    data, at, frames = source.read_bytes(), 13, list[Frame]()
    while at < len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        time_ms = int.from_bytes(data[at + 7 : at + 8] + data[at + 4 : at + 7], "big")
        frame = parse_video(time_ms, data[at + 11 : at + 11 + size]) if data[at] == VIDEO else None
        if frame is not None:
            frames.append(frame)
        at += 15 + size
    setup = Setup(PRESET, ladder_for(HEIGHT, HEIGHTS))
    commands: list[Command] = [setup, *map(Source, frames), Flush()]
    return b"".join(encode(command) for command in commands)


def ffmpeg(source: Path, folder: Path) -> list[str]:
    """The same work as one command."""
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-threads", "1", "-i", str(source), "-filter_complex"]
    rungs = ladder_for(HEIGHT, HEIGHTS)
    chains = [f"[{index}]scale=-2:{rung.height}:flags=bicubic[out{index}]" for index, rung in enumerate(rungs)]
    split = "".join(f"[{index}]" for index in range(len(rungs)))
    command.append(";".join([f"[0:v]split={len(rungs)}{split}", *chains]))
    for index, rung in enumerate(rungs):
        kbps = rung.video_kbps
        settings = f"-c:v libx264 -preset {PRESET} -tune zerolatency -threads 1 -forced-idr 1 -sc_threshold 0 -g 60"
        rate = f"-b:v {kbps}k -maxrate {kbps * 11 // 10}k -bufsize {kbps * 2}k"
        command += ["-map", f"[out{index}]", *settings.split(), *rate.split(), str(folder / f"{rung.name}.flv")]
    return command


def spent(command: list[str], told: bytes) -> tuple[float, bytes]:
    """The CPU seconds of a child, and its output."""
    before = os.times()
    answer = subprocess.run(command, input=told, stdout=subprocess.PIPE, check=True).stdout
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used, answer


def rates(answer: bytes, seconds: int, folder: Path) -> None:
    """That both did the same: the rate of each rung."""
    totals: dict[str, int] = {}
    for command in RecordReader().receive(answer):
        if isinstance(command, Produced):
            totals[command.rendition] = totals.get(command.rendition, 0) + len(command.frame.body)
    for name, size in totals.items():
        theirs = (folder / f"{name}.flv").stat().st_size
        print(f"{name}: {size * 8 / seconds / 1000:.0f} kb/s; ffmpeg {theirs * 8 / seconds / 1000:.0f} kb/s")


if __name__ == "__main__":
    main()
