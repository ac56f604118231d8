"""
An HTTP/1.1 server that knows nothing of streams: strict, bounded, and as fast as a prepared response allows.

- ``site``: a listening server: who is let in, which requests reach the application
- ``connection``: one connection: one response at a time, deadlines
- ``head_reader``, ``head``: its bytes taken apart into heads, and the strict reading of one
- ``limits``: what a peer may ask of the server
- ``conditions``: conditional requests, one range, encodings; ``preflight``: what scripts of other sites may send
- ``response``: status, header and bytes of a response; ``refusals``: the status of a refusal
- ``prepared``: responses that are ready as bytes, found by those of the request
- ``outflow``, ``twisted_writer``: a response's way to a plain socket, without copies, and through Twisted's transport
- ``timeouts``: the deadlines of many connections with one timer
- ``peer``, ``client_address``: whose connection it is, and whose request; ``signatures``: which node asks
- ``assets``: pages, and the files that they are made of
- ``counters``, ``access_log``: counts that cost an addition, and the access log
"""
