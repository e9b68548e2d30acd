"""`serve` with stand-ins for its children, as a process of its own. argv: a JSON object, what differs from a plan."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from proxy.storage.embedded.problem import StoreProblem
from proxy.storage.embedded.stores import Stores
from proxy.supervisor.environment import clean_environment
from proxy.supervisor.plan import ServePlan
from proxy.supervisor.problem import ServeProblem
from proxy.supervisor.supervisor import Serving, Supervisor

STAND_IN = str(Path(__file__).with_name("stand_in.py"))


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def after_stores(stores: Stores) -> None:
    say(event="stores", pids={name: process.pid for name, process in stores.processes.items()})


def on_ready(serving: Serving) -> None:
    say(event="ready", port=serving.port, database_url=serving.stores.database_url, redis_url=serving.stores.redis_url)


if __name__ == "__main__":
    logging.basicConfig(level="INFO", format="%(message)s")
    differs = json.loads(sys.argv[1])
    plan = ServePlan(
        host="127.0.0.1",
        data_dir=Path(differs.pop("data_dir")),
        gateway_argv=(sys.executable, STAND_IN, "gateway"),
        worker_argv=(sys.executable, STAND_IN, "worker"),
        environment=clean_environment(os.environ, also=["STAND_IN_LOG", "STAND_IN_BEHAVIOUR"]),
        **{"port": 0, "gateways": 2, **differs},
    )
    try:
        Supervisor(plan, after_stores=after_stores, on_ready=on_ready, progress=logging.info).run()
    except (ServeProblem, StoreProblem) as problem:
        print(f"PROBLEM {problem}", file=sys.stderr)
        sys.exit(1)
