-- expired: one step through the holds; which of them have a lease that is over, or no readable lease. Writes nothing.
-- KEYS: 1 holds. ARGV: 1 cursor, 2 count. Reply: {next cursor, {attempts}, how many holds were looked at}.
local t = redis.call('TIME')
local now_ms = t[1] * 1000 + math.floor(t[2] / 1000)
local step = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local pairs_of = step[2]
local over = {}
for i = 1, #pairs_of, 2 do
  local lease = tonumber(string.match(pairs_of[i + 1], '^(%d+)|') or '0')
  if lease <= now_ms then
    over[#over + 1] = pairs_of[i]
  end
end
return {step[1], over, #pairs_of / 2}
