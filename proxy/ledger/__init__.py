"""From the stream to the tables: usage events, billing events, rollups, dead letters.

Promises: one row per attempt whatever is repeated; a row changes once, from `abandoned` to final, and the ledger then
gets the difference as an adjustment that names its entry; rollups are the sum of the rows; what cannot be written is
kept, bytes and all, and blocks nothing. An entry is acknowledged only after its transaction has committed.

Invariants: per attempt, Σ (usage, platform_fee, adjustment) = its current charge; credits never exceed their fee. Per
hour and day, Σ rollup lines = Σ lines as they are priced now. One writer per shard at a time: the transaction's advisory
lock is taken before the stream is read.

Left to others: what an attempt consumed and costs (metering, pricing), when a loop runs (worker), counters (holds).
"""
