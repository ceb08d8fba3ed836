"""The runbook has a section for everything that can be told, and so has every check that the code defines."""

from __future__ import annotations

import re
from pathlib import Path

from market_assets.alerts.policy import known_checks
from market_assets.alerts.watching import DATABASE_UNREACHABLE
from market_assets.definitions import build_definitions
from market_assets.settings import Settings

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^## (\w+)$", TEXT, re.MULTILINE)


def test_every_check_that_the_code_defines_has_a_section_and_a_policy_of_its_own() -> None:
    graph = build_definitions(settings=Settings.load()).resolve_asset_graph()
    defined = {key.name for key in graph.asset_check_keys}
    assert "bars_were_fetched" in defined
    assert defined <= set(SECTIONS), "each needs a section in docs/runbook.md"
    assert defined <= set(known_checks()), "each needs a line in alerts/policy.py"


def test_everything_that_can_be_told_has_a_section_and_nothing_else_has() -> None:
    assert sorted(SECTIONS) == sorted([*known_checks(), DATABASE_UNREACHABLE])


def test_every_section_says_what_it_means_what_to_look_at_and_what_to_do() -> None:
    for section in re.split(r"^## ", TEXT, flags=re.MULTILINE)[2:]:
        for part in ("**Means**", "**Look at**", "**Do**"):
            assert part in section, section.partition("\n")[0]


def test_every_link_within_the_runbook_leads_to_a_section() -> None:
    links = set(re.findall(r"\]\(#(\w+)\)", TEXT))
    assert links
    assert links <= set(SECTIONS)
