"""Where: llms, providers, routes and dated prices, as one immutable snapshot per global epoch.

Promises: names resolve exactly (no prefix guessing); rows that come from `config.yaml` say so; a price
that was in force is never changed, only followed by another. Left to others: opening a credential (vault), counting
money (pricing).
"""
