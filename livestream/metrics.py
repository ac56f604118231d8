"""The Prometheus metrics of the daemon, whose names dashboards rely on."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, field
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.registry import Collector

from livestream.media.left_out import Reason

LIMITS = (
    *("connections", "connections_per_address", "connects_per_address"),
    *("rtmp_connections", "rtmp_connections_per_address", "rtmp_connects_per_address"),
    *("refused_publishes_per_address", "proxy_protocol"),
    *("header_time", "header_bytes", "header_count", "target_bytes", "body", "held_bytes", "stall"),
    *("ops_connections", "ops_host", "ops_origin", "ops_token"),
    *("rtmp_protocol", "deadline", "refused", "relay", "commands", "message_rate", "publisher_rate", "message_bytes"),
    *("chunk_streams", "unfinished_bytes", "unasked_bytes", "unserved_bytes", "silent_player"),
    *("viewer_bytes", "feeds", "unknown_names", "waiting_players", "waiting_requests"),
    *("picture_size", "transcoder_deaths"),
)
"""
Every limit that peers can hit, by the name that it is counted as in ``livestream_limits_hit_total{limit}``.

What each is, and its default, is in the table of SECURITY.md.
"""
LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0)


@define(eq=False)
class LateCounts(Collector):
    """Collects nothing itself: registered first, it brings the other metrics up to date before they are collected."""

    refresh: list[Callable[[], None]] = field(factory=list)

    def collect(self) -> Iterable[Metric]:
        for refresh in self.refresh:
            refresh()
        return ()


@define(eq=False)
class Metrics:
    """Every metric of a process. No label names a viewer or a stream, since their number is unbounded."""

    registry: CollectorRegistry = field(factory=CollectorRegistry)
    _late: LateCounts = field(factory=LateCounts, init=False)

    http_requests: Counter = field(init=False)
    http_bytes: Counter = field(init=False)
    upstream_requests: Counter = field(init=False)
    viewers: Gauge = field(init=False)
    cache_bytes: Gauge = field(init=False)
    cache_evictions: Counter = field(init=False)
    broadcasts: Gauge = field(init=False)
    limits_hit: Counter = field(init=False)
    _limits: dict[str, Counter] = field(init=False)

    publishers: Counter = field(init=False)
    publish_ends: Counter = field(init=False)
    ingest_bytes: Counter = field(init=False)
    frames_dropped: Counter = field(init=False)
    left_out: Counter = field(init=False)
    segments: Counter = field(init=False)
    announce_delay: Histogram = field(init=False)
    discontinuities: Counter = field(init=False)

    transcoder_restarts: Counter = field(init=False)
    transcoder_shed: Counter = field(init=False)
    transcoder_lag: Gauge = field(init=False)

    bus_up: Gauge = field(init=False)
    bus_messages: Counter = field(init=False)
    nodes: Gauge = field(init=False)
    node_messages: Counter = field(init=False)

    push_bytes: Counter = field(init=False)
    push_skipped: Counter = field(init=False)
    push_closed: Counter = field(init=False)
    push_redirects: Counter = field(init=False)
    push_late: Counter = field(init=False)
    push_delay: Histogram = field(init=False)
    relays: Gauge = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.registry.register(self._late)
        self._http()
        self._ingest()
        self._push()

    def limit_hit(self, name: str) -> None:
        """Count a peer that has hit the limit ``name``, one of `LIMITS`."""
        self._limits[name].inc()

    def before_scrape(self, refresh: Callable[[], None]) -> None:
        """Have ``refresh`` called before the metrics are read, to add what is counted elsewhere."""
        self._late.refresh.append(refresh)

    def total(self, counter: Counter) -> float:
        """A counter's sum over all its labels, up to date."""
        self._late.collect()
        samples = (sample for metric in counter.collect() for sample in metric.samples)
        return sum(sample.value for sample in samples if sample.name.endswith("_total"))

    @staticmethod
    def values(gauge: Gauge) -> dict[str, float]:
        """The values of a gauge that has at most one label, by that label."""
        samples = (sample for metric in gauge.collect() for sample in metric.samples)
        return {"".join(sample.labels.values()): sample.value for sample in samples}

    def _http(self) -> None:
        self.http_requests = self._counter(
            "http_requests", "HTTP requests from viewers and downstream tiers.", "kind", "outcome"
        )
        self.http_bytes = self._counter("http_bytes", "Bytes of response bodies sent.", "kind")
        self.upstream_requests = self._counter(
            "upstream_requests", "HTTP requests to the upstream tier.", "kind", "outcome"
        )
        self.viewers = self._gauge("viewers", "Connected viewers.", "protocol")
        self.cache_bytes = self._gauge("cache_bytes", "Bytes of the objects in the cache, and of interrupted fetches.")
        self.cache_evictions = self._counter("cache_evictions", "Objects evicted from the cache.", "reason")
        self.limits_hit = self._counter("limits_hit", "Peers refused or disconnected at a limit.", "limit")
        self._limits = {name: self.limits_hit.labels(name) for name in LIMITS}
        self.bus_up = self._gauge("bus_up", "1 while this node is connected to the bus, 0 while it is cut off.")
        self.bus_messages = self._counter("bus_messages", "Announcements received from the bus.", "outcome")
        self.nodes = self._gauge("nodes", "Nodes of the cluster known to this node, including itself.", "role", "state")
        self.node_messages = self._counter("node_messages", "Heartbeats received from nodes.", "outcome")

    def _ingest(self) -> None:
        self.broadcasts = self._gauge("broadcasts", "Live broadcasts.")
        self.publishers = self._counter("publishers", "Attempts to publish.", "outcome")
        self.publish_ends = self._counter("publish_ends", "Publishing connections that ended.", "reason")
        self.ingest_bytes = self._counter("ingest_bytes", "Bytes of media received from publishers.")
        self.frames_dropped = self._counter("frames_dropped", "Frames of publishers that were dropped.", "reason")
        self.left_out = self._counter("left_out", "Findings of media that is not served as it comes.", "reason")
        for reason in Reason:
            self.left_out.labels(reason.value)
        self.segments = self._counter(
            "segments",
            "Segments produced: media, freeze (the last key frame, while the publisher is away) or gap.",
            "outcome",
        )
        self.discontinuities = self._counter("discontinuities", "Discontinuities in broadcasts' timelines.", "reason")
        self.announce_delay = self._histogram(
            "announce_delay_seconds", "Time from the arrival of a segment's last frame to its announcement."
        )
        self.transcoder_restarts = self._counter("transcoder_restarts", "Transcoder processes replaced.", "reason")
        self.transcoder_shed = self._counter("transcoder_shed", "Renditions dropped to keep up with the broadcast.")
        self.transcoder_lag = self._gauge("transcoder_lag_seconds", "Media queued for the slowest transcoder.")

    def _push(self) -> None:
        self.push_bytes = self._counter("push_bytes", "Bytes of media pushed to viewers.", "protocol")
        self.push_skipped = self._counter("push_skipped_gops", "GOPs that were skipped for slow viewers.")
        self.push_closed = self._counter("push_closed", "Viewers disconnected because they stopped reading.")
        self.push_redirects = self._counter("push_redirects", "RTMP players redirected to another node.", "when")
        self.push_late = self._counter("push_late_ticks", "Push ticks that began at least one tick late.")
        self.push_delay = self._histogram(
            "push_delay_seconds", "Time from a frame's arrival at the ingest to its delivery to the viewers' sockets."
        )
        self.relays = self._gauge("relays", "Streams relayed from the upstream tier.", "state")

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"livestream_{name}", help_text, labels, registry=self.registry)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(f"livestream_{name}", help_text, labels, registry=self.registry)

    def _histogram(self, name: str, help_text: str) -> Histogram:
        return Histogram(f"livestream_{name}", help_text, buckets=LATENCY_S, registry=self.registry)
