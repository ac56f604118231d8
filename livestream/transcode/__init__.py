"""
The ladder: renditions below the source's height, made by a child process for each broadcast.

- ``ladder``: which rungs there are below a source.
- ``pool``: the parent's end; children are replaced, and rungs given up, so that the broadcast stays live.
- ``replay``: what a child's successor is given again.
- ``commands``: what is said over the pipes.
- ``worker``: the child.
- ``sandbox``: what the child has of the machine; ``seccomp``: the system calls; ``memory``: how much it needs.
- ``decoding``: decoders, which are given no picture that is too large.
- ``coding``: decoding, scaling and encoding, in the child.
- ``avc_record``: the configuration record of an encoder.
- ``demo``: publishes a test card, for trying things out; ``test_card`` draws it.
"""
