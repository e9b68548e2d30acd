"""What is written when a bill was wrong: corrections of usage events, refunds, credits.

Promises: nothing that is there is changed. A usage event keeps its row; what it comes to now is its newest correction
(current.py). The ledger gets the difference as an entry that names the one it corrects. Repeated, it changes nothing:
what an attempt comes to follows from its row and the terms of its moment alone, and only a difference is written.

Invariants: per attempt, Σ (usage, platform_fee, adjustment) = its current charge; neither refunds nor credits exceed it.
Rollups hold the current figures. All of it happens as the shard's writer, so that no row changes meanwhile.

Left to others: prices (catalog), plans (identity), who may do it and that it is recorded (api, audit).
"""
