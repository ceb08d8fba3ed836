"""What an asset hands to the IO manager: rows, the scopes they are authoritative for, and their order token.

Belongs here: the value that travels from an asset to the store. Does not belong here: how it is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from market_assets.store import JudgeStates, Replacement, Scope


@dataclass(frozen=True, slots=True)
class ScopedWrite:
    """Frames that replace whole scopes in one transaction.

    `fetched_at` orders writers of the same scope: the start of the request for bars, the watermark that was read for
    everything derived. An older one never overwrites a newer one.
    """

    replacements: tuple[Replacement, ...]
    scopes: tuple[Scope, ...]
    fetched_at: datetime
    #: what a person wants to see beside the materialization; plain values, filled by the asset
    summary: Mapping[str, Any] = field(default_factory=dict)
    #: what the rows mean for the days that were asked for; recorded in the same transaction
    states: JudgeStates | None = None
    #: called once the write has been committed; what it returns is shown beside the materialization too
    after: Callable[[], Mapping[str, Any]] | None = None
