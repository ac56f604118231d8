"""
RTMP, both ends, without I/O: bytes in, events and bytes out.

- ``server``, ``client``: the sessions of either end, which give ``events``
- ``states``: the states of both, and what each allows
- ``wire``: what the two ends share
- ``messages``, ``message_types``: control messages, and the type ids of all messages
- ``chunks``: messages cut into chunks and put together again
- ``interleave``: one tick of a stream as the bytes that every viewer gets
- ``handshake``, ``amf0``: how a connection begins, and how values are written
- ``errors``: whose fault it is
"""
