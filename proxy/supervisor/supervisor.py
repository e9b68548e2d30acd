"""`serve` from its first socket to its last child: the order of starting and of stopping."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from proxy.storage.embedded.folder import DataFolder
from proxy.storage.embedded.problem import StoreProblem
from proxy.storage.embedded.stores import Stores
from proxy.supervisor.child import Child
from proxy.supervisor.listeners import open_listeners
from proxy.supervisor.metrics_folder import metrics_folder
from proxy.supervisor.plan import ServePlan
from proxy.supervisor.problem import Interrupted, ServeProblem
from proxy.supervisor.program import Program
from proxy.supervisor.pulse import Pulse
from proxy.supervisor.wake import Wake

log = logging.getLogger("synapscale.supervisor")

LOOK_EVERY_S = 0.2
LOOK_WHILE_STARTING_S = 0.02
HURRIED_GRACE_S = 5.0
TELL_AFTER_S = 1.0


class Serving(NamedTuple):
    """What is up when everything is."""

    host: str
    port: int
    stores: Stores


class Supervisor:
    """Built and run in the main thread, once."""

    def __init__(
        self,
        plan: ServePlan,
        *,
        after_stores: Callable[[Stores], None],
        on_ready: Callable[[Serving], None],
        progress: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._plan = plan
        self._after_stores = after_stores
        self._on_ready = on_ready
        self._progress = progress
        self._wake = Wake()
        self._listeners: list[socket.socket] = []
        self._servers: list[Child] = []
        self._worker: list[Child] = []
        self._gateways: list[Child] = []

    def run(self) -> None:
        """Until a signal asks to stop. Raises ServeProblem or StoreProblem if it cannot start; leaves nothing behind.

        What `after_stores` and `on_ready` raise ends it too, after everything was stopped.
        """
        with self._wake:
            try:
                self._serve()
            except Interrupted:
                log.info("stopped before everything was up")
            except StoreProblem:
                if not self._wake.stop_wanted():  # else it is only what an interrupted wait says
                    raise

    def _serve(self) -> None:
        plan = self._plan
        self._listeners = open_listeners(plan.host, plan.port, plan.gateways)
        stores: Stores | None = None
        folder: DataFolder | None = None
        try:
            folder = DataFolder(plan.data_dir, give_up=self._wake.stop_wanted)
            stores = self._start_stores(folder)
            self._after_stores(stores)
            self._start_programs(stores)
            host, port = self._listeners[0].getsockname()[:2]
            self._on_ready(Serving(host, port, stores))
            while not self._wake.stop_wanted():
                self._look(self._children())
                self._wake.sleep(LOOK_EVERY_S)
        finally:
            self._stop(stores, folder)

    def _start_stores(self, folder: DataFolder) -> Stores:
        plan = self._plan
        stores = Stores(
            folder,
            database_url=plan.database_url,
            redis_url=plan.redis_url,
            max_connections=plan.postgres_max_connections,
            maxmemory_mb=plan.redis_maxmemory_mb,
        )
        if stores.servers:
            self._progress(f"starting {stores.describe()}")
        stores.start(give_up=self._wake.stop_wanted)
        for server in stores.servers:
            child = Child(server)
            child.adopt(stores.processes[server.name], time.monotonic())
            self._servers.append(child)
        self._interrupt_if_wanted()
        return stores

    def _start_programs(self, stores: Stores) -> None:
        plan, metrics = self._plan, metrics_folder(self._plan.data_dir)
        environment = {
            **plan.environment,
            "DATABASE_URL": stores.database_url,
            "REDIS_URL": stores.redis_url,
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        }

        def forget(pid: int) -> None:
            """Gauges of a dead process are no longer true; its counters stay in the sums."""
            for path in metrics.glob(f"gauge_live*_{pid}.db"):
                path.unlink(missing_ok=True)

        worker = Program("worker", plan.worker_argv, environment=environment)
        self._worker = [Child(worker, on_death=forget, pulse=Pulse(worker.beat, plan.hung_after_s))]
        for index, listener in enumerate(self._listeners):
            fd = listener.fileno()
            argv = (*plan.gateway_argv, "--fd", str(fd), "--index", str(index))
            gateway = Program(
                f"gateway {index}", argv, environment={**environment, **plan.gateway_secrets}, fds=(fd,)
            )
            self._gateways.append(Child(gateway, on_death=forget, pulse=Pulse(gateway.beat, plan.hung_after_s)))
        self._progress(f"starting {plan.gateways} gateway{'s' if plan.gateways > 1 else ''} and the worker")
        self._start([*self._worker, *self._gateways])

    def _start(self, children: Sequence[Child]) -> None:
        """Start and wait for all. One that ends before it was ever ready will not get better: the start fails."""
        deadline = time.monotonic() + self._plan.start_within_s
        for child in children:
            self._interrupt_if_wanted()
            child.start(time.monotonic())
        while not all(child.ever_ready for child in children):
            self._interrupt_if_wanted()
            for child in children:
                if not child.ever_ready and (status := child.first_look()) is not None:
                    raise ServeProblem(f"The {child.name} ended at its start (status {status}); its words are above.")
            if time.monotonic() > deadline:
                late = ", ".join(child.name for child in children if not child.ever_ready)
                raise ServeProblem(f"Not ready within {self._plan.start_within_s:g} s: {late}.")
            self._look([*self._servers, *(child for child in children if child.ever_ready)])
            self._wake.sleep(LOOK_WHILE_STARTING_S)

    def _stop(self, stores: Stores | None, folder: DataFolder | None) -> None:
        for listener in self._listeners:
            listener.close()  # a gateway that closes its copy then refuses instead of letting people wait
        grace_s = self._plan.gateway_grace_s
        self._end(
            self._gateways, grace_s + self._plan.gateway_settle_s, keep=[*self._servers, *self._worker],
            waiting=f"finishing open answers for up to {grace_s:g} s; Ctrl-C again cuts and settles them",
            hurry=Program.hurry_signal,
        )
        self._end(self._worker, self._plan.worker_grace_s, keep=self._servers)
        if stores is not None:
            for child in self._servers:
                if child.process is not None:
                    stores.processes[child.name] = child.process
            stores.stop(grace_s=self._grace(self._plan.stores_grace_s))
        elif folder is not None:
            folder.close()

    def _end(
        self, children: Iterable[Child], grace_s: float, *, keep: Sequence[Child], waiting: str | None = None,
        hurry: signal.Signals | None = None,
    ) -> None:
        """Ask, wait, kill. A second signal shortens the wait, and is passed on as `hurry`; a third kills at once.

        What the ending ones still need is kept up meanwhile. `waiting` is told once they have taken longer than what
        has nothing to finish.
        """
        began = time.monotonic()
        deadline = began + grace_s
        signals, hurried = self._wake.stops, False
        ending = [child for child in children if child.running()]
        for child in ending:
            child.send(child.kind.stop_signal)
        while ending := [child for child in ending if child.running()]:
            if self._wake.stops > 1 and not hurried:
                hurried = True
                deadline = min(deadline, time.monotonic() + HURRIED_GRACE_S)
                if hurry is not None:
                    for child in ending:
                        child.send(hurry)
            impatient = self._wake.stops > max(signals, 2)
            if impatient or time.monotonic() > deadline:
                for child in ending:
                    log.warning("%s %s", child.name, "was killed" if impatient else "did not stop in time and was killed")
                    child.send(signal.SIGKILL)
                    assert child.process is not None
                    child.process.wait()
                return
            if waiting and not hurried and time.monotonic() - began > TELL_AFTER_S:
                self._progress(waiting)
                waiting = None
            self._look(keep)
            self._wake.sleep(LOOK_WHILE_STARTING_S)

    def _grace(self, planned_s: float) -> float:
        return min(planned_s, HURRIED_GRACE_S) if self._wake.stops > 1 else planned_s

    def _look(self, children: Iterable[Child]) -> None:
        now = time.monotonic()
        for child in children:
            child.look(now)
        if os.getpid() == 1:
            reap_strangers({child.process.pid for child in self._children() if child.process is not None})

    def _children(self) -> list[Child]:
        return [*self._servers, *self._worker, *self._gateways]

    def _interrupt_if_wanted(self) -> None:
        if self._wake.stop_wanted():
            raise Interrupted


def reap_strangers(ours: set[int]) -> None:
    """As the first process of a container we inherit orphans, such as the backends of a killed Postgres."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in ours:  # ours are collected by who started them
            return
        os.waitpid(ended.si_pid, 0)
