"""Reading the record: usage events, sums over the rollups, billing events, how far the ledger is.

Promises: `as_of` is read before the rows, so the rows are at least that new; sums are integers to the last pico.
"""
