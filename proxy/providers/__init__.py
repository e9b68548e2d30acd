"""A file per dialect: the request out, usage and errors in; which provider's fields mean which sums.

Promises: a usage reader is chosen by the provider's name, never by the shape of an answer; token classes are disjoint
and add up to the provider's totals; no error that a client sees names our account. Pure. Left to others: bytes on the
wire (outbound, relay), counting (metering), prices.
"""
