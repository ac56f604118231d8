"""
RTMP, both ends, without I/O: bytes in, events and bytes out.

- ``server``, ``client``: a session as either end has it, giving ``events``
- ``wire``: what the two ends share
- ``messages``: control messages and the numbers of message types
- ``chunks``: messages cut into chunks and put together again
- ``interleave``: one tick of a stream as the bytes that every viewer gets
- ``handshake``, ``amf0``: how a connection begins, and how values are written
- ``errors``: whose fault it is
"""
