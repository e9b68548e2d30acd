"""The settings as one frozen tree: each with default, bounds and the sentence that docs/configuration.md shows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
)
from pydantic_settings import BaseSettings, SettingsConfigDict


def default_gateways() -> int:
    """A gateway is one process on one core; more than four need a machine that somebody has planned."""
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


FilePath = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]
# Units and sections as in pricing/price_text.py, which check.py asks.
Prices = dict[str, Any]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
LlmName = Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
# As browsers write it: scheme, host, a port that is not the scheme's own.
Origin = Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9+.-]*://[a-z0-9.:\[\]_-]+)$")]


class Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True, validate_default=True
    )


class Server(Part):
    """The address that clients call."""

    host: str = "127.0.0.1"
    """Address to listen on. Other than loopback it needs `tls_cert_file` and `tls_key_file`, or `behind_proxy`."""
    port: int = Field(default=4000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    workers: int = Field(default_factory=default_gateways, ge=1, le=128)
    """Gateway processes. Default: one per core, at most 4."""
    behind_proxy: bool = False
    """A proxy in front ends TLS; then a plain listener on any address is allowed."""
    tls_cert_file: FilePath | None = None
    """PEM file with the certificate chain."""
    tls_key_file: FilePath | None = None
    """PEM file with the certificate's private key."""
    max_body_mib: PositiveInt = 32
    """Largest request body."""
    max_in_flight: PositiveInt = 1000
    """Requests that one gateway serves at the same time; more are answered 503 with `retry-after`."""
    max_bodies_mib: PositiveInt = 256
    """Request bodies that one gateway holds at the same time, together; at least `max_body_mib`. More are answered 503."""
    max_memory_mib: PositiveInt | None = None
    """Memory (RSS) of one gateway above which it answers 503. Unset: 85 % of the container's limit, if that has one."""
    header_timeout_s: PositiveFloat = 10
    """Time for a client to send its request line and headers."""
    body_timeout_s: PositiveFloat = 30
    """Time for a client to send its body."""
    write_timeout_s: PositiveFloat = 30
    """Time that a client may take no byte of its answer before the connection is cut."""
    keep_alive_s: PositiveFloat = 75
    """Time that an idle connection stays open."""
    shutdown_grace_s: PositiveFloat = 30
    """Time for open streams to finish after SIGTERM."""
    idle_close_s: float = Field(default=1, ge=0)
    """After SIGTERM: time until idle connections are closed; a proxy in front may have just put a request on one."""
    cors_origins: list[Origin] = []
    """Pages that may call `/v1` from a browser, such as `https://app.example.com`; `*`: all. Their visitors can read the key."""
    access_log: bool = False
    """Log a JSON line per request: method, route, status, duration, id, bytes; never a path, a query, a key or content."""
    hung_after_s: float = Field(default=60, ge=0)
    """A gateway or worker of `serve` that gives no sign of life for so long is killed and started again; 0: never."""


class Stores(Part):
    """Postgres and Redis. Without addresses, `synapscale serve` runs its own in `data_dir`."""

    database_url: SecretStr | None = None
    """Postgres 15 or newer. Also `DATABASE_URL`. Unset: embedded."""
    redis_url: SecretStr | None = None
    """Redis 7.0 or newer, or Valkey, with `maxmemory-policy noeviction` and AOF. Also `REDIS_URL`. Unset: embedded."""
    data_dir: FilePath = Path(".synapscale")
    """Folder for the embedded stores, the spool and key files. Also `--data-dir`, `SYNAPSCALE_DATA_DIR`."""
    maxmemory_mib: int = Field(default=256, ge=16)
    """Memory of the embedded Valkey."""
    shards: int = Field(default=1, ge=1, le=1024)
    """Parts into which workspaces are spread over a Redis Cluster; 1 for a single Redis. It may grow, never shrink."""
    database_pool: int = Field(default=5, ge=1, le=100)
    """Postgres connections per process."""
    redis_pool: int = Field(default=10, ge=1, le=100)
    """Redis connections per process, beside the one of the request path."""


class Holds(Part):
    """How long an announced attempt may go unheard of."""

    lease_s: PositiveFloat = 120
    """An attempt that was not renewed for this long is taken for abandoned."""
    renew_after_s: PositiveFloat = 30
    """Attempts older than this are renewed; well below `lease_s`."""
    sweep_grace_s: PositiveFloat = 60
    """A shard is swept only after it was reachable for a lease and this time."""
    settle_deadline_ms: PositiveInt = 250
    """After this wait for Redis the usage event is fsynced to the spool and the client gets its last bytes."""
    ring_s: PositiveFloat = 60
    """Settled events kept in memory, sent again after a Redis reconnect."""


class Ledger(Part):
    """From the stream into Postgres."""

    batch: int = Field(default=500, ge=1, le=10_000)
    """Usage events per transaction."""
    retention_s: PositiveFloat = 300
    """Written events stay this long in Redis, for a Postgres that fails over and lost its last seconds."""


