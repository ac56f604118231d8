"""
Sockets and what moves over them, the same for every part.

- ``listeners``: listening where a setting says
- ``rtmp``: RTMP servers and clients
- ``connection_pool``: the connections of a port, and which makes room for a newcomer
- ``address_limits``, ``address_limiter``: how much one address asks for; which connection is one too many
- ``proxy_protocol``: what a proxy says of whose connection it is
- ``body``: the bytes of an object, whole or arriving
- ``tcp``: the options of a socket
- ``direct_socket``: plain connections past Twisted's transport and reactor; the one module that knows their parts
- ``periodic``: what is done every so often
- ``waiting``: who waits for what is announced of a stream
- ``token_bucket``: a rate that is kept on average
- ``log_summary``: a line of the log for what strangers can cause as often as they like
- ``sd_notify``: what systemd is told
"""
