from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

PARENT = """
import os, signal, subprocess, sys
from proxy.storage.embedded.leash import leash
child = subprocess.Popen(["sleep", "1000"], preexec_fn=leash(signal.SIGTERM), start_new_session=True)
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_a_child_ends_with_its_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.kill()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split():
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.01)
