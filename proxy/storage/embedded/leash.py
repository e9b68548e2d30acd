"""Children that end when their parent does, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def leash(last_signal: signal.Signals) -> Callable[[], None] | None:
    """A `preexec_fn`: Linux sends `last_signal` to the child when the thread that forked it ends.

    So fork from the main thread only: from a worker thread the child would die with that thread. It is set after the
    change of user, which clears it. Elsewhere there is no such call: None.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def set_signal() -> None:
        prctl(PR_SET_PDEATHSIG, int(last_signal), 0, 0, 0)
        if os.getppid() != parent:  # died between fork and prctl
            os._exit(1)

    return set_signal
