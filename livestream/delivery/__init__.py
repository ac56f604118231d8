"""
Bytes to the viewer.

HTTP, from the socket to the thing that is asked for:

- ``http``: the site: who is let in, which paths and methods are looked at at all
- ``channel``: one connection: strict heads, one answer at a time, deadlines
- ``heads``: reading a request's head, with limits
- ``hot``: answers for what is ready in memory, from prepared bytes
- ``outflow``: one answer's way to a plain socket, without copies
- ``writing``: one answer's way through Twisted's transport
- ``watchdog``: deadlines of many connections with one timer
- ``tally``: counts that cost an addition
- ``hls``: the Klein application
- ``contents``, ``targets``: what a path names, and finding it
- ``conditions``: conditional requests, one range, encodings
- ``answers``: status, header and bytes of an answer
- ``playlists``, ``objects``: what names stand for
"""
