"""Verifying a receipt: the data set is made again from the stored bars, and what differs is named.

Belongs here: what is compared with what, and telling why it differs. Does not belong here: printing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from market_assets.calendars import from_us
from market_assets.client.columns import Catalogue
from market_assets.client.request import Request
from market_assets.receipts.bars import Basement, LogVersions
from market_assets.receipts.document import code_version, file_hash, file_path, read_file, read_receipt
from market_assets.receipts.grounds import Grounds
from market_assets.receipts.hashes import Kind, column_hash, differing, float_bits
from market_assets.receipts.prints import ADDED, CHANGED, MISSING, differences
from market_assets.receipts.recompute import recomputed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from market_assets.client.datasets import Material
    from market_assets.maths.arrays import FloatArray
    from market_assets.receipts.bars import LogChange
    from market_assets.store import Store

_WHAT = {
    CHANGED: "is not what it was when the receipt was written",
    MISSING: "was there when the receipt was written and is gone",
    ADDED: "was not there when the receipt was written",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as the receipt says."""

    #: `file`, `bar`, `row`, `value` or `database`
    kind: str
    #: what it is about, e.g. `bar QQQ 15m 2026-03-02T15:00Z` or `column ml_qqq_price`
    subject: str
    detail: str

    def __str__(self) -> str:
        """Return a sentence."""
        return f"{self.subject} {self.detail}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verifying a receipt found."""

    findings: tuple[Finding, ...]
    #: what a reader should know though it is no difference
    notes: tuple[str, ...]
    lines: int
    #: feature rows and correlations that were computed again
    recomputed: int
    #: versions of bars and actions that were looked at
    versions: int

    @property
    def identical(self) -> bool:
        """Whether the file, the data set rebuilt from the log, and every bar behind it are what the receipt says."""
        return not self.findings

    @property
    def summary(self) -> str:
        """One sentence on what was done."""
        return (
            f"{_counted(self.lines, 'line')}; {_counted(self.recomputed, 'row')} of features and correlations computed "
            f"again from {_counted(self.versions, 'version')} of bars and actions."
        )


@dataclass(frozen=True, slots=True)
class _Effect:
    """Lines in which a rebuilt column is not what was exported."""

    column: str
    lines: Sequence[int]
    text: str

    def __str__(self) -> str:
        return f"{self.column} in {_counted(len(self.lines), 'line')}, {self.text}"


def verify_receipt(path: Path | str, store: Store, catalogue: Catalogue | None = None) -> Verdict:
    """Make the data set of a file again from the log as of its receipt's watermark, and compare.

    `path`: the file or its receipt. Compared are the file with the receipt, every bar behind the data set with its
    fingerprint, the values computed again from the bars with those exported, and the feature rows as they are stored.

    Raises:
        ReceiptError: there is no receipt, or the file cannot be read.
    """
    receipt = read_receipt(path)
    return _Verification(file_path(Path(path)), receipt, store, catalogue or Catalogue.whole()).verdict()


