"""What can happen to the laboratory's Redis does happen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.redis import LabRedis
from tests.system.processes import until


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[LabRedis]:
    with LabRedis.of(tmp_path, "127.0.4.1").running() as redis:
        yield redis


def test_it_is_busy_while_a_script_runs(redis: LabRedis) -> None:
    script = threading.Thread(target=redis.be_busy, args=(0.6,))
    script.start()
    until(lambda: redis.command("PING").startswith(b"-BUSY"), "BUSY", 5)
    script.join()
    assert redis.command("PING") == b"+PONG"


def test_a_replica_refuses_to_write_and_has_lost_what_it_had(redis: LabRedis, tmp_path: Path) -> None:
    redis.command("SET", "key", "value")
    with LabRedis.of(tmp_path, "127.0.4.1", "other").running() as other, redis.replicating(other):
        assert redis.command("SET", "key", "another").startswith(b"-READONLY")
        until(lambda: redis.command("EXISTS", "key") == b":0", "the other's data", 10)
    assert redis.command("SET", "key", "another") == b"+OK"


def test_it_comes_back_empty(redis: LabRedis) -> None:
    redis.command("SET", "key", "value")
    redis.stop()
    redis.start()
    assert redis.command("EXISTS", "key") == b":0"
