"""
The faults by name. Each takes a running laboratory, makes the fault, and returns when it is over.

``A+B`` is one after the other in the same run, such as ``move+drain-origin``.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from tests.lab.forger import Forger
from tests.lab.laboratory import Laboratory, Plan
from tests.lab.nodes import ROLES, LabNode
from tests.lab.outcome import Outcome
from tests.lab.proxy import Link, LinkFault, Silence
from tests.lab.publishers import Encoder
from tests.lab.redis import LabRedis

RECONNECTIONS = 30
APART_S = 3.0
"""Between faults of one run: what one does is seen by then."""
PUSH_LINKS = 2
"""From an ingest to an origin, and from there to an edge."""
BROKEN_BYTES = 100_000
"""Some more than a segment of a second has."""
SINGLE_BYTES = 200
SLOW_BYTES_PER_S = 200_000

Scenario = Callable[[Laboratory], None]


def run(name: str, plan: Plan) -> Outcome:
    """Run one scenario, or several that are joined by ``+``, in a laboratory of its own."""
    steps = [SCENARIOS[one] for one in name.split("+")]
    laboratory = Laboratory(plan)
    with laboratory.running():
        laboratory.pause(0, plan.segment_s)  # or the fault would always come right after a segment
        for step in steps:
            step(laboratory)
        return laboratory.settle()


# Nodes


def kill(laboratory: Laboratory, role: str) -> None:
    """A node of this role is killed, and started again after two seconds."""
    laboratory.kill_and_restart(laboratory.any_of(role))


def stop(laboratory: Laboratory, role: str) -> None:
    """A node of this role is frozen (SIGSTOP) for 10 s."""
    laboratory.stop_and_continue(laboratory.any_of(role), laboratory.lasts(10))


def drain(laboratory: Laboratory, role: str) -> None:
    """A node of this role is told to go (SIGTERM), and started again."""
    laboratory.drain_and_restart(laboratory.any_of(role))


def renewed(laboratory: Laboratory) -> None:
    """Every origin and then an edge is restarted in good order, so that they learn anew what the others know."""
    for node in (*laboratory.of_role("origin"), laboratory.any_of("edge")):
        laboratory.drain_and_restart(node)
        laboratory.pause(APART_S, 2 * APART_S)


def rolling(laboratory: Laboratory) -> None:
    """Every node is restarted in good order (edges, origins, ingests), amid publishers who move."""
    for role in reversed(ROLES):
        for node in laboratory.of_role(role):
            laboratory.drain_and_restart(node, partial(_move_any, laboratory))
            _move_any(laboratory)
            laboratory.pause(APART_S, 2 * APART_S)


def _move_any(laboratory: Laboratory) -> None:
    laboratory.pause(0, 2)
    laboratory.move(laboratory.any_encoder())


# Redis


def redis_killed(laboratory: Laboratory) -> None:
    """Redis is killed, and comes back empty after 30 s."""
    laboratory.redis.stop()
    time.sleep(laboratory.lasts(30))
    laboratory.redis.start()


def redis_flushed(laboratory: Laboratory) -> None:
    """Redis forgets everything (FLUSHALL)."""
    laboratory.redis.command("FLUSHALL")
    time.sleep(APART_S)


def redis_frozen(laboratory: Laboratory) -> None:
    """Redis is frozen (SIGSTOP) for 20 s."""
    laboratory.redis.kill(signal.SIGSTOP)
    time.sleep(laboratory.lasts(20))
    laboratory.redis.kill(signal.SIGCONT)


def redis_replica(laboratory: Laboratory) -> None:
    """Redis becomes a replica of an empty one, and refuses to write for 15 s."""
    with (
        LabRedis.of(laboratory.plan.folder, laboratory.redis.address[0], "other-redis").running() as other,
        laboratory.redis.replicating(other),
    ):
        time.sleep(laboratory.lasts(15))


def redis_busy(laboratory: Laboratory) -> None:
    """Redis is busy with a script for 0.6 s, five times."""
    for _ in range(5):
        laboratory.redis.be_busy(laboratory.lasts(0.6))
        laboratory.pause(0, APART_S)


def redis_noscript(laboratory: Laboratory) -> None:
    """Redis forgets its scripts, five times."""
    for _ in range(5):
        laboratory.redis.command("SCRIPT", "FLUSH")
        laboratory.pause(0, APART_S)


def redis_away_move(laboratory: Laboratory) -> None:
    """Redis is frozen for 20 s, in which a publisher moves to the other ingest and back."""
    encoder = laboratory.any_encoder()
    laboratory.redis.kill(signal.SIGSTOP)
    try:
        for _ in range(2):
            time.sleep(laboratory.lasts(20) / 3)
            laboratory.move(encoder)
        time.sleep(laboratory.lasts(20) / 3)
    finally:
        laboratory.redis.kill(signal.SIGCONT)


def forged(laboratory: Laboratory) -> None:
    """Somebody without the secret forges announcements and heartbeats, and repeats old ones to nodes that begin."""
    with Forger(laboratory.redis).listening() as forger:
        time.sleep(2 * APART_S)
        for role in ("edge", "origin"):
            laboratory.remark(f"{forger.forge(laboratory.dice)} messages forged")
            laboratory.drain_and_restart(laboratory.any_of(role))
            laboratory.remark(f"{forger.repeat(laboratory.dice)} messages repeated")
            time.sleep(APART_S)


def cut_off(laboratory: Laboratory, role: str) -> None:
    """A node of this role alone does not reach Redis for 75 s: its connections are silent, or refused."""
    fault = laboratory.dice.choice((LinkFault(silence=Silence.HELD), LinkFault(refuses=True)))
    with laboratory.fault(fault, laboratory.any_of(role).links["redis"]):
        time.sleep(laboratory.lasts(75))


# Links


def links(laboratory: Laboratory, fault: LinkFault, seconds: float) -> None:
    """Each link of an ingest and of an origin has the fault in turn."""
    for role in ("ingest", "origin"):
        for link in laboratory.any_of(role).links.values():
            with laboratory.fault(fault, link):
                time.sleep(laboratory.lasts(seconds))
            time.sleep(APART_S)


def wan(laboratory: Laboratory) -> None:
    """Links with 100 ms of round trip, on which one connection in a hundred is lost each second, for three minutes."""
    everything: list[Link] = [link for node in laboratory.nodes.values() for link in node.links.values()]
    fault, began_s = LinkFault(delay_s=0.05, loss=0.01), time.monotonic()
    with laboratory.fault(fault, *everything):
        time.sleep(laboratory.lasts(180))
        late_s = laboratory.verifier.push_lags(began_s)
    if not late_s:
        laboratory.remark("no connection of a push lasted, so that nothing says how much later it was")
        return
    p50, p95, p99 = (1000 * late_s[int((len(late_s) - 1) * part)] for part in (0.5, 0.95, 0.99))
    own = 1000 * PUSH_LINKS * fault.delay_s
    laboratory.remark(f"pushed {p50:.0f} ms later (p50), {p95:.0f} (p95), {p99:.0f} (p99); the links' own is {own:.0f}")


# Publishers


def move(laboratory: Laboratory) -> None:
    """A publisher moves to the other ingest six times, with no pause between."""
    encoder = laboratory.any_encoder()
    for _ in range(laboratory.plan.moves):
        laboratory.move(encoder)
        laboratory.pause(APART_S, 2 * APART_S)


def move_with_pause(laboratory: Laboratory) -> None:
    """A publisher moves to the other ingest six times, and is away for up to 4 s each time."""
    encoder = laboratory.any_encoder()
    for _ in range(laboratory.plan.moves):
        laboratory.move(encoder, laboratory.dice.uniform(0.1, 4))
        laboratory.pause(APART_S, 2 * APART_S)


def return_to_same(laboratory: Laboratory) -> None:
    """A publisher comes back to the same ingest six times, whose announcements take 300 ms to Redis."""
    encoder = laboratory.any_encoder()
    ingest = laboratory.nodes[encoder.place]
    with laboratory.fault(LinkFault(delay_s=0.3), ingest.links["redis"]):
        for _ in range(laboratory.plan.moves):
            laboratory.go_on(encoder, ingest.id, laboratory.dice.choice((0.0, 0.2, 1.0)))
            laboratory.pause(APART_S, 2 * APART_S)


def storm(laboratory: Laboratory) -> None:
    """A publisher connects 30 times, to any ingest, and stays for a second or less each time."""
    encoder = laboratory.any_encoder()
    for _ in range(RECONNECTIONS):
        laboratory.go_on(encoder, laboratory.dice.choice(list(encoder.urls)))
        laboratory.pause(0.2, 1.2)


def zombie(laboratory: Laboratory) -> None:
    """An ingest is frozen, its publishers go on at the other, and it wakes up again."""
    ingest = laboratory.any_of("ingest")
    with _frozen(laboratory, ingest):
        time.sleep(1)
        for encoder in laboratory.encoders.values():
            if encoder.place == ingest.id:
                laboratory.move(encoder)
        time.sleep(laboratory.lasts(8))
    time.sleep(APART_S)


@contextmanager
def _frozen(laboratory: Laboratory, node: LabNode) -> Iterator[None]:
    laboratory.remark(f"{node.id} frozen")
    node.signal(signal.SIGSTOP)
    yield
    node.signal(signal.SIGCONT)


def duel(laboratory: Laboratory) -> None:
    """A second encoder with the same key publishes the same stream for 20 s, and both connect again when cut off."""
    first = laboratory.any_encoder()
    second: Encoder = laboratory.encoder(f"{first.name}-rival", first.name)
    second.publish(laboratory.dice.choice(first.other_places()))
    time.sleep(laboratory.lasts(20))
    second.stop()


def _each_role(name: str, scenario: Callable[..., None]) -> dict[str, Scenario]:
    return {f"{name}-{role}": partial(scenario, role=role) for role in ROLES}


def _links(seconds: float, **fault: object) -> Scenario:
    return partial(links, fault=LinkFault(**fault), seconds=seconds)  # type: ignore[arg-type]


SCENARIOS: dict[str, Scenario] = {
    **_each_role("kill", kill),
    **_each_role("stop", stop),
    **_each_role("drain", drain),
    "redis-killed": redis_killed,
    "redis-flushed": redis_flushed,
    "redis-frozen": redis_frozen,
    "redis-replica": redis_replica,
    "redis-busy": redis_busy,
    "redis-noscript": redis_noscript,
    "redis-away-move": redis_away_move,
    "forged": forged,
    **_each_role("cut-off", cut_off),
    "links-delayed": _links(8, delay_s=0.5),
    "links-slow": _links(8, bytes_per_s=SLOW_BYTES_PER_S),
    "links-lossy": _links(8, loss=0.3),
    "links-silent": _links(7, silence=Silence.HELD),
    "links-forgotten": _links(4, silence=Silence.SWALLOWED),
    "links-reset": _links(6, reset_within=BROKEN_BYTES),
    "links-half-closed": _links(6, half_close_within=BROKEN_BYTES),
    "links-single-bytes": _links(6, single_bytes=SINGLE_BYTES),
    "links-refused": _links(6, refuses=True),
    "wan": wan,
    "move": move,
    "move-with-pause": move_with_pause,
    "return": return_to_same,
    "storm": storm,
    "zombie": zombie,
    "duel": duel,
    "renewed": renewed,
    "rolling": rolling,
}


def description(name: str) -> str:
    """What a scenario does, in a line."""
    scenario = SCENARIOS[name]
    function = scenario.func if isinstance(scenario, partial) else scenario
    settings = scenario.keywords if isinstance(scenario, partial) else {}
    text = str(function.__doc__).strip()
    return (
        text.replace("the fault in turn", f"{settings['fault']} for {settings['seconds']:g} s")
        if "fault" in settings
        else text
    )
