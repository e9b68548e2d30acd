-- raise: each epoch becomes the greater of what it is and what is given; none is ever lowered.
-- KEYS: epoch keys of one shard. ARGV: an epoch per key. Reply: how many were raised. Repeating it is harmless.
local raised = 0
for i = 1, #KEYS do
  local known = tonumber(redis.call('GET', KEYS[i]) or '-1')
  if known < tonumber(ARGV[i]) then
    redis.call('SET', KEYS[i], ARGV[i])
    raised = raised + 1
  end
end
return raised
