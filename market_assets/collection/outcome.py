"""What became of one ticker in a run.

Belongs here: the value that fetching hands to the asset, the checks and the coverage ledger. Does not belong here:
fetching, judging.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from market_assets.errors import EmptyAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from market_assets.collection.write import ScopedWrite
    from market_assets.errors import SourceError
    from market_assets.sources.base import FetchRequest


@dataclass(frozen=True, slots=True)
class TickerOutcome:
    """What became of one ticker in this run. `write` is None exactly when `error` is set."""

    ticker: str
    source: str
    windows: tuple[FetchRequest, ...]
    write: ScopedWrite | None = None
    error: SourceError | None = None
    failed_requests: int = 0
    bars: pd.DataFrame = field(default_factory=pd.DataFrame)
    quarantined: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    #: windows that were answered without a bar though the calendar expected some; never a scope, asked for again
    holes: tuple[str, ...] = ()

    @property
    def requests(self) -> int:
        """How many windows were asked for."""
        return len(self.windows)

    @property
    def answered(self) -> bool:
        """Whether the source said what it has; an answer without a bar is an answer."""
        return self.error is None or isinstance(self.error, EmptyAnswerError)

    @property
    def message(self) -> str:
        """The failure in one line; empty if there is none."""
        return "" if self.error is None else f"{self.error.code}: {self.error}"
