"""Whatever has a name under ``/live/``, playlist or object."""

from __future__ import annotations

from attrs import define

from livestream.delivery.answers import Content
from livestream.delivery.objects import Objects
from livestream.delivery.playlists import Playlists
from livestream.delivery.targets import Kind, Target


@define(eq=False)
class Contents:
    """Where contents are: playlists are rendered here, objects come from the library."""

    playlists: Playlists
    objects: Objects

    def ready(self, target: Target, gzip: bool) -> Content | None:
        """What can be sent this instant."""
        if target.kind in (Kind.MULTIVARIANT, Kind.PLAYLIST):
            return self.playlists.ready(target, gzip)
        return self.objects.ready(target)

    async def find(self, target: Target, gzip: bool) -> Content:
        """
        What can be had, waited for if need be.

        :raises LookupError: there is no such thing.
        """
        content = self.ready(target, gzip)
        if content is None and target.name:
            content = await self.objects.find(target)
        if content is None:
            raise LookupError(target)
        return content
