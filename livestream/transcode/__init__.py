"""
The ladder: renditions below the source's height, made by a child process per broadcast.

- ``ladder``: which rungs a source has
- ``pool``: the parent's side; replaces children that fail, and drops rungs, so that the broadcast stays live
- ``replay``: the frames that a replacement child is given again
- ``commands``: the records on the pipes
- ``worker``: the child
- ``sandbox``: the child's environment, limits and system calls (``seccomp``); ``memory``: how much memory it needs
- ``decoding``: decoders that refuse oversized pictures
- ``coding``: decoding, scaling and encoding, in the child
- ``deinterlacing``; ``scaling``, which also converts range, depth and colour; ``tone_mapping``, by the table of ``hdr``
- ``avc_record``: the configuration record of an encoder
- ``demo``: publishes a test card, to try things out; ``test_card`` draws it
"""
