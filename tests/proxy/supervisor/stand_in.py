"""A stand-in for a gateway or a worker: just enough of a process to be supervised. Run as a script, no imports of ours.

STAND_IN_LOG: what happened, a JSON line each. STAND_IN_BEHAVIOUR: `stubborn` ignores SIGTERM and SIGINT, `busy` stops at
SIGINT alone, `broken` ends at once, `silent` is never ready.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import threading
import time


def note(**what: object) -> None:
    line = json.dumps({"role": role, "pid": os.getpid(), "at": time.monotonic(), **what}) + "\n"
    with open(os.environ["STAND_IN_LOG"], "a") as log:
        log.write(line)


def valkey_answers() -> bool:
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(os.environ["REDIS_URL"].removeprefix("unix://"))
        line.sendall(b"PING\r\n")
        return line.recv(16).startswith(b"+PONG")


def stop(number: int, frame: object) -> None:
    note(event="asked to stop", signal=number)
    behaviour = os.environ.get("STAND_IN_BEHAVIOUR")
    if role != "worker" and (behaviour == "stubborn" or (behaviour == "busy" and number == signal.SIGTERM)):
        return
    note(event="stopped", valkey=valkey_answers())
    os._exit(0)


def answer(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(f"{os.getpid()}".encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("role")
    for option in ("--fd", "--index", "--ready-fd"):
        parser.add_argument(option, type=int)
    options = parser.parse_args()
    role = options.role
    if os.environ.get("STAND_IN_BEHAVIOUR") == "broken" and role != "worker":
        print("the stand-in is broken", file=sys.stderr)
        sys.exit(3)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    note(event="started", index=options.index, environment=dict(os.environ))
    if options.fd is not None:
        threading.Thread(target=answer, args=[socket.socket(fileno=options.fd)], daemon=True).start()
    if os.environ.get("STAND_IN_BEHAVIOUR") == "silent":
        while True:
            signal.pause()
    os.write(options.ready_fd, b"ready\n")
    while True:
        os.write(options.ready_fd, b".")
        time.sleep(0.1)
