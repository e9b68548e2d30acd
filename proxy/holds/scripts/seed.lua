-- seed: makes a shard usable after it was found without gen, or checks one that is in use. Epochs are raised, never lowered:
-- one may have been published since the caller read Postgres. gen is written last: stopped half way the shard stays cold.
-- KEYS: 1 gen, then epoch keys. ARGV: 1 the gen to set, 2 check (1: raise epochs although gen is there), then an epoch per key.
-- Reply: {gen now in force, 1 if it was set here, epochs raised}.
local gen = redis.call('GET', KEYS[1])
if gen and ARGV[2] == '0' then
  return {gen, 0, 0}
end
local raised = 0
for i = 2, #KEYS do
  local known = tonumber(redis.call('GET', KEYS[i]) or '-1')
  if known < tonumber(ARGV[i + 1]) then
    redis.call('SET', KEYS[i], ARGV[i + 1])
    raised = raised + 1
  end
end
if gen then
  return {gen, 0, raised}
end
redis.call('SET', KEYS[1], ARGV[1])
return {ARGV[1], 1, raised}
