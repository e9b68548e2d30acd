-- renew: new lease ends for attempts that are still in flight. Rewrites what is there and creates nothing: an attempt that
-- is missing was swept or lost, and its gateway announces it again.
-- KEYS: 1 gen, 2 global epoch, 3 holds, then the epochs of the attempts' workspaces. ARGV: 1 lease_ms, then attempts.
-- Reply: {ms, gen, global epoch, {indexes from 0 of missing attempts}, {epoch per workspace key}}.
local t = redis.call('TIME')
local now_ms = t[1] * 1000 + math.floor(t[2] / 1000)
local lease = string.format('%d', now_ms + ARGV[1])
local missing = {}
for i = 2, #ARGV do
  local value = redis.call('HGET', KEYS[3], ARGV[i])
  local bar = value and string.find(value, '|', 1, true)
  if bar then
    redis.call('HSET', KEYS[3], ARGV[i], lease .. string.sub(value, bar))
  else
    missing[#missing + 1] = i - 2
  end
end
local epochs = {}
for i = 4, #KEYS do
  epochs[#epochs + 1] = redis.call('GET', KEYS[i])
end
return {now_ms, redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]), missing, epochs}
