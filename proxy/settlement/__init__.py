"""Settlement: what an attempt consumed becomes an event that cannot be lost.

Promises: an attempt is announced before anything is sent, and is in flight here until it is settled; settling ends with
the event acknowledged by Redis or fsynced in this host's spool, whatever Redis does; an event in doubt is kept and sent
again (the ledger keeps one per attempt). Nothing here waits for Postgres.
Leaves to others: what the event says (metering, pricing), the stream's way into tables (ledger), the sweeping of
attempts whose process died (worker).
"""
