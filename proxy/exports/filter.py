"""What an export is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Filter:
    """None: any. `since` inclusive, `until` exclusive, both of the attempt."""

    workspace_id: UUID | None
    since: datetime | None = None
    until: datetime | None = None
    user_id: UUID | None = None
    virtual_key_id: UUID | None = None
    llm: str | None = None
    provider: str | None = None
    key_source: str | None = None
