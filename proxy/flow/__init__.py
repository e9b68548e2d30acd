"""The stages of a request in their order, and the attempts of which it consists.

Promises: an attempt is announced before its first byte is sent and settled before the client sees the end; any other way
out settles as `abandoned`. Does no stage's work itself: identity, catalog, admission, relay, metering, pricing and
settlement do.
"""
