"""The aiohttp server: guarded connections, the raw client channel, middleware, health, metrics, draining.

Promises: slow heads, bodies and readers are cut; no answer echoes what a client sent in its head; every answer carries
`x-request-id`. Knows no endpoint: `ingress/` and `api/` add theirs.
"""
