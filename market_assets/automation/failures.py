"""What went wrong in a run, out of Dagster's events.

Belongs here: finding the cause among what it brought about. Does not belong here: telling anybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from market_assets.errors import CollectionFailedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import dagster as dg


@dataclass(frozen=True, slots=True)
class Failure:
    """The first thing that went wrong: the class of the error and one line. Both are empty if nothing did."""

    name: str = ""
    text: str = ""

    @property
    def nothing_fetched(self) -> bool:
        """Whether the run failed because not a single ticker could be fetched."""
        return self.name == CollectionFailedError.__name__


def first_failure(events: Iterable[dg.DagsterEvent]) -> Failure:
    """Return what went wrong first.

    A step's own error comes before what it did to others, so the first one counts. But if no ticker at all was
    fetched, that is the cause of everything, and only the last of the failed steps says it. A run whose process was
    killed has no error, only the daemon's word.
    """
    causes: list[Failure] = []
    words: list[Failure] = []
    for event in events:
        if not (event.is_step_failure or event.is_job_failure):
            continue
        where = f"{event.step_key}: " if event.is_step_failure else ""
        # The daemon reports a run whose process is gone without any data.
        data: Any = event.event_specific_data
        error = None if data is None else data.error
        # Dagster wraps what a step or a resource raised.
        while error is not None and error.cause is not None and (error.cls_name or "").startswith("Dagster"):
            error = error.cause
        if error is None:
            words.append(Failure("", " ".join((event.message or "").split())))
            continue
        name, _, message = error.message.strip().partition(": ")
        own = name.startswith("market_assets.")
        text = message if own and message else f"{where}{error.message.strip()}"
        causes.append(Failure(error.cls_name or "", " ".join(text.split())))
    chosen = [cause for cause in causes if cause.nothing_fetched] or causes or words
    return chosen[0] if chosen else Failure()
