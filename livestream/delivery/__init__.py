"""
Bytes to the viewer.

HTTP, from the socket to the thing that is asked for:

- ``http``: the site: who is let in, which paths and methods are looked at at all
- ``channel``: one connection: strict heads, one answer at a time, deadlines
- ``peer``: whose connection it is, and whose request
- ``heads``, ``limits``: reading a request's head, and what a viewer may ask
- ``hot``: answers for what is ready in memory, from prepared bytes
- ``outflow``: one answer's way to a plain socket, without copies
- ``writing``: one answer's way through Twisted's transport
- ``watchdog``: deadlines of many connections with one timer
- ``tally``, ``access``: counts that cost an addition, and the access log
- ``hls``: the Klein application
- ``targets``: what a path names
- ``service``: the answer to whoever asks, now or when it can be had
- ``conditions``: conditional requests, one range, encodings
- ``answers``: status, header and bytes of an answer
- ``playlists``, ``objects``: what names stand for
- ``steer``, ``proxies``: which edge a viewer is to use, and whose request it is; ``signatures``: which node asks
- ``watch``, ``ops``: pages for people, and answers for those who run a node; ``assets``: what pages are made of
- ``ops_admission``: who may ask for the latter

The push, from frames to the sockets of those who watch them as they come:

- ``feeds``, ``feed``: every rendition that is pushed; one of them: its newest group of pictures, and its viewers
- ``fanout``: the ticks of the viewers who speak one protocol, and the loops over their sockets
- ``batch``, ``framing``: what one tick has for them, and its bytes in RTMP, FLV or WebSocket messages
- ``viewer``, ``backlog``: one connection, and what a slow one has yet to be given
- ``visit``: one viewer's stay, whatever it speaks; ``waiting``: those who wait for a broadcast to begin
- ``rtmp``, ``flv``: letting viewers in; ``relay_admission``: who may play as a relay of the tier below
- ``relay``, ``splice``: frames from the tier above, on one time line whichever upstream they come from
"""
