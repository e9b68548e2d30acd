"""The two stores as things to connect to: pools, the migration runner, and the embedded pair for those who bring none.

Promises: one SQL dialect and one Redis protocol, whoever runs the servers; no session state (a pool works through
pgbouncer); every wait bounded; an error that means "the store is away" can be told from one that means "you are wrong".
Leaves to others: what is in a table or a key. No room's names occur here.
"""
