"""`90d`, `2026-12-31`, `today`: moments as people write them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from proxy.cli.fault import USAGE, Fault

_SPAN = re.compile(r"(\d{1,5})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def span(text: str) -> timedelta:
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise Fault(f"{text!r} is no span of time.", next_step="a number with s, m, h, d or w: 90d, 24h", code=USAGE)
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def ahead(text: str, now: datetime) -> str:
    """A moment to come: a span from now, a day (its end, UTC) or a moment."""
    if _SPAN.fullmatch(text.strip()):
        return wire(now + span(text))
    moment = _moment(text, end_of_day=True)
    if moment <= now:
        raise Fault(f"{text!r} is in the past.", code=USAGE)
    return wire(moment)


def back(text: str, now: datetime, *, end_of_day: bool = False, whole_hour: bool = False) -> str:
    """A moment gone: a span ago, `today`, a day (its start, UTC) or a moment. `whole_hour`: sums are kept by the hour, so a
    span ago means the hour it lies in, and any other moment must be on one."""
    if _SPAN.fullmatch(text.strip()):
        moment = now - span(text)
        return wire(moment.replace(minute=0, second=0, microsecond=0) if whole_hour else moment)
    moment = _moment(f"{now:%Y-%m-%d}" if text == "today" else text, end_of_day=end_of_day)
    if whole_hour and (moment.minute or moment.second or moment.microsecond):
        raise Fault(f"{text!r} is not on a whole hour: sums are kept by the hour.", code=USAGE)
    return wire(moment)


def wire(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _moment(text: str, *, end_of_day: bool) -> datetime:
    try:
        if len(text) == 10:
            day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            return day + timedelta(days=1) if end_of_day else day
        moment = datetime.fromisoformat(text)
    except ValueError:
        example = "90d, 2026-12-31 or 2026-12-31T12:00:00Z"
        raise Fault(f"{text!r} is no moment.", next_step=example, code=USAGE) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
