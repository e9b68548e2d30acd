"""Logs with redaction, metrics, the corrected clock.

Promises: no key, prompt or answer reaches a log or a metric label; nothing here blocks the event loop (log lines are
written by a thread of their own). Knows no endpoint, provider or table.
"""
