"""
Frames, made into what players download. Pure: no I/O, no clock.

- ``cuts``: where a broadcast is cut into segments
- ``track_activity``: which tracks a broadcast has at the moment
- ``segmenter``: a rendition's frames into initialisation and media segments at those cuts
- ``samples``: frames as the samples of a segment
- ``fmp4``: fragmented MP4, out of ``boxes``
- ``rates``: what a rendition really costs and shows
- ``window``: the segments of a stream that are listed or may still be fetched, with their ``numbering``
- ``playlist``: a window as HLS playlists
"""
