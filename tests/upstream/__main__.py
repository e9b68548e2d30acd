"""The simulated upstream as a process of its own: `python -m tests.upstream --port 0`, or this file run by its path.

Prints its base URL on one line when it listens. `GET /_account` answers what it would bill. Ends with SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.upstream import certificate
from tests.upstream.server import Upstream
from tests.upstream.simulate import simulated


async def serve(options: argparse.Namespace) -> None:
    context, ca_file = None, None
    if options.tls_folder is not None:
        ca_path, key_path = certificate.make(options.tls_folder)
        context, ca_file = certificate.server_context(ca_path, key_path), str(ca_path)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    upstream = Upstream(tls=context, ca_file=ca_file, strict=False)
    upstream.always(simulated)
    await upstream.start(options.port)
    print(upstream.base_url, flush=True)
    await stop.wait()
    await upstream.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.upstream", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--tls-folder", type=Path, help="serve TLS; writes upstream.pem (to be trusted) and its key there"
    )
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
