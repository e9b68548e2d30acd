"""Loops beside requests, a file each: ledger, sweep, seed, epochs, partitions, spool.

Each has `async run(stop)`, returns soon after `stop` is set, outlives stores that are away, and is safe beside the same
loop of another worker. What a loop decides lives in the room it calls; here is only when, and what to do when it fails.
"""
