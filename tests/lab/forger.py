"""Somebody who reaches a cluster's Redis without its secret: hears everything, repeats it, and forges more."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from attrs import define, field

from tests.lab.proxy import Address
from tests.lab.redis import LabRedis

MOST_HEARD = 5000
DIGEST_BYTES = 64
YEAR_10000_MS = 253_402_300_800_000
AHEAD = 100
NONSENSE = (b"", b"{}", b"[" * 5000, b"\x00\xff" * 700, b"0" * (1 << 20), b"a" * DIGEST_BYTES + b' {"v":2}')

Message = tuple[bytes, bytes]
"""A channel and what was told on it."""


@define(eq=False)
class Forger:
    """Keeps what was told on any channel while it listened."""

    redis: LabRedis
    heard: list[Message] = field(factory=list, init=False)

    @contextmanager
    def listening(self) -> Iterator[Forger]:
        with socket.create_connection(self.redis.address, 10) as connection:
            connection.sendall(b"PSUBSCRIBE *\r\n")
            connection.settimeout(None)
            thread = threading.Thread(target=self._listen, args=(connection.makefile("rb"),), daemon=True)
            thread.start()
            yield self
            connection.shutdown(socket.SHUT_RDWR)
            thread.join(10)

    def _listen(self, answers: BinaryIO) -> None:
        with suppress(OSError, ValueError):
            while len(self.heard) < MOST_HEARD:
                kind, *words = _array(answers)
                if kind == b"pmessage":
                    self.heard.append((words[1], words[2]))

    def repeat(self, dice: random.Random) -> int:
        """Tell everything that was heard once more, in another order; return how much that was."""
        messages = list(self.heard)
        dice.shuffle(messages)
        return self._tell(messages)

    def forge(self, dice: random.Random) -> int:
        """Tell altered versions of what was heard, and write them to the logs; return how many."""
        forged = [
            (channel, message)
            for channel, heard in dice.sample(self.heard, min(len(self.heard), 100))
            for message in _forged(heard)
        ]
        forged += [(channel, message) for channel in {channel for channel, _ in self.heard} for message in NONSENSE]
        return self._tell(forged) + self._append([message for _, message in forged if b'"stream"' in message])

    def _tell(self, messages: list[Message]) -> int:
        with Pipe.to(self.redis.address) as pipe:
            for channel, message in messages:
                pipe.command(b"PUBLISH", channel, message)
        return len(messages)

    def _append(self, messages: list[bytes]) -> int:
        """Append to every log that there is what is not in it."""
        with Pipe.to(self.redis.address) as pipe:
            logs = [key for key in pipe.command(b"KEYS", b"*") if pipe.command(b"TYPE", key) == b"list"]
            for key in logs:
                pipe.command(b"RPUSH", key, *messages)
        return len(logs) * len(messages)


@define(eq=False)
class Pipe:
    """A connection to Redis."""

    connection: socket.socket
    answers: BinaryIO

    @classmethod
    @contextmanager
    def to(cls, address: Address) -> Iterator[Pipe]:
        with socket.create_connection(address, 10) as connection:
            yield cls(connection, connection.makefile("rb"))

    def command(self, *words: bytes) -> Any:
        self.connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(one), one) for one in words))
        return _answer(self.answers)


def _answer(answers: BinaryIO) -> Any:
    """One answer of Redis (RESP2). :raises ValueError: the connection has ended."""
    line = answers.readline()
    kind, rest = line[:1], line[1:].strip()
    if kind == b"*":
        return [_answer(answers) for _ in range(int(rest))]
    if kind == b"$":
        return answers.read(int(rest) + 2)[:-2]
    if kind == b"-":
        raise AssertionError(f"Redis answers {line!r}")
    return int(rest) if kind == b":" else rest


def _array(answers: BinaryIO) -> list[Any]:
    answer = _answer(answers)
    if not isinstance(answer, list):
        raise ValueError("the connection has ended")
    return answer


def _forged(message: bytes) -> Iterator[bytes]:
    """What somebody would have nodes believe instead: unsigned, with the old signature, with one of another secret."""
    digest, _, payload = message.partition(b" ")
    try:
        fields = json.loads(payload)
    except ValueError:
        return
    for altered in _altered(fields):
        text = json.dumps(altered).replace('"ENDLESS"', "9" * 401).encode()
        wrong = hmac.digest(b"another secret", text, hashlib.sha256).hex().encode()
        yield from (text, digest + b" " + text, wrong + b" " + text)


def _altered(fields: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "stream" in fields and fields.get("kind") == "segment":
        segment, rendition = fields["segment"], fields["rendition"]
        yield {**fields, "kind": "ended", "last": segment["msn"]}
        yield {**fields, "epoch": fields["epoch"] + AHEAD, "kind": "began"}
        yield {**fields, "segment": {**segment, "msn": segment["msn"] + AHEAD}}
        yield {**fields, "segment": {**segment, "at": YEAR_10000_MS}}
        yield {**fields, "rendition": {**rendition, "rate": "ENDLESS"}}
    elif "sequence" in fields:
        yield {**fields, "state": "gone"}
        yield {**fields, "sequence": fields["sequence"] + AHEAD, "http": "http://127.0.0.1:1"}
        yield {**fields, "sent_at": "ENDLESS"}
