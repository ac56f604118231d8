"""
The values that every part of the system speaks of. Pure, and below everything else.

- ``names``: streams, renditions, nodes
- ``admission``: who asks to publish or to watch, and why it is refused
- ``epochs``: the numbers of epochs
- ``frames``: frames and their codecs
- ``segments``: segments, and the announcements of them
"""
