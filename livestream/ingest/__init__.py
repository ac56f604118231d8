"""
Publishers come in.

- ``publish_admission``: the door, and who may pass it with which of the ``keys``
- ``elsewhere``: which streams other ingests have
- ``broadcasts``: every broadcast of this ingest, and what is remembered of those that are over
- ``broadcast``: one live run of a stream, from its publisher to its segments and frames
- ``rendition``: one of its renditions
- ``take``: how an ingest becomes the writer of a stream
- ``writer``: who has a broadcast's segments numbered (``numbers``) and announced (``offers``)
- ``takeovers``: how often a publisher was replaced
"""
