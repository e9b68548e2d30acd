-- sweep: attempts whose process is gone. Of each whose lease is over by the server's own clock the stub becomes its event;
-- then the tombstone, then the hold goes: stopped half way, the next sweep repeats the event, which is harmless.
-- A hold without a readable lease is handed over as it is: the ledger puts it with the dead letters.
-- KEYS: 1 holds, 2 usage stream, then a tombstone per attempt. ARGV: 1 tombstone_s, then attempts. Reply: {attempts swept}.
local t = redis.call('TIME')
local now_ms = t[1] * 1000 + math.floor(t[2] / 1000)
local swept = {}
for i = 2, #ARGV do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  if value then
    local lease, stub = string.match(value, '^(%d+)|(.*)$')
    if not lease or tonumber(lease) <= now_ms then
      redis.call('XADD', KEYS[2], '*', 'v', '1', 'e', stub or value)
      redis.call('SET', KEYS[i + 1], 'swept', 'EX', ARGV[1])
      redis.call('HDEL', KEYS[1], ARGV[i])
      swept[#swept + 1] = ARGV[i]
    end
  end
end
return swept
