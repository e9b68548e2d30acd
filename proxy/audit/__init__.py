"""Who did what: roles, the one management write path, the audit log, idempotency records.

Promises: a change, its epochs, its audit entry and its idempotency record are committed together or not at all; no
secret is in an audit entry. Leaves to others: what a change is.
"""