@dataclass(slots=True, eq=False)
class _Verification:
    path: Path
    receipt: Mapping[str, Any]
    store: Store
    catalogue: Catalogue
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def verdict(self) -> Verdict:
        """Compare everything."""
        request = Request.from_json(self.receipt["request"])
        self._compare_database(request)
        frame = read_file(self.path, self.receipt)
        unsound = self._compare_file(frame)
        versions = LogVersions.read(self.store, Basement.from_json(self.receipt["bars"]))
        changes = versions.differences(self.receipt["bars"])
        counted = 0
        if self._can_be_rebuilt(frame):
            grounds = Grounds.of(self.store, frame, request, self.catalogue)
            remade = recomputed(self.store, grounds, versions)
            effects = self._compare_values(frame, unsound, grounds.rebuilt(remade))
            unexplained = self._tell_bars(changes, effects, grounds)
            rows = self._compare_rows(grounds, remade, changes)
            self._tell_unexplained(unexplained, stored_differ=rows)
            counted = len(grounds.rows) + sum(len(shown) for shown in grounds.sessions.values())
        else:
            self._tell_bars(changes, [], None)
        total = len(versions.bars) + len(versions.actions)
        return Verdict(tuple(self.findings), tuple(self.notes), len(frame), counted, total)

    # --- what surrounds the data set ----------------------------------------------------------------------------------

    def _compare_database(self, request: Request) -> None:
        source, then = self.store.source(), self.receipt["source"]
        if source != then:
            self._find("database", "the database", f"holds rows of the source {source}, the data set is of {then}")
        watermark, as_of = self.store.watermark(), request.as_of
        if as_of is not None and watermark < as_of:
            ends = f"knows nothing after {watermark.isoformat()}, the data set was made as of {as_of.isoformat()}"
            self._find("database", "the database", f"{ends}; it is another one, or an older copy")

    def _definition_changes(self) -> list[str]:
        changed = [
            name
            for name, then in self.receipt["definitions"].items()
            if name not in self.catalogue.names or self.catalogue.definition(name) != then
        ]
        then, now = self.receipt["code"], code_version()
        told = [f"the definition of {name} has changed" for name in changed]
        if then != now:
            told.append(
                f"the code that computes is another ({then['version']} {then['computation']} then, {now['version']} "
                f"{now['computation']} now)"
            )
        return told

    # --- the file -----------------------------------------------------------------------------------------------------

    def _compare_file(self, frame: pd.DataFrame) -> set[str]:
        """Return the columns of the file that are not what was exported."""
        if file_hash(self.path) == self.receipt["file"]["sha256"]:
            return set()
        name, told = self.path.name, {column["name"]: column for column in self.receipt["columns"]}
        if len(frame) != self.receipt["rows"]:
            self._find("file", f"file {name}", f"has {len(frame)} lines, {self.receipt['rows']} were exported")
        for column in [column for column in told if column not in frame.columns]:
            self._find("file", f"file {name}", f"lacks the column {column}")
        for column in [str(column) for column in frame.columns if column not in told]:
            self._find("file", f"file {name}", f"has the column {column}, which was not exported")
        unsound = {
            column
            for column, facts in told.items()
            if column in frame.columns and column_hash(frame[column], Kind(facts["kind"])) != facts["sha256"]
        }
        for column in sorted(unsound):
            if told[column]["role"] == "own":
                self._find("file", f"column {column}", f"of {name} is not what was exported")
        if not self.findings and not unsound:
            self.notes.append(f"{name} was written anew since the export; every value in it is the same")
        return unsound

    def _can_be_rebuilt(self, frame: pd.DataFrame) -> bool:
        own = [column["name"] for column in self.receipt["columns"] if column["role"] == "own"]
        if self.receipt["request"]["dataset"] == "history":
            own = ["observed_at"]
        return all(name in frame.columns for name in own)

    # --- the values ---------------------------------------------------------------------------------------------------

    def _compare_values(self, frame: pd.DataFrame, unsound: set[str], rebuilt: pd.DataFrame) -> list[_Effect]:
        """Return where the rebuilt columns are not what was exported; findings where only the file is not."""
        effects = []
        for column in self.receipt["columns"]:
            name, kind = column["name"], Kind(column["kind"])
            if column["role"] != "rebuilt" or name not in frame.columns:
                continue
            agrees = column_hash(rebuilt[name], kind) == column["sha256"]
            if agrees and name not in unsound:
                continue
            lines = np.flatnonzero(differing(frame[name], rebuilt[name], kind)).tolist()
            first = _pair(frame[name], rebuilt[name], lines[0]) if lines else ""
            if name not in unsound:
                effects.append(_Effect(name, lines, f"first line {lines[0]}: exported {first}"))
            elif agrees:
                detail = f"of {self.path.name} is not what was exported in {_counted(len(lines), 'line')}, first line {lines[0]}: "
                self._find("file", f"column {name}", f"{detail}in the file {first}")
            else:
                rest = (
                    f"first line {lines[0]}: in the file {first}" if lines else "it agrees with the file's other lines"
                )
                self._find("file", f"column {name}", f"of {self.path.name} is not what was exported; {rest}")
        return effects

    def _tell_bars(
        self, changes: Sequence[LogChange], effects: Sequence[_Effect], grounds: Grounds | None
    ) -> list[_Effect]:
        """Make each changed bar a finding, with what it does; return the effects that no change can have."""
        explained: set[str] = set()
        for change in changes:
            own = [one for one in effects if grounds is not None and _can_cause(change, one, grounds)]
            explained |= {one.column for one in own}
            does = f"it changes {'; '.join(map(str, own))}" if own else "no value of the data set changes by it"
            stored = f" (now {change.stored})" if change.stored else ""
            self._find("bar", change.name, f"{_WHAT[change.what]}{stored}; {does}")
        return [one for one in effects if one.column not in explained]

    # --- the stored rows ----------------------------------------------------------------------------------------------

    def _compare_rows(self, grounds: Grounds, remade: Material, changes: Sequence[LogChange]) -> bool:
        """Find stored feature rows and correlations that are not what the receipt or the bars say."""
        found = len(self.findings)
        for change in differences(self.receipt["served"], grounds.served()):
            at = from_us(change.at_us)
            detail = f"{_WHAT[change.what]}: when it was stored, why, or what it was computed from"
            self._find("row", f"{change.series} {at:%Y-%m-%dT%H:%MZ}", detail)
        blamed = {change.ticker for change in changes}  # what they do has been told
        stored, again, rows = grounds.material.rows, remade.rows, grounds.rows
        for number, name in enumerate(stored.names):
            if not blamed & set(self.catalogue.tickers_of(name)):
                times = [f"{from_us(at):%Y-%m-%dT%H:%MZ}" for at in stored.observed_us[rows].tolist()]
                self._compare_stored(name, times, stored.matrix[number, rows], again.matrix[number, rows])
        for (crypto, ticker), shown in grounds.sessions.items():
            if not blamed & {crypto, ticker}:
                log, values = (one.correlations[crypto][ticker] for one in (grounds.material, remade))
                name = f"correlation of {crypto} with {ticker}"
                self._compare_stored(
                    name, log.session[shown].astype(str).tolist(), log.value[shown], values.value[shown]
                )
        unstamped = int((grounds.read_as_of_us == np.iinfo(np.int64).min).sum())
        if unstamped:
            self.notes.append(f"{unstamped} feature rows do not say what they were computed from; taken as stored")
        return len(self.findings) > found

    def _compare_stored(self, name: str, times: Sequence[str], stored: FloatArray, again: FloatArray) -> None:
        differ = np.flatnonzero(float_bits(stored) != float_bits(again)).tolist()
        if differ:
            first = differ[0]
            detail = f"is stored as {float(stored[first])!r}, and its bars give {float(again[first])!r}"
            more = f" ({len(differ)} rows like this)" if len(differ) > 1 else ""
            self._find("row", f"{name} at {times[first]}", f"{detail}{more}")

    def _tell_unexplained(self, effects: Sequence[_Effect], *, stored_differ: bool) -> None:
        reasons = self._definition_changes()
        for one in effects:
            if reasons:
                why = f"; {', and '.join(reasons)}"
            elif stored_differ:
                why = "; see the stored rows that differ"
            else:
                why = "; every bar is as it was: the machine or a library computes differently"
            self._find(
                "value", f"column {one.column}", f"differs in {_counted(len(one.lines), 'line')}, {one.text}{why}"
            )
        if not effects:
            self.notes += [f"{reason}, and the values are the same" for reason in reasons]

    def _find(self, kind: str, subject: str, detail: str) -> None:
        self.findings.append(Finding(kind, subject, detail))


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _pair(one: pd.Series, two: pd.Series, line: int) -> str:
    values = [column.iloc[line] for column in (one, two)]
    texts = [repr(float(value)) if isinstance(value, float) else str(value) for value in values]
    return f"{texts[0]}, rebuilt {texts[1]}"


def _can_cause(change: LogChange, effect: _Effect, grounds: Grounds) -> bool:
    """Whether a bar goes into a column at all, and in time."""
    name = effect.column.removesuffix("_age_minutes")
    if name not in grounds.catalogue.names:
        return False
    cryptos = {crypto for crypto, _ in grounds.sessions} if name in grounds.catalogue.correlations else set()
    if change.ticker not in {*grounds.catalogue.tickers_of(name), *cryptos}:
        return False
    # A split may rescale lines from any time before it; a bar changes nothing earlier.
    later = grounds.times_us[list(effect.lines)] >= change.at_us
    return change.interval == "split" or bool(later.any())
