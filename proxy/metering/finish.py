"""Whether a whole answer says that it is complete: as streams do by their end, bodies do by a word."""

from __future__ import annotations

import re

from proxy.metering.surfaces import FREE, WITHOUT_OUTPUT

# Inside a JSON string their quotes would be escaped: an answer that talks of finish reasons does not match.
FINISH = re.compile(rb'"finish_reason"\s*:\s*"')
# A finish that is one: blank, or an error, is none (OpenRouter, "Zero Completion Insurance").
COMPLETED = re.compile(rb'"finish_reason"\s*:\s*"(?!error"|")')
_STATUS = re.compile(rb'"status"\s*:\s*"(?:completed|incomplete)"')


def says_finish(surface: str, body: bytes) -> bool:
    """A choice has a finish reason; a response a status that is an end. What has no output is complete once it is there."""
    if surface in FREE or surface in WITHOUT_OUTPUT:
        return True
    if surface == "responses":
        return _STATUS.search(body) is not None
    # From the end, where it stands: half the time of a search on a long answer.
    at = body.rfind(b'"finish_reason"')
    return at >= 0 and (COMPLETED.match(body, at) is not None or COMPLETED.search(body) is not None)
