"""Pages that are written from the code are up to date."""

from __future__ import annotations

import runpy
from pathlib import Path

from market_assets.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


def test_the_features_page_is_what_the_registry_says() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "write_features_page.py"))
    assert (ROOT / "docs" / "features.md").read_text(encoding="utf-8") == script["page"]()


def test_the_configuration_page_is_what_the_settings_say() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "write_configuration.py"))
    page = script["page"]()
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == page
    for name in Settings.model_fields:
        assert page.count(f"| `{name.upper()}` |") == 1


def test_every_page_that_the_readme_links_to_exists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = {part.split(")")[0] for part in readme.split("](")[1:]}
    assert linked
    missing = [link for link in linked if not link.startswith("http") and not (ROOT / link).exists()]
    assert missing == []
