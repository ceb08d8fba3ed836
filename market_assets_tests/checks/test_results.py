"""From verdicts to Dagster's results."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from market_assets.checks.results import check_events
from market_assets.checks.verdict import Markdown, Severity, Verdict, offenders

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = dg.AssetKey(["ticker", "QQQ"])


class Record:
    """Keeps what a collection would have in its record."""

    def __init__(self) -> None:
        self.failures: dict[str, str | None] = {}

    def note_check(self, name: str, failure: str | None) -> None:
        self.failures[name] = failure


def evaluated(evaluate: Callable[[], Verdict], record: Record | None = None) -> dg.AssetCheckEvaluation:
    """Return the evaluation of a check; it comes behind the output that stands for it in the step."""
    output, evaluation = check_events(record or Record(), KEY, "a_check", evaluate)
    assert isinstance(output, dg.Output)
    assert output.output_name == "ticker__QQQ_a_check"
    assert isinstance(evaluation, dg.AssetCheckEvaluation)
    assert (evaluation.asset_key, evaluation.check_name) == (KEY, "a_check")
    return evaluation


@pytest.mark.parametrize(
    ("severity", "expected"),
    [(Severity.ERROR, dg.AssetCheckSeverity.ERROR), (Severity.WARN, dg.AssetCheckSeverity.WARN)],
)
def test_a_verdict_keeps_its_severity_and_its_metadata(severity: Severity, expected: dg.AssetCheckSeverity) -> None:
    verdict = Verdict(
        passed=False, severity=severity, description="so", metadata={"observed": 1, "table": Markdown("| a |")}
    )
    record = Record()
    result = evaluated(lambda: verdict, record)
    assert (result.passed, result.severity, result.description) == (False, expected, "so")
    assert record.failures == {"ticker/QQQ a_check": f"{severity}: so"}
    assert result.metadata == {
        "observed": dg.MetadataValue.int(1),
        "table": dg.MetadataValue.md("| a |"),
        "judged": dg.MetadataValue.bool(True),
    }


def test_a_check_that_was_not_judged_passes_as_a_warning_and_says_so() -> None:
    record = Record()
    result = evaluated(lambda: Verdict.not_judged("nothing there"), record)
    assert result.passed
    assert record.failures == {"ticker/QQQ a_check": None}
    assert result.severity is dg.AssetCheckSeverity.WARN
    assert result.description == "not judged: nothing there"
    assert result.metadata["judged"] == dg.MetadataValue.bool(False)


def test_a_check_that_raises_has_failed_loudly_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Verdict:
        raise ZeroDivisionError("no")

    with caplog.at_level(logging.ERROR):
        result = evaluated(broken)
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert result.description == "could not be evaluated: ZeroDivisionError: no"
    assert result.metadata["judged"] == dg.MetadataValue.bool(False)
    assert "Traceback" in caplog.text


def test_a_run_that_is_to_stop_is_not_held_up_by_a_check() -> None:
    def stopped() -> Verdict:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(check_events(Record(), KEY, "a_check", stopped))


def test_offenders_are_few_and_counted() -> None:
    assert offenders([]) == "none"
    assert offenders(["a", "b"]) == "a; b"
    assert offenders(list("abcdefg")) == "a; b; c; d; e; and 2 more"
