"""Verifying a receipt: the data set is made again from the stored bars, and what differs is named.

Belongs here: what is compared with what, and telling why it differs. Does not belong here: printing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from market_assets.calendars import from_us
from market_assets.client.columns import Catalogue
from market_assets.receipts.bars import Basement, LogVersions
from market_assets.receipts.document import code_version, file_hash
from market_assets.receipts.files import FileFormat, read_frame
from market_assets.receipts.form import damaged, file_path, read_receipt, receipt_path, request_in
from market_assets.receipts.grounds import Grounds, correlation_name, rebuildable
from market_assets.receipts.hashes import Kind, column_hash, differing, float_bits
from market_assets.receipts.prints import ADDED, CHANGED, MISSING, UNNAMED, differences
from market_assets.receipts.recompute import recomputed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from market_assets.client.datasets import Material
    from market_assets.client.request import Request
    from market_assets.maths.arrays import FloatArray
    from market_assets.receipts.bars import LogChange
    from market_assets.store import Store

_WHAT = {
    CHANGED: "is not what it was when the receipt was written",
    MISSING: "was there when the receipt was written and is gone",
    ADDED: "was not there when the receipt was written",
    UNNAMED: "is not what it was when the receipt was written, and was changed so that its fingerprint is the same",
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
        return f"{self.column} in {self.text}"


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
        request = self._request()
        self._compare_database(request)
        kinds = {column["name"]: Kind(column["kind"]) for column in self.receipt["columns"]}
        frame = read_frame(self.path, FileFormat(self.receipt["file"]["format"]), kinds)
        unsound = self._compare_file(frame)
        versions = LogVersions.read(self.store, self._basement())
        changes = versions.differences(self.receipt["bars"])
        counted = 0
        if self._can_be_rebuilt(frame):
            grounds = Grounds.of(self.store, frame, request, self.catalogue)
            remade, rebuilt = self._rebuilt(grounds, versions)
            effects = [] if rebuilt is None else self._compare_values(frame, unsound, grounds, rebuilt)
            unexplained = self._tell_bars(changes, effects, grounds)
            rows = self._compare_rows(grounds, remade)
            if rebuilt is not None:
                self._tell_unexplained(unexplained, stored_differ=rows)
            counted = len(grounds.rows) + sum(len(shown) for shown in grounds.sessions.values())
        else:
            self._tell_bars(changes, [], None)
        total = len(versions.bars) + len(versions.actions)
        return Verdict(tuple(self.findings), tuple(self.notes), len(frame), counted, total)

    def _rebuilt(self, grounds: Grounds, versions: LogVersions) -> tuple[Material | None, pd.DataFrame | None]:
        """Return the material computed again and the data set made of it; None where stored rows are impossible."""
        try:
            remade = recomputed(self.store, grounds, versions)
            return remade, grounds.rebuilt(remade)
        except ValueError as error:
            # No row that this program wrote is refused by its own maths.
            self._find("value", "the data set", f"cannot be made again from what is stored: {error}")
            return None, None

    # --- what surrounds the data set ----------------------------------------------------------------------------------

    def _request(self) -> Request:
        """Return how the data set was made, without features that this program does not have any more."""
        request = request_in(self.receipt)
        for column in self.receipt["columns"]:
            if column["role"] == "rebuilt" and column["name"] not in rebuildable(request):
                raise damaged(receipt_path(self.path), f"request: lacks the feature of the column {column['name']}")
        for name in request.features:
            if name not in self.catalogue.names:
                self._find("value", f"column {name}", "cannot be computed again: this program has no such feature")
        return replace(request, features=tuple(name for name in request.features if name in self.catalogue.names))

    def _basement(self) -> Basement:
        try:
            return Basement.from_json(self.receipt["bars"])
        except ValueError as error:
            raise damaged(receipt_path(self.path), f"bars: {error}") from None

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
            if name in self.catalogue.names and self.catalogue.definition(name) != then
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
        same = not self.findings and not unsound
        if same and file_hash(self.path) != self.receipt["file"]["sha256"]:
            self.notes.append(f"{name} was written anew since the export; every value in it is the same")
        return unsound

    def _can_be_rebuilt(self, frame: pd.DataFrame) -> bool:
        own = [column["name"] for column in self.receipt["columns"] if column["role"] == "own"]
        if self.receipt["request"]["dataset"] == "history":
            own = ["observed_at"]
        return all(name in frame.columns for name in own)

    # --- the values ---------------------------------------------------------------------------------------------------

    def _compare_values(
        self, frame: pd.DataFrame, unsound: set[str], grounds: Grounds, rebuilt: pd.DataFrame
    ) -> list[_Effect]:
        """Return where the rebuilt columns are not what was exported; findings where only the file is not."""
        for line in np.flatnonzero(~grounds.in_log).tolist():
            at = from_us(int(grounds.observed_us[line]))
            self._find("row", f"line {line}", f"has no feature row at {at:%Y-%m-%dT%H:%M:%SZ} in the log")
        frame = frame[grounds.in_log]
        effects, others = [], []
        for column in self.receipt["columns"]:
            name, kind = column["name"], Kind(column["kind"])
            if name not in grounds.rebuilt_names(frame) or column["role"] == "own":
                continue
            agrees = column_hash(rebuilt[name], kind) == column["sha256"]
            if agrees and name not in unsound:
                continue
            lines = [int(line) for line in np.flatnonzero(differing(frame[name], rebuilt[name], kind))]
            if not lines:
                others.append(name)
                continue
            first = f"{_counted(len(lines), 'line')}, first line {lines[0]}: "
            pair = _pair(frame[name], rebuilt[name], lines[0])
            if name in unsound:
                detail = f"of {self.path.name} is not what was exported in {first}in the file {pair}"
                self._find("file", f"column {name}", detail if agrees else f"{detail}, which was not exported either")
            else:
                effects.append(_Effect(name, lines, f"{first}exported {pair}"))
        if others and not self.findings:
            detail = "has values that the log has, too, but not those exported: other lines, or in another order"
            self._find("file", f"file {self.path.name}", detail)
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

    def _compare_rows(self, grounds: Grounds, remade: Material | None) -> bool:
        """Find stored feature rows and correlations that are not what the receipt says; return whether there are."""
        if self.receipt["served"]["columns"] != list(grounds.material.rows.names):
            self.notes.append("this program reads other columns for these features: stored rows were not compared")
            return False
        values = {} if remade is None else dict(_stored_and_computed(grounds, remade))
        changes = differences(self.receipt["served"], grounds.served())
        for change in changes:
            does = []
            for name, stored, computed in values.get(change.series, ()) if change.position is not None else ():
                one, two = (float(column[change.position]) for column in (stored, computed))
                if float_bits(np.array([one])) != float_bits(np.array([two])):
                    does.append(f"{name} is stored as {one!r} and computed as {two!r}")
            told = "; ".join(does) or "its values are those of its bars: when it was stored, why, or from what"
            at = "" if change.what == UNNAMED else f" {from_us(change.at_us):%Y-%m-%dT%H:%MZ}"
            silent = change.position is None or remade is None
            self._find("row", f"{change.series}{at}", _WHAT[change.what] + ("" if silent else f"; {told}"))
        unstamped = int((grounds.read_as_of_us == np.iinfo(np.int64).min).sum())
        if unstamped:
            self.notes.append(f"{unstamped} feature rows do not say what they were computed from; taken as stored")
        return bool(changes)

    def _tell_unexplained(self, effects: Sequence[_Effect], *, stored_differ: bool) -> None:
        reasons = self._definition_changes()
        causes = [*reasons, *(["see the stored rows that differ"] if stored_differ else [])]
        why = ", and ".join(causes) or "every bar is as it was: the machine or a library computes differently"
        for one in effects:
            self._find("value", f"column {one.column}", f"differs in {one.text}; {why}")
        if not effects:
            self.notes += [f"{reason}, and the values are the same" for reason in reasons]

    def _find(self, kind: str, subject: str, detail: str) -> None:
        self.findings.append(Finding(kind, subject, detail))


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _stored_and_computed(
    grounds: Grounds, remade: Material
) -> Iterator[tuple[str, list[tuple[str, FloatArray, FloatArray]]]]:
    """Return by series of `Grounds.served` each of its columns: name, stored values, computed ones."""
    log, rows = grounds.material.rows, grounds.rows
    matrices = (log.matrix[:, rows], remade.rows.matrix[:, rows])
    yield "feature row", list(zip(log.names, *matrices, strict=True))
    for (crypto, ticker), shown in grounds.sessions.items():
        stored, computed = (one.correlations[crypto][ticker].value[shown] for one in (grounds.material, remade))
        yield correlation_name(crypto, ticker), [("it", stored, computed)]


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
