"""How an attempt ends: what its row says, what is counted, what the client sees (pure).

One table. How the answer ended picks a row of it, an `Ending`; what the answer told of its usage until then picks a column.
docs/billing.md, "How it ends", shows it to people.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, assert_never

from proxy.flow.events import Outcome, Source
from proxy.metering.stream_meter import StreamMeter
from proxy.relay.stream_end import (
    Answered,
    ClientLeft,
    Drained,
    EndedWithoutDone,
    Finished,
    PassedUnread,
    StreamEnd,
    UpstreamBroke,
)


class Counts(Enum):
    """What an attempt is settled with. The value is the row's `usage_source`."""

    source: Source

    NOTHING = "none", "nothing"
    REPORTED = "provider", "the provider's last word"
    SINCE = "estimated", "the provider's last word, and what was said after it by the tokenizer"
    ESTIMATE = "estimated", "the prompt and what was said, by the tokenizer"

    def __init__(self, source: Source, in_words: str) -> None:
        self.source = source
        self.in_words = in_words


class Sees(Enum):
    """What the client sees, once the row is settled."""

    ANSWER = "the provider's bytes, to their end"
    ERROR = "an error as its whole answer, unless another route answers"
    EVENT = "what came, then an error event in its surface's form; where no event can follow, a connection that is cut"
    NOBODY = "nothing: it has left"


class Ending(NamedTuple):
    """A row of the table. The columns: what is counted where the answer told nothing, said something without usage, reported
    usage, and reported it before it said more.
    """

    name: str
    outcome: Outcome
    sees: Sees
    nothing: Counts
    said: Counts
    reported: Counts
    reported_then_said: Counts

    def counts(self, reported: bool, said: bool) -> Counts:
        """`said`: since the last report, where there was one."""
        if reported:
            return self.reported_then_said if said else self.reported
        return self.said if said else self.nothing


_NO, _ALL, _REP, _SINCE = Counts.NOTHING, Counts.ESTIMATE, Counts.REPORTED, Counts.SINCE
#                                                                       told:  nothing  text  usage  usage, then text
COMPLETE = Ending("complete", "ok", Sees.ANSWER,                               _ALL, _ALL, _REP, _REP)  # fmt: skip
# An error where an answer should be: an event of a stream, a body with status 200 (OpenRouter). Its text is no output.
ERROR_SAID = Ending("error in the answer", "upstream_error", Sees.ANSWER,      _NO, _ALL, _REP, _SINCE)  # fmt: skip
# An error's body is never tokenised, whatever it says; but usage that it reports was consumed.
REFUSED = Ending("HTTP error", "upstream_error", Sees.ERROR,                   _NO, _NO, _REP, _REP)  # fmt: skip
# The response ended in order, without the end of the answer in it.
TRUNCATED = Ending("truncated", "upstream_error", Sees.EVENT,                  _NO, _ALL, _REP, _SINCE)  # fmt: skip
BROKE = Ending("broke in the answer", "upstream_error", Sees.EVENT,            _NO, _ALL, _REP, _SINCE)  # fmt: skip
# It may have been billed and nobody can say what: the row says so, at nothing.
UNANSWERED = Ending("broke before the answer", "upstream_error", Sees.ERROR,   _NO, _NO, _NO, _NO)  # fmt: skip
# The provider was at work on a prompt that it has: it will bill that, whatever it said until then.
LEFT = Ending("client left", "client_abort", Sees.NOBODY,                      _ALL, _ALL, _REP, _SINCE)  # fmt: skip
# Nothing was written: there is no row.
UNSENT = Ending("client left before it was sent", "client_abort", Sees.NOBODY, _NO, _NO, _NO, _NO)  # fmt: skip

ENDINGS = (COMPLETE, ERROR_SAID, REFUSED, TRUNCATED, BROKE, UNANSWERED, LEFT, UNSENT)


class Verdict(NamedTuple):
    """`left`: nobody is there any more, whatever the provider's answer was."""

    ending: Ending
    error_code: str | None = None
    left: bool = False

    @property
    def sees(self) -> Sees:
        return Sees.NOBODY if self.left else self.ending.sees


_COMPLETE = Verdict(COMPLETE)
_ERROR_SAID = Verdict(ERROR_SAID, "error_in_stream")
_TRUNCATED = Verdict(TRUNCATED, "truncated")


def verdict_of(end: StreamEnd, meter: StreamMeter | None) -> Verdict:
    """`meter`: of the stream, if one began, told that it is over. What a whole body says is for `of_body` to know."""
    match end:
        case Finished():
            return _ERROR_SAID if meter is not None and meter.error_seen else _COMPLETE
        case Answered(progress=progress):
            return _of_status(progress.status)
        case EndedWithoutDone():
            assert meter is not None
            if meter.error_seen:
                return _ERROR_SAID
            return _COMPLETE if meter.ended else _TRUNCATED
        case PassedUnread():
            return _COMPLETE
        case ClientLeft():
            return _of_left(end, meter)._replace(left=True)
        case UpstreamBroke(progress=progress, reason=reason):
            return Verdict(BROKE if progress.head_sent else UNANSWERED, reason.value)
        case _:
            assert_never(end)


def _of_status(status: int | None) -> Verdict:
    return _COMPLETE if status is not None and 200 <= status < 300 else Verdict(REFUSED, f"http_{status}")


def _of_left(end: ClientLeft, meter: StreamMeter | None) -> Verdict:
    """What the provider says of its own failure counts more than that nobody heard it."""
    status = end.progress.status
    if end.drained is Drained.NOT_DISPATCHED:
        return Verdict(UNSENT)
    if status is None:
        return Verdict(UNANSWERED, "broke_unanswered") if end.drained is Drained.BROKE else Verdict(LEFT)
    if not 200 <= status < 300:
        return Verdict(REFUSED, f"http_{status}")
    return _ERROR_SAID if meter is not None and meter.error_seen else Verdict(LEFT)
