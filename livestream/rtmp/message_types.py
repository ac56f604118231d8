"""The type ids of RTMP's messages (specification 1.0, 5.4 and 7.1); those with media have the ids of FLV tags."""

from __future__ import annotations

from livestream.media import flv

SET_CHUNK_SIZE, ABORT, ACKNOWLEDGEMENT, USER_CONTROL, WINDOW_ACK_SIZE, SET_PEER_BANDWIDTH = 1, 2, 3, 4, 5, 6
AUDIO, VIDEO, DATA = flv.AUDIO, flv.VIDEO, flv.DATA
DATA_AMF3, COMMAND_AMF3 = 15, 17
COMMAND, AGGREGATE = 20, 22

MEDIA = (AUDIO, VIDEO)
CONTROL = (SET_CHUNK_SIZE, ABORT, ACKNOWLEDGEMENT, USER_CONTROL, WINDOW_ACK_SIZE, SET_PEER_BANDWIDTH)
COMMANDS = (COMMAND_AMF3, COMMAND)
PUBLISHED = (AUDIO, VIDEO, AGGREGATE, DATA_AMF3, DATA)
"""What only a publisher sends."""
