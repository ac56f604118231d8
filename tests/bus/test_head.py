"""Who writes a stream: the scripts in Redis, and the same in Python, say the same whatever they are asked."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import attrs
import pytest_twisted

from livestream.bus.head import Head
from livestream.bus.redis import RedisBus
from livestream.model.segments import Announcement, Epoch, EpochBegan, StreamPosition, Superseded
from tests.bus.buses import EPOCH, announcement, redis, until
from tests.bus.conftest import Server
from tests.packaging.windows import ended

Answer = tuple[Any, ...]


def some(random: Random, epochs: list[int]) -> Announcement:
    """An announcement of one of these epochs, plausible or not."""
    number, first, msn = random.choice(epochs), random.randrange(95, 105), random.randrange(90, 112)
    kind = random.randrange(5)
    if kind == 0:
        return EpochBegan("show", Epoch(number, first), "a")
    if kind == 1:
        return attrs.evolve(ended(msn), epoch=Epoch(number, first))
    return announcement(msn, number, first)


async def asked_of(bus: RedisBus, told: Announcement) -> Answer:
    try:
        await bus.accept(told)
    except Superseded as error:
        return ("superseded", error.epoch)
    return ("accepted",)


def asked_of_head(head: Head, node: str, told: Announcement) -> Answer:
    try:
        head.accept(node, told)
    except Superseded as error:
        return ("superseded", error.epoch)
    return ("accepted",)


@pytest_twisted.ensureDeferred
async def test_the_scripts_and_the_head_give_the_same_answers(server: Server, buses: Callable[..., RedisBus]) -> None:
    server.start()
    nodes = {name: buses(name) for name in ("a", "b")}
    await until(lambda: all(bus.is_healthy for bus in nodes.values()))
    for seed in range(40):
        random, head, epochs = Random(seed), Head(), [EPOCH]
        await redis(nodes["a"], "FLUSHALL")
        for _ in range(15):
            name = random.choice(list(nodes))
            if random.random() < 0.25:
                wanted = EPOCH + random.randrange(0, 9000)
                before, owner = head.position, head.owner
                taken = await nodes[name].claim("show", wanted)
                assert (taken.epoch, taken.position, taken.owner) == (head.claim(name, wanted), before, owner), seed
                epochs.append(taken.epoch)
            else:
                told = some(random, epochs)
                assert await asked_of(nodes[name], told) == asked_of_head(head, name, told), (seed, told)
    assert head.position != StreamPosition()
