"""What ``--check`` finds in the file system, and what it says on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from livestream.config import ConfigError, load
from livestream.files import FILE_BYTES, check_files, read_text
from livestream.tap import Options


def wrong(folder: Path, *sets: str, role: str = "all") -> list[str]:
    """What is wrong with the files that these settings name."""
    more = ("bus.redis=unix:x", f'{role}.upstreams=[{{http="http://h"}}]') if role in ("origin", "edge") else ()
    try:
        check_files(load(role, None, {}, [*more, *sets], lambda _: ""), folder)
    except ConfigError as error:
        return list(error.lines)
    return []


def test_an_access_log_needs_a_folder_that_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "old.log").touch()
    for name in ("new.log", "old.log", f"{tmp_path}/new.log"):
        assert wrong(tmp_path, f"edge.access_log={name}") == []
    (line,) = wrong(tmp_path, "edge.access_log=nowhere/new.log")
    assert line == f"edge.access_log: 'nowhere/new.log' cannot be written: no such directory: {tmp_path}/nowhere"
    (line,) = wrong(tmp_path, "edge.access_log=old.log/new.log")
    assert line == f"edge.access_log: 'old.log/new.log' cannot be written: no such directory: {tmp_path}/old.log"
    (line,) = wrong(tmp_path, f"edge.access_log={tmp_path}")
    assert line == f"edge.access_log: '{tmp_path}' is a directory; write the name of a file"


def test_only_who_keeps_an_access_log_needs_its_folder(tmp_path: Path) -> None:
    assert wrong(tmp_path, "edge.access_log=/nowhere/log", role="origin") == []
    assert len(wrong(tmp_path, "edge.access_log=/nowhere/log", role="edge")) == 1


def test_certificates_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "key.pem").touch()
    (tmp_path / "folder").mkdir()
    assert wrong(tmp_path, "edge.http=ssl:8443:privateKey=key.pem") == []
    assert wrong(tmp_path, "origin.http=ssl:8443:privateKey=/nowhere.pem") == []
    lines = wrong(tmp_path, "edge.http=ssl:8443:privateKey=key.pem:certKey=gone.pem", "ops.http=ssl:1")
    assert lines == [
        f"edge.http: 'gone.pem' cannot be read: no such file: {tmp_path}/gone.pem",
        f"ops.http: 'server.pem' cannot be read: no such file: {tmp_path}/server.pem",
    ]
    assert len(wrong(tmp_path, "edge.http=ssl:8443:privateKey=folder")) == 1


def test_a_slate_must_be_a_picture(tmp_path: Path) -> None:
    (tmp_path / "away.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "away.gif").write_bytes(b"GIF89a")
    assert wrong(tmp_path, "ingest.slate=away.png") == []
    assert wrong(tmp_path, "ingest.slate=away.gif", role="edge") == []
    (line,) = wrong(tmp_path, "ingest.slate=away.gif", "bus.redis=unix:x", role="ingest")
    assert line == f"ingest.slate: '{tmp_path}/away.gif' is neither a PNG nor a JPEG"
    (line,) = wrong(tmp_path, "ingest.slate=away.jpg")
    assert line == f"ingest.slate: '{tmp_path}/away.jpg' cannot be read: No such file or directory"


def test_all_that_is_wrong_with_files_is_said_at_once(tmp_path: Path) -> None:
    lines = wrong(tmp_path, "cluster.geo_database=/nowhere", "edge.access_log=/nowhere/log", "ops.http=ssl:1")
    assert [line.partition(":")[0] for line in lines] == ["ops.http", "edge.access_log", "cluster.geo_database"]


def checked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    """The exit code of ``twistd livestream --check``, and what it says."""
    with pytest.raises(SystemExit) as ended:
        Options().parseOptions(["--check", *arguments])
    said = capsys.readouterr()
    return ended.value.code, said.err + said.out


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ""),
        (b"\xef\xbb\xbf[hls]\nwindow = 6\n", ""),
        (b"\xef\xbb\xbf[hls]\nwindow = 2\n", "hls.window: 2 is out of range: 3 to 60 segments"),
        (bytes(range(256)), "invalid TOML: 'utf-8' codec can't decode byte 0x80"),
        (b"\x00", "invalid TOML: "),
        (b"[hls]\nwindow = " + b"[" * 3000, "invalid TOML: brackets or tables are nested too deep"),
        (b"[edge]\nhttp = '" + b"x" * 1_000_000 + b"'\n", "edge.http: it is longer than 4096 characters"),
        (b" " * (FILE_BYTES + 1), "cannot be read: it is larger than 4 MiB"),
    ],
    ids=["empty", "mark", "mark and error", "binary", "nul", "deep", "long", "large"],
)
def test_any_file_is_checked_with_a_line_and_no_traceback(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: bytes, words: str
) -> None:
    file = tmp_path / "live.toml"
    file.write_bytes(data)
    code, said = checked(capsys, f"--config={file}")
    if words:
        assert (code, said.startswith(f"{file}: "), words in said, len(said.splitlines())) == (2, True, True, 1)
    else:
        assert (code, said) == (0, "")
    assert len(said) < 400


def test_a_folder_is_no_configuration(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert checked(capsys, f"--config={tmp_path}") == (2, f"{tmp_path}: cannot be read: Is a directory\n")
    assert checked(capsys, "--set=edge.access_log=/nowhere/log")[0] == 2


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(OSError, match="larger than 4 MiB"):
        read_text(Path("/dev/zero"))
