"""Credits of the monthly allowance on platform fees: entries that name the fee they waive, and how much of a month is used.

Invariants: per fee, 0 ≤ Σ its credits ≤ what it comes to. Per workspace and month, `fee_allowances` = Σ credits given.
"""
