-- admit: announces one attempt. Every check precedes the one write. Idempotent by attempt id: sent again it sets the same
-- hold with a new lease.
-- KEYS: 1 gen, 2 epoch of the workspace, 3 global epoch, 4 holds, 5 tombstone of the attempt.
-- ARGV: 1 attempt, 2 stub, 3 lease_ms, 4 again (1: it is in flight already; neither gen nor epochs are asked),
--       5 epoch of the workspace as the caller knows it, 6 global epoch likewise.
-- Reply: TIME in ms (held) | {"cold", ms} | {"swept", ms} | {"stale", ms, workspace epoch, global epoch}.
-- Stale: an epoch is missing or above the caller's. One below the caller's is not: the caller has read Postgres, and
-- Redis has not been told yet.
-- A hold that an announcement in doubt leaves behind a settled attempt is swept; the ledger keeps the final event.
local t = redis.call('TIME')
local now_ms = t[1] * 1000 + math.floor(t[2] / 1000)
local known = redis.call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[5])
if known[4] then
  return {'swept', now_ms}
end
if ARGV[4] == '0' then
  if not known[1] then
    return {'cold', now_ms}
  end
  if not known[2] or not known[3] or tonumber(known[2]) > tonumber(ARGV[5]) or tonumber(known[3]) > tonumber(ARGV[6]) then
    return {'stale', now_ms, known[2], known[3]}
  end
end
redis.call('HSET', KEYS[4], ARGV[1], string.format('%d|', now_ms + ARGV[3]) .. ARGV[2])
return now_ms
