"""All that the supervisor has to know, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServePlan:
    """`gateway_argv` gets `--fd N --index I --ready-fd R` appended, `worker_argv` gets `--ready-fd R`."""

    host: str
    port: int
    gateways: int
    data_dir: Path
    gateway_argv: tuple[str, ...]
    worker_argv: tuple[str, ...]
    # All of the children's environment but what the supervisor alone knows: the stores' addresses, the metrics folder.
    environment: Mapping[str, str]
    # What gateways get besides: secrets that no worker has a use for.
    gateway_secrets: Mapping[str, str] = field(default_factory=dict)
    database_url: str | None = None
    redis_url: str | None = None
    postgres_max_connections: int = 50
    redis_maxmemory_mb: int = 256
    start_within_s: float = 60.0
    gateway_grace_s: float = 30.0  # for open answers
    gateway_settle_s: float = 0.0  # and then for settling and closing
    worker_grace_s: float = 15.0
    stores_grace_s: float = 30.0
    hung_after_s: float = 60.0  # 0: never