class Worker(Part):
    """What `synapscale worker` answers to a monitor. Under `serve` the gateways' `/metrics` tell of the worker too."""

    host: str = "127.0.0.1"
    """Address of its `/metrics` and `/health/*`, in the clear: they name no tenant and hold no secret."""
    port: int | None = Field(default=None, ge=0, le=65535)
    """Port of its `/metrics` and `/health/*`. Unset: it listens nowhere."""


class Upstream(Part):
    """Calls to providers."""

    connect_timeout_s: PositiveFloat = 10
    """Time to connect, TLS included."""
    first_byte_timeout_s: PositiveFloat = 600
    """Time to the first byte of an answer: reasoning models think for minutes before it."""
    idle_timeout_s: PositiveFloat = 120
    """Longest silence inside an answer."""
    max_connections: PositiveInt = 512
    """Open connections to one provider, per gateway."""
    max_in_flight_share: float = Field(default=0.6, gt=0, le=1)
    """Share of `server.max_in_flight` that one provider may hold, so that one that stalls leaves room for the others."""
    keep_alive_s: PositiveFloat = 30
    """Time that an idle connection to a provider is kept; below the provider's own limit."""
    ca_file: FilePath | None = None
    """PEM file with the certificate authorities to trust instead of the system's."""
    drain_s: PositiveFloat = 15
    """After a client left: time to read on for the provider's usage report; four times that while a model may think unseen."""
    drain_tokens: PositiveInt = 2000
    """After a client left: tokens to read on; four times as many while a model may think unseen."""


class Policies(Part):
    """What happens when something fails."""

    redis_away: Literal["refuse"] = "refuse"
    """No Redis: `refuse` answers 503, because nothing could be announced."""
    drains_max: int = Field(default=500, ge=0)
    """Answers that one gateway reads on at the same time although their clients have left; one more is cut and counted."""


class Log(Part):
    """What processes say on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is written."""
    format: Literal["plain", "json"] = "plain"
    """`plain` for people, `json` (one object per line) for collectors."""


class ProviderSettings(Part):
    """Somebody who runs llms."""

    dialect: str
    """Wire format; `openai` for every provider with an OpenAI-shaped endpoint."""
    base_url: Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$")]
    """Address up to, without, `/chat/completions`."""
    api_key: SecretStr | None = None
    """The global key, as `${NAME}`. Unset: only callers with an own key reach this provider."""
    auth: Literal["bearer", "none"] = "bearer"
    """How a call proves itself: the key as `Authorization: Bearer`, or `none` for a server of your own without keys."""
    stream_usage: Literal["asked", "unasked"] = "asked"
    """Usage at the end of a stream comes only when asked for (`stream_options`), or always."""
    usage_reader: str = "openai"
    """Which sums the provider's usage fields follow."""
    service_tier: Literal["served", "requested"] = "served"
    """Which tier is priced: the one that answers name as served, or, where that word cannot be trusted, the requested one."""
    max_in_flight: PositiveInt | None = None
    """Requests that it may hold at the same time, per gateway. Unset: `upstream.max_in_flight_share`."""


class RouteSettings(Part):
    """An llm at a provider."""

    provider: Name
    """A name under `providers`."""
    model: LlmName
    """What that provider calls the llm."""
    price: Prices | None = None
    """Overrides the price of the llm and of the price book for this route."""


class LlmSettings(Part):
    """What clients name as `model`."""

    name: LlmName
    """The name that clients send."""
    routes: Annotated[tuple[RouteSettings, ...], Field(min_length=1)]
    """Where it is served, in order of preference."""
    context_window: PositiveInt | None = None
    """Tokens of prompt and answer together."""
    max_output: PositiveInt | None = None
    """Most tokens of an answer."""
    price: Prices | None = None
    """By unit: USD per million tokens, or per counted thing, as text in quotes. Unset: the price book."""
    unpriced: Literal["allow", "reject"] = "allow"
    """While no price is in force: `allow` records usage as unpriced, `reject` refuses requests."""


class Settings(BaseSettings):
    """Everything. Built by `proxy.settings.load.load`, which tells where a wrong value stands."""

    model_config = SettingsConfigDict(
        env_prefix="SYNAPSCALE_", env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True,
        use_attribute_docstrings=True, validate_default=True, env_ignore_empty=True,
    )

    server: Server = Server()
    stores: Stores = Stores()
    holds: Holds = Holds()
    ledger: Ledger = Ledger()
    worker: Worker = Worker()
    upstream: Upstream = Upstream()
    policies: Policies = Policies()
    log: Log = Log()
    master_key: SecretStr | None = None
    """32 bytes in base64 that seal stored secrets. Unset with embedded stores: `<data-dir>/master-key` is made."""
    master_key_file: FilePath | None = None
    """File with the master key, instead of `master_key`."""
    admin_key: SecretStr | None = None
    """The first management key. Unset: the first start writes one to `<data-dir>/admin-key`."""
    echo: bool = True
    """Offer the built-in llm `synapscale/echo`."""
    providers: dict[Name, ProviderSettings] = {}
    """Providers by name."""
    llms: tuple[LlmSettings, ...] = ()
    """The llms that clients may name."""
