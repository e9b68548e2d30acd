"""Clocks: a usage row's time and key expiry depend on them."""

from __future__ import annotations

from datetime import datetime, timedelta

from proxy.cli.checks.finding import Finding, bad, ok, warn

WARN_MS, BAD_MS = 1_000, 30_000


def clock(whose: str, theirs: datetime, before: datetime, after: datetime) -> Finding:
    """`theirs` was read between two looks at our own: what lies between them is not a difference."""
    off = max(before - theirs, theirs - after, timedelta(0))
    off_ms = round(off.total_seconds() * 1000)
    text = f"{whose}'s clock and this machine's are {off_ms:,} ms apart"
    if off_ms < WARN_MS:
        return ok("clock", f"agrees with {whose}'s")
    fix = "synchronise both with NTP (timedatectl, chronyc tracking)"
    return warn("clock", text, fix) if off_ms < BAD_MS else bad("clock", text, fix)
