"""
Atomic operations in Redis, as Lua scripts. Each checks everything before it writes, since an error rolls back nothing.

They begin with ``#!lua``, which Redis 7 and Valkey know: a replica, or a server that is out of memory, then refuses the
whole script instead of stopping halfway. A stream's keys are

- its head (a hash): ``epoch`` and ``owner`` of the newest claim, the ``first`` number of that epoch once it is known,
  and how far the stream has come: ``msn``, ``disc``, ``ends`` (Unix milliseconds), ``target``, ``ended``, and ``at``,
  the time of the last change by Redis's own clock, unless the owner has released the stream since;
- a log (a list) of the newest announcements for each node that announces it, and the set of those nodes.
"""

from __future__ import annotations

import hashlib

from attrs import field, frozen


@frozen
class Script:
    """A script, and the SHA-1 by which Redis knows it once it is loaded."""

    text: str
    sha: str = field(init=False)

    @sha.default
    def _digest(self) -> str:
        return hashlib.sha1(self.text.encode("ascii"), usedforsecurity=False).hexdigest()


CLAIM = Script(
    """#!lua
-- KEYS head; ARGV node, epoch that is wanted, writers in the last digits of an epoch, seconds to keep
local head = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'msn', 'disc', 'ends', 'target', 'ended', 'at')
local known, epoch, writers = tonumber(head[1] or '0'), tonumber(ARGV[2]), tonumber(ARGV[3])
if epoch <= known then
  epoch = (math.floor(known / writers) + 1) * writers + epoch % writers
end
local number = string.format('%.0f', epoch)
redis.call('HSET', KEYS[1], 'epoch', number, 'owner', ARGV[1])
redis.call('HDEL', KEYS[1], 'first')
redis.call('EXPIRE', KEYS[1], ARGV[4])
return {number, head[1] or '0', head[2] or '', head[3] or '0', head[4] or '0', head[5] or '0', head[6] or '0',
  head[7] or '0', tostring(redis.call('TIME')[1] - (head[8] or redis.call('TIME')[1]))}
"""
)

_APPEND = """
-- The first announcement of a log, and each sixteenth, says how long it is kept: far more often than that
local function append(log, logs, streams, node, stream, channel, message, most, keep, now)
  local length = redis.call('RPUSH', log, message)
  if length > most + 16 then redis.call('LTRIM', log, -most, -1) end
  if length == 1 or length % 16 == 0 then
    redis.call('EXPIRE', log, keep)
    redis.call('SADD', logs, node)
    redis.call('EXPIRE', logs, keep)
  end
  redis.call('ZADD', streams, now, stream)
  redis.call('PUBLISH', channel, message)
  return length
end
"""

ACCEPT = Script(
    "#!lua"
    + _APPEND
    + """
-- KEYS log, logs, streams, head; ARGV node, stream, channel, message, most, keep, then of what is announced
-- epoch, first, msn, disc, ends, target, ended
local head = redis.call('HMGET', KEYS[4], 'epoch', 'first', 'msn', 'disc', 'ends', 'target', 'owner')
local known, epoch, msn = tonumber(head[1] or '0'), tonumber(ARGV[7]), tonumber(ARGV[9])
local now = redis.call('TIME')[1]
if known > epoch then
  local last = head[2] and tonumber(head[2]) - 1 or tonumber(head[3] or '0')
  if ARGV[13] == '1' or msn > last then return {0, head[1]} end
else
  local function most(old, new) return tonumber(old or '0') > tonumber(new) and old or new end
  local owner = known < epoch and ARGV[1] or head[7] or ''
  local target = ARGV[12] ~= '0' and ARGV[12] or head[6] or '0'
  redis.call('HSET', KEYS[4], 'epoch', ARGV[7], 'owner', owner, 'first', ARGV[8], 'msn', most(head[3], ARGV[9]),
    'disc', most(head[4], ARGV[10]), 'ends', most(head[5], ARGV[11]), 'target', target, 'ended', ARGV[13], 'at', now)
  redis.call('EXPIRE', KEYS[4], ARGV[6])
end
return {1, append(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6], now)}
"""
)
"""Returns 1 and the length of the log, or 0 and the younger epoch."""

RELEASE = Script(
    """#!lua
-- KEYS head; ARGV epoch
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then redis.call('HDEL', KEYS[1], 'at') end
return 1
"""
)

PUBLISH = Script(
    "#!lua"
    + _APPEND
    + """
-- KEYS log, logs, streams; ARGV node, stream, channel, message, most, keep
local now = redis.call('TIME')[1]
return append(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6], now)
"""
)

RESTORE = Script(
    """#!lua
-- KEYS log, logs, streams; ARGV node, stream, keep, then all that is to be in the log
redis.call('DEL', KEYS[1])
for i = 4, #ARGV do redis.call('RPUSH', KEYS[1], ARGV[i]) end
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('ZADD', KEYS[3], redis.call('TIME')[1], ARGV[2])
return #ARGV - 3
"""
)

FETCH = Script(
    """#!lua
-- KEYS logs; ARGV what the names of the logs begin with. The lines of all logs, in one text
local lines = {}
for _, node in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  for _, line in ipairs(redis.call('LRANGE', ARGV[1] .. node, 0, -1)) do lines[#lines + 1] = line end
end
return table.concat(lines, '\\n')
"""
)

LIVE = Script(
    """#!lua
-- KEYS streams; ARGV seconds. The streams of which something was announced within that time
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. (redis.call('TIME')[1] - ARGV[1]))
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""
)

ALL = (CLAIM, ACCEPT, RELEASE, PUBLISH, RESTORE, FETCH, LIVE)
