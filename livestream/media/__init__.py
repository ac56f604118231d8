"""
Audio and video formats. Pure: no I/O, no clock.

- ``flv``: tag bodies, legacy and Enhanced RTMP, to frames and back
- ``codecs``: decoder configuration records: codec strings, sizes, sample rates
- ``pictures``: a track's picture format, from each codec's own headers (``vui``: its shape, colour and rate), and the
  formats that are served
- ``parameter_sets``: picture formats that are announced within the stream; ``in_band``: configurations made of them
- ``sync``: which key frames a decoder can begin with
- ``silence``: frames of silence; ``adts``: AAC with headers, as raw AAC
- ``annexb``: NAL units with start codes or length prefixes
- ``bits``: reading a parameter set bit by bit
- ``timeline``: a publisher's timestamps as one timeline that never goes back; ``presentation_times``: where they are
  those of presentation
- ``gop``: the frames that a new viewer starts with
- ``source_reader``: a publisher's messages as frames on that timeline
- ``left_out``: what of a publisher's media is not served, and why
- ``errors``: what can be wrong with untrusted media
"""
