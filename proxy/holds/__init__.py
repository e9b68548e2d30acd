"""Holds: what is in flight, in Redis. A Lua file per script, their only client, the key names, the pipelining.

Promises: an attempt is announced, renewed, settled, taken back or swept by one atomic script each, every one of them
safe to repeat; a hold leaves only together with its event in the stream (settle, sweep) or with the certainty that
nothing was sent (void). A lost line or a late answer is `Unanswered`, never a guess. Times are the server's.
Leaves to others: what an event says, what to do while Redis is away (settlement), when to sweep and to seed (worker).
"""
