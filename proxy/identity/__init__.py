"""Who: workspaces, users, memberships, virtual and management keys → `Principal`.

Promises: a key is known only by its HMAC; a junk key is refused by its checksum before any lookup; an exception here is
a refusal, never an identity. Left to others: what an attempt costs, llms' routes.
"""
