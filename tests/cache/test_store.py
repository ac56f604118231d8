from __future__ import annotations

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.cache.demand import KEPT_S
from livestream.cache.store import SWEPT, WATCHED_S, YOUNG_S, CachedObject, Key, Need, Store
from livestream.metrics import Metrics
from livestream.model.segments import ObjectInfo
from livestream.net.body import Body


@define(eq=False)
class Shelf:
    """A store of small objects, whose needs are set by the test."""

    limit_bytes: int = 100
    now: float = 1000.0
    needs: dict[str, Need] = field(factory=dict)
    metrics: Metrics = field(factory=Metrics)
    store: Store = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.store = Store(
            self.limit_bytes,
            lambda key: self.needs.get(key.name, Need.NONE) > Need.NONE,
            lambda key: self.needs[key.name] > Need.LINGERING,
            lambda: self.now,
            self.metrics,
        )

    def put(self, name: str, size: int = 10, need: Need = Need.LISTED, rendition: str = "source") -> None:
        self.needs[name] = need
        self.store.put(Key("show", rendition, name), ObjectInfo(name, size, ""), Body.whole(b"x" * size))

    def get(self, name: str, rendition: str = "source") -> CachedObject | None:
        return self.store.get(Key("show", rendition, name))

    def has(self, name: str, rendition: str = "source") -> bool:
        return Key("show", rendition, name) in self.store

    def metric(self) -> float | None:
        return self.metrics.registry.get_sample_value("livestream_cache_bytes")


def test_what_is_put_is_found_with_the_time_it_came() -> None:
    shelf = Shelf()
    shelf.put("a")
    found = shelf.get("a")
    assert found is not None
    assert (found.body.read(0, 99), found.outcome, found.stored_at) == (b"x" * 10, "hit", 1000.0)
    assert (shelf.get("b"), shelf.get("a", "480p")) == (None, None)


def test_the_least_needed_goes_first_and_the_live_window_that_is_watched_last() -> None:
    shelf = Shelf(limit_bytes=1000)
    objects = {
        "past": (Need.NONE, "source"),
        "lingering": (Need.LINGERING, "source"),
        "unwatched": (Need.LISTED, "480p"),
        "watched": (Need.LISTED, "source"),
    }
    for name in reversed(objects):
        shelf.put(name, 250, *objects[name])
    shelf.now += YOUNG_S
    shelf.store.demand.note("show", "source")
    left = []
    for number, size in enumerate((50, 250, 250)):
        shelf.put(f"new-{number}", size)
        left.append([name for name, (_, rendition) in objects.items() if shelf.has(name, rendition)])
    assert left == [["lingering", "unwatched", "watched"], ["unwatched", "watched"], ["watched"]]


def test_of_equals_the_one_that_was_longest_unused_goes() -> None:
    shelf = Shelf()
    for name in "abcd":
        shelf.put(name, 25)
    for name in "dbac":
        shelf.get(name)
    shelf.put("new", 25)
    assert [name for name in "abcd" if shelf.has(name)] == ["a", "c"]


def test_to_ask_whether_an_object_is_here_is_no_use_of_it() -> None:
    shelf = Shelf()
    for name in "abcd":
        shelf.put(name, 25)
    for name in "cd":
        shelf.get(name)
    for name in "ab":
        assert shelf.has(name)
    shelf.put("new", 25)
    assert [name for name in "abcd" if shelf.has(name)] == ["c", "d"]


def test_a_use_is_demand_and_a_question_is_not() -> None:
    shelf = Shelf()
    shelf.put("a")
    assert shelf.has("a")
    assert not shelf.store.demand.is_watched("show", "source", WATCHED_S)
    shelf.get("a")
    assert shelf.store.demand.is_watched("show", "source", WATCHED_S)


def test_what_has_just_come_is_safe_before_it_is_announced() -> None:
    shelf = Shelf()
    shelf.put("init", 10, Need.NONE)
    shelf.store.sweep()
    assert shelf.has("init")
    shelf.now += YOUNG_S
    shelf.store.sweep()
    assert not shelf.has("init")


def test_past_objects_are_let_go_however_many_there_are() -> None:
    shelf = Shelf(limit_bytes=1 << 30)
    for number in range(SWEPT * 2):
        shelf.put(f"{number}", 1, Need.LISTED if number % 2 else Need.NONE)
    shelf.now += YOUNG_S
    for _ in range(3):
        shelf.store.sweep()
    assert len(shelf.store) == SWEPT
    assert shelf.store.held_bytes == shelf.metric() == SWEPT


def test_a_rendition_is_watched_while_it_is_asked_for() -> None:
    shelf = Shelf()
    shelf.put("a")
    shelf.get("b")
    demand = shelf.store.demand
    assert not demand.is_watched("show", "source", WATCHED_S)
    shelf.get("a")
    shelf.now += 5
    assert demand.is_watched("show", "source", 5) and not demand.is_watched("show", "480p", 5)
    shelf.now += KEPT_S
    shelf.store.sweep()
    assert not demand.is_watched("show", "source", 1e9)


def test_an_object_that_is_put_again_is_counted_once() -> None:
    shelf = Shelf()
    shelf.put("a", 10)
    shelf.put("a", 20)
    assert (shelf.store.held_bytes, shelf.metric(), len(shelf.store)) == (20, 20, 1)


PUTS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 60), st.sampled_from(list(Need)[:3])), max_size=40)


@settings(deadline=None, max_examples=100)
@given(PUTS)
def test_the_bound_holds_and_the_count_is_right(puts: list[tuple[int, int, Need]]) -> None:
    shelf = Shelf()
    for name, size, need in puts:
        shelf.put(str(name), size, need)
        shelf.now += 11
        assert shelf.has(str(name))
        assert shelf.store.held_bytes <= shelf.limit_bytes
    found = [shelf.get(str(name)) for name in range(31)]
    assert shelf.store.held_bytes == sum(each.info.size for each in found if each)
