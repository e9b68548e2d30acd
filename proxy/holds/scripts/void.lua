-- void: takes back an attempt of which nothing was sent to a provider. No event. The tombstone comes first and without
-- regard to a hold: the admit may still be under way on a line that was given up, and must then be refused.
-- KEYS: 1 holds, 2 tombstone of the attempt. ARGV: 1 attempt, 2 tombstone_s. Reply: 1 there was a hold | 0.
redis.call('SET', KEYS[2], 'void', 'EX', ARGV[2])
return redis.call('HDEL', KEYS[1], ARGV[1])
