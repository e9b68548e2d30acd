"""What becomes of an answer whose client has left: it is read on, within bounds, or cut at once."""

from __future__ import annotations

from proxy.identity.principal import ClientLeaves
from proxy.relay.meter import Meter


class Drains:
    """How many answers a gateway reads on although nobody is there to get them: `begin` and `end` each."""

    __slots__ = ("most", "under_way")

    def __init__(self, most: int) -> None:
        self.most = most
        self.under_way = 0

    def begin(self) -> bool:
        """False: there are as many as are allowed."""
        if self.under_way >= self.most:
            return False
        self.under_way += 1
        return True

    def end(self) -> None:
        self.under_way -= 1


def reads_on(leaves: ClientLeaves, meter: Meter | None) -> bool:
    """Whether the rest of the answer can tell something. `meter` None: no stream has begun.

    `auto`: what the provider has reported, and visible text after it, can be counted as they are; only the rest can tell
    what an answer without usage so far, or a model that thinks unseen, will have consumed.
    """
    match leaves:
        case "drain":
            return True
        case "cancel" | "void":
            return False
        case "auto":
            return meter is None or not meter.reported or meter.hides
