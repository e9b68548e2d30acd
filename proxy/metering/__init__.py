"""Bytes passing → `Usage`; where the provider reports none, a tokenizer's estimate.

Promises: nothing here fails a request: what cannot be read is counted (`decode_errors`) and the attempt falls to the
estimate, never to 0. Frames pass unchanged, but a usage chunk that only the gateway asked for, which is removed whole.
On a passing stream only frames that may hold usage or an error are decoded. Left to others: which sums a provider's
fields follow (providers, through `UsageReader`), prices, who pays.
"""
