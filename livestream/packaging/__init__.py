"""
Frames into HLS segments and playlists. Pure: no I/O, no clock.

- ``cuts``: where a broadcast is cut into segments
- ``track_activity``: which tracks a broadcast has, and which of them are silent
- ``segmenter``: a rendition's frames into initialisation and media segments at those cuts
- ``samples``: queued frames, and the samples of a segment that they become, or what stands in for missing ones
- ``fmp4``: fragmented MP4, out of ``boxes``
- ``rates``: a rendition's measured bit rate and frame rate
- ``window``: a stream's segments that are listed or can still be fetched, with their ``numbering``; each rendition is
  a ``rendition_window``, and ``retention`` says for how long after they were listed
- ``playlist``: a window as HLS playlists
"""
