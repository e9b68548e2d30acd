-- settle: the event goes to the stream, the hold goes. XADD is the first write: where it fails (memory, disk), the hold
-- stays. Without a hold (swept, settled before, Redis lost it) the event is appended all the same and marked late:
-- counters are then the ledger's to correct.
-- KEYS: 1 holds, 2 usage stream. ARGV: 1 attempt, 2 event. Reply: 1 settled | 0 late.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
  redis.call('XADD', KEYS[2], '*', 'v', '1', 'e', ARGV[2])
  redis.call('HDEL', KEYS[1], ARGV[1])
  return 1
end
redis.call('XADD', KEYS[2], '*', 'v', '1', 'e', ARGV[2], 'l', '1')
return 0
