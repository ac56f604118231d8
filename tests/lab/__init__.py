"""
A laboratory for faults: a whole cluster of real processes, faults that are switched on and off, a verifier outside.

It stands beside the tests because it is made of their parts, and both they and ``benchmarks/faults.py`` use it.

proxy        a TCP proxy with faults: delay, rate, loss, silence, resets
nodes        the processes of a cluster, each behind proxies of its own
redis        the Redis of a cluster, and what can happen to it
publishers   encoders that reconnect, and move from one ingest to another
waits        the longest wait for something that is expected
history      what edges have listed: conflicts, regressions, lost segments
media_time   when a segment begins, from its bytes
verifier     polls every edge, fetches every segment, plays every push
flv          reads the media out of a push
laboratory   all of it together, for one run
scenarios    the faults by name
outcome      what one run has shown
"""
