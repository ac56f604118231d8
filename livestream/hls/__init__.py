"""
HLS: playlists and objects by name, from the cache and the window of each stream.

- ``routes``: the Klein application of a node
- ``paths``: what a path names
- ``lookup``: the response to a request, now or when it can be had
- ``beginnings``: requests for playlists that will be there in a moment
- ``fast_path``: responses for what is ready in memory, from prepared bytes
- ``playlists``, ``objects``: what names stand for
- ``steering``: which edge a viewer is to use
"""
