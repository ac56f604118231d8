"""
Publishers and their broadcasts.

- ``publish_admission``: who may publish, and replace whom, by the ``keys``; ``takeovers`` counts replacements
- ``rtmp``: publishers over RTMP
- ``broadcasts``: every broadcast of this ingest, and what is kept of those that have ended
- ``broadcast``: one live run of a stream, from its publisher to its segments and frames
- ``services``: what a broadcast needs from its surroundings
- ``renditions``: what becomes of its frames: each ``rendition``, and each ``push_feed``
- ``claims``: how an ingest becomes the writer of a stream
- ``writer``: numbers a broadcast's segments (``segment_numbering``) and announces them (``pending_announcements``)
"""
