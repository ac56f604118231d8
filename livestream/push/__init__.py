"""
The push: frames to the sockets of viewers, every tick, over RTMP, HTTP-FLV and WebSocket-FLV.

- ``feeds``, ``feed``: every rendition that is pushed; one of them: its newest group of pictures, and its viewers
- ``fanout``: the ticks of the viewers who speak one protocol, and the loops over their sockets
- ``tick_batch``, ``framing``: what one tick has for them, and its bytes in RTMP, FLV or WebSocket messages
- ``viewer``, ``backlog``: one connection, and what a slow one has yet to be sent
- ``viewer_admission``: who may watch what; ``waiting``: viewers who wait for a broadcast to begin
- ``session``: one viewer's playback, whatever it speaks
- ``rtmp``, ``flv``: viewers by protocol; ``relay_admission``: who may play as a downstream relay
- ``relay``, ``timeline_splice``: frames from upstream, on one time line, whichever node they are from
"""
