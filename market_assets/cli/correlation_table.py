"""The correlation analysis as tables for a person: one for each crypto reference and window.

Belongs here: columns, styles and legend. Does not belong here: measuring, formats for programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from market_assets.analysis.heatmap import between, headline, signed
from market_assets.analysis.measures import LAGS
from market_assets.analysis.verdict import Verdict
from market_assets.cli.console import escape, output, say

if TYPE_CHECKING:
    from market_assets.analysis.measures import WindowCorrelation
    from market_assets.analysis.survey import PairAnalysis, Survey
    from market_assets.analysis.verdict import Comparison

#: from here on there is room for every column
_WIDE = 118
_STYLES = {
    Verdict.HOLDS: "green",
    Verdict.WEAKER: "yellow",
    Verdict.STRONGER: "yellow",
    Verdict.OPPOSITE: "yellow",
    Verdict.NOT_MEASURED: "dim",
}


def print_survey(found: Survey, source: str | None, threshold: float) -> None:
    """Print the tables; values of `threshold` and above stand out."""
    wide = output.width >= _WIDE
    for crypto in found.cryptos:
        for position, window in enumerate(found.windows):
            title = f"{crypto}, {window} {found.unit()}s"
            held, judged = found.tally(crypto, window)
            told = f": {held} of {judged} documented values hold" if judged else ""
            say(f"[bold]{title}[/]{told}")
            output.print(_table(found.of(crypto), position, threshold, wide=wide))
            say()
    say(escape(headline(found)) + f" Source: {source or 'none yet'}.")
    say(
        "Measured: Pearson, with its 95 % interval by moving-block bootstrap; rank: Spearman. Lag k: the ticker's "
        f"return with crypto's k {found.unit()}s later, so that positive lags mean the ticker leads; dim where as many "
        "unrelated returns give as much. A documented value holds if it has the measured sign and lies inside the "
        "interval: it is not contradicted, and a wide interval contradicts little. About zero: the interval contains "
        f"zero. Bold: {threshold:g} or more either way."
    )
    if any(window.approximate_pairs for pair in found.pairs for window in pair.windows):
        say("Pairs after a ~: how many of them take crypto's UTC-daily close, where no bar at the ticker's close is.")


def _table(pairs: tuple[PairAnalysis, ...], position: int, threshold: float, *, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("ticker", no_wrap=True)
    for title in ("said", "measured", "95 % interval", "rank"):
        table.add_column("documented" if wide and title == "said" else title, justify="right", no_wrap=True)
    if wide:
        for lag in LAGS:
            if lag:
                table.add_column(f"lag {lag:+d}", justify="right", no_wrap=True)
        table.add_column("pairs", justify="right", no_wrap=True)
    else:
        table.add_column("best lag", justify="right", no_wrap=True)
    table.add_column("the documented value is" if wide else "verdict", no_wrap=not wide)
    for pair in pairs:
        table.add_row(*_row(pair, position, threshold, wide=wide))
    return table


def _row(pair: PairAnalysis, position: int, threshold: float, *, wide: bool) -> list[str | Text]:
    one, comparison = pair.windows[position], pair.comparisons[position]
    row: list[str | Text] = [pair.ticker.name, _blank(comparison.documented)]
    if one.correlation is None:
        row += [Text("none", "yellow"), "", ""]
    else:
        row.append(Text(signed(one.correlation), "bold" if abs(one.correlation) >= threshold else ""))
        row += [between(one) or Text(one.interval_reason or "", "yellow"), _blank(one.rank)]
    if wide:
        row += [_lag(one, lag.correlation) for lag in one.lead_lag if lag.lag]
        row.append(str(one.pairs) + (f" ~{one.approximate_pairs}" if one.approximate_pairs else ""))
    else:
        row.append(_best_lag(one))
    row.append(_verdict(one, comparison, wide=wide))
    return row


def _verdict(one: WindowCorrelation, comparison: Comparison, *, wide: bool) -> Text:
    if one.correlation is None:
        return Text((one.reason or "") if wide else f"{one.pairs} of {one.window} pairs", "yellow")
    if comparison.verdict is Verdict.UNDOCUMENTED:
        return Text("")
    return Text(comparison.words if wide else comparison.verdict.value, _STYLES[comparison.verdict])


def _lag(one: WindowCorrelation, value: float | None) -> Text:
    noise = one.noise
    return Text(_blank(value), "dim" if value is None or noise is None or abs(value) < noise else "")


def _best_lag(one: WindowCorrelation) -> Text:
    """Return the strongest correlation with one side moved, where it is above the noise."""
    moved = [(abs(lag.correlation), lag) for lag in one.lead_lag if lag.lag and lag.correlation is not None]
    if not moved or one.noise is None:
        return Text("")
    size, best = max(moved, key=lambda one: one[0])
    return Text("none", "dim") if size < one.noise else Text(f"{best.lag:+d}: {signed(best.correlation)}")


def _blank(value: float | None) -> str:
    return "" if value is None else signed(value)
