"""
What the bytes of audio and video mean. Pure: no I/O, no clock.

- ``flv``: tag bodies, legacy and Enhanced RTMP, to frames and back
- ``codecs``: configuration records: names, sizes, rates
- ``pictures``: the format of a track's pictures, out of each codec's own headers, and what of it is served
- ``parameter_sets``: the same of what is announced among the pictures
- ``annexb``: NAL units behind start codes or lengths
- ``bits``: reading a parameter set bit by bit
- ``timeline``: a publisher's timestamps as one time line that only rises
- ``gop``: what a new viewer is given first
- ``errors``: what can be wrong with a stranger's media
"""
