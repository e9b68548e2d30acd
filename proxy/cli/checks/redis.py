"""Redis or Valkey: version, what it does when memory runs out, whether it survives a restart."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from proxy.cli.checks.clock import clock
from proxy.cli.checks.finding import Finding, bad, ok, warn
from proxy.storage.redis import REDIS_AWAY, REDIS_DENIED, open_redis

LOWEST = (7, 0)
FULL, SPOOLING = 85, 70  # percent: requests are refused, events go to the spool


async def redis(url: str) -> list[Finding]:
    try:
        client = open_redis(url, max_connections=1, timeout_s=5, retries=0, decode_responses=True)
    except ValueError as error:
        return [bad("Redis", f"no address: {error}", "redis://host:6379/0, rediss://… or unix:///path")]
    try:
        before = datetime.now(UTC)
        seconds, micros = await client.time()
        after = datetime.now(UTC)
        info = await client.info("everything")
    except REDIS_DENIED:
        return [warn("Redis", "INFO is not allowed: version, eviction and AOF are not known", "allow +info to this user")]
    except REDIS_AWAY as error:
        return [bad("Redis", f"no connection: {str(error) or type(error).__name__}", "check REDIS_URL and the server")]
    finally:
        await client.aclose()
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)
    return [*facts(info), clock("Redis", moment, before, after)]


def facts(info: Mapping[str, Any]) -> list[Finding]:
    """From INFO alone: CONFIG is closed at hosted ones."""
    return [version(info), eviction(info), persistence(info), memory(info)]


def version(info: Mapping[str, Any]) -> Finding:
    valkey = info.get("valkey_version")
    text = str(valkey or info.get("redis_version", "?"))
    name = f"{'Valkey' if valkey else 'Redis'} {text}"
    parts = text.split(".")
    known = len(parts) > 1 and parts[0].isdigit() and parts[1].isdigit()
    if not known or (int(parts[0]), int(parts[1])) < LOWEST:
        return bad("Redis", name, "Redis 7.0 or newer, or Valkey, is needed")
    return ok("Redis", name)


def eviction(info: Mapping[str, Any]) -> Finding:
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy != "noeviction":
        fix = "CONFIG SET maxmemory-policy noeviction (and in redis.conf): it may drop usage events"
        return bad("Redis eviction", policy, fix)
    return ok("Redis eviction", policy)


def persistence(info: Mapping[str, Any]) -> Finding:
    if str(info.get("aof_enabled")) != "1":
        fix = "CONFIG SET appendonly yes (and in redis.conf): a restart loses what no gateway still knows"
        return bad("Redis AOF", "off", fix)
    if info.get("aof_last_write_status", "ok") != "ok":
        return bad("Redis AOF", "its last write failed", "is the disk full? Look into the server's log")
    return ok("Redis AOF", "on")


def memory(info: Mapping[str, Any]) -> Finding:
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if limit == 0:
        fix = "CONFIG SET maxmemory, so that the gateway can slow down before the machine runs out"
        return warn("Redis memory", "maxmemory is not set", fix)
    percent = used * 100 // limit
    text = f"{percent} % of {limit // (1024 * 1024):,} MiB"
    fix = "raise maxmemory, or see why the ledger does not keep up"
    if percent >= FULL:
        return bad("Redis memory", f"{text}: requests are refused", fix)
    if percent >= SPOOLING:
        return warn("Redis memory", f"{text}: events go to the spool", fix)
    return ok("Redis memory", text)
