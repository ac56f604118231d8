"""Which nodes of the tier above serve a stream: the cluster as it is now, and those that the configuration names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define

from livestream.settings import Upstream
from livestream.steering.nodes import Node, NodeState
from livestream.steering.rendezvous import ranked


def nobody(_stream: str) -> str:
    """The id of the node that has a stream, where that is not known."""
    return ""


@define(eq=False)
class Choice:
    """
    The nodes of ``role``, in the order in which they are asked for a stream.

    ``nodes`` has all that live, and those that are cut off from the bus. They come in an order that is the same on
    every node and another for every stream, those that are cut off after the others. But the node that ``holder`` names
    comes first while it answers, heard or not, for it announced the stream. Those that are still starting come last,
    for all nodes may be, after an outage. ``fixed`` are asked after them, in their own order, and are all that there is
    where no cluster is known.
    """

    role: str
    fixed: Sequence[Upstream]
    nodes: Callable[[], Sequence[Node]]
    holder: Callable[[str], str] = nobody

    def urls(self, stream: str) -> list[str]:
        """Where they answer HTTP."""
        return _each_once([node.http for node in self._of(stream)] + [each.http for each in self.fixed])

    def every_url(self) -> list[str]:
        """Where all of them answer HTTP, whatever the stream and their state."""
        return _each_once([node.http for node in self._above()] + [each.http for each in self.fixed])

    def rtmp_urls(self, stream: str) -> list[str]:
        """
        Where those that play RTMP do, without those that do not answer, unless none does.

        Each of them would cost a relay seconds whenever it looks for its stream; that one answers again is found out by
        the requests over HTTP.
        """
        nodes = self._of(stream)
        answering = [node for node in nodes if node.is_answering]
        return _each_once([node.rtmp for node in answering or nodes] + [each.rtmp for each in self.fixed])

    def addresses(self) -> dict[str, str]:
        """Where each of them that has both answers HTTP, and where it plays RTMP."""
        nodes = [(node.http, node.rtmp) for node in self._above()] + [(each.http, each.rtmp) for each in self.fixed]
        return {http: rtmp for http, rtmp in nodes if http and rtmp}

    @property
    def has_cut_off_nodes(self) -> bool:
        """Whether some of them are cut off from the bus: what those announce is not heard."""
        return any(node.state is NodeState.CUT_OFF for node in self._above())

    def _of(self, stream: str) -> list[Node]:
        holder, above = self.holder(stream), self._above()
        starting = [node for node in above if node.state is NodeState.STARTING]
        return sorted([*ranked(stream, above), *starting], key=lambda node: node.id != holder or not node.is_answering)

    def _above(self) -> list[Node]:
        return [node for node in self.nodes() if node.role == self.role]


def _each_once(urls: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(url for url in urls if url))
