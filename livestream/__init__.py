"""
Live video delivery: ingest, origin and edge, as one Twisted daemon.

Pure (bytes and values in, bytes and values out; no I/O, clock or log):

- ``model``: names, frames, segments: the values that everything speaks of
- ``media``: what the bytes of audio and video mean
- ``rtmp``: RTMP sessions, both ends
- ``packaging``: frames, made into segments and playlists
- ``steering``: which node serves whom

Carrying bytes:

- ``net``: sockets, and RTMP over them
- ``http``: an HTTP server that knows nothing of streams
- ``ingest``, ``transcode``: publishers, their broadcasts, and the renditions made of them
- ``bus``, ``cluster``: what nodes announce, and who they are
- ``cache``: objects near the viewer
- ``hls``, ``push``, ``pages``, ``ops``: what viewers and operators are served

Wiring:

- ``config``, ``settings``: what can be set; ``metrics``: what is counted
- ``roles``: each role, from top to bottom: the place to begin to read
- ``lifecycle``: how a process drains and takes new settings
- ``tap``: the twistd plugin

ARCHITECTURE.md follows a frame, a segment and a request through them.
"""
