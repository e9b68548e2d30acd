"""Usage × price version → lines in integer pico-USD. Pure; standard library only.

Promises: no float ever touches money; an unknown price is `Unpriced`, never 0; every line names the dated price
item that it follows from. Left to others: where usage comes from (metering, providers), who pays (settlement).
"""
