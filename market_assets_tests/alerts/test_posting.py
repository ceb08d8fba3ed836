"""Real posts to a webhook and to a mail server, and what nobody may ever read: the URLs."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from market_assets.alerts.heartbeat import ping
from market_assets.alerts.posting import ApprisePoster, unusable
from market_assets.alerts.targets import Masker, Target, targets_of
from market_assets.errors import SettingsError
from market_assets.settings import Settings
from market_assets.store import AlertMessage
from market_assets_tests.alerts.receivers import mail_server, webhook

NOW = datetime(2026, 3, 2, 14, 2, tzinfo=UTC)
BODY = "ERROR bars_were_fetched broke: TLT & <b>QQQ</b>\nobserved 2, threshold 0"
MESSAGE = AlertMessage("alert", "error", "Market collector: ERROR bars_were_fetched broke: TLT", BODY, NOW)
SECRETS = ("hunter2", "tok3n-of-the-path", "s3cr3t-of-the-query", "B0TT0KEN", "user-name")


def posted(urls: str, message: AlertMessage = MESSAGE) -> list[str]:
    settings = Settings.load(alert_urls=urls)
    poster = ApprisePoster(Masker.of(settings))
    return [poster.post(target, message).error for target in targets_of(settings)]


def test_a_webhook_gets_title_text_and_severity() -> None:
    with webhook() as hook:
        assert posted(f"json://127.0.0.1:{hook.port}/hook") == [""]
    [post] = hook.posts
    assert (post["title"], post["message"], post["type"]) == (MESSAGE.title, BODY, "failure")


def test_a_mail_server_gets_the_same_message_readable_as_it_was_written() -> None:
    with mail_server() as (port, mails):
        url = f"mailto://127.0.0.1:{port}?from=collector@example.com&to=oncall@example.com,second@example.com"
        assert posted(url) == [""]
    assert sorted(str(mail["to"]) for mail in mails) == ["oncall@example.com", "second@example.com"]
    for mail in mails:
        assert mail["subject"] == MESSAGE.title
        part = mail.get_body(("plain", "html"))
        assert part is not None
        text = str(part.get_content())
        assert "&lt;b&gt;QQQ" in text or "<b>QQQ</b>" in text
        assert "threshold 0" in text


def test_a_message_without_a_body_is_posted_with_its_title_as_text() -> None:
    with webhook() as hook:
        posted(f"json://127.0.0.1:{hook.port}/", AlertMessage("alert", "ok", "all is well", "", NOW))
    assert hook.posts[0]["message"] == "all is well"
    assert hook.posts[0]["type"] == "success"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("json://a/x", ["json"]),
        ("json://a/x,json://b/y", ["json", "json#2"]),
        ("json://a/x  slack://T/B/c\n json://b/y;mailto://c", ["json", "slack", "json#2", "mailto"]),
        (" mailto://u:p@host?to=a@x.com,b@x.com, json://b/ ,", ["mailto", "json"]),
        ("discord://1/2?format=a,b,c", ["discord"]),
        ("  ", []),
    ],
)
def test_alert_urls_are_separated_by_spaces_or_commas_and_may_hold_commas(text: str, names: list[str]) -> None:
    settings = Settings.load(alert_urls=text)
    assert [target.name for target in targets_of(settings)] == names


def test_a_comma_within_a_url_stays_in_it() -> None:
    settings = Settings.load(alert_urls="mailto://u:p@host?to=a@x.com,b@x.com json://b/")
    assert [url.get_secret_value() for url in settings.alert_url_list] == [
        "mailto://u:p@host?to=a@x.com,b@x.com",
        "json://b/",
    ]


@pytest.mark.parametrize("text", ["hunter2", "json://a/ hunter2", "json://hunter2 b", "mailto//user:hunter2@host"])
def test_an_entry_that_is_no_url_is_refused_by_its_number_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("ALERT_URLS", text)
    with pytest.raises(SettingsError, match=r"ALERT_URLS has an entry, number 1, that is no URL") as refused:
        Settings.load()
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HEARTBEAT_URL", "hunter2", "is no HTTP URL"),
        ("HEARTBEAT_URL", "ftp://hunter2/x", "is no HTTP URL"),
        ("DAGSTER_UI_URL", "dagster.example.com", "must be the root of Dagster's UI"),
        ("DAGSTER_UI_URL", "https://user:x@dagster.example.com", "must not carry credentials"),
        ("ALERT_HEARTBEAT_HOUR", "24", "less than or equal to 23"),
        ("ALERT_COOLDOWN_MINUTES", "-1", "greater than or equal to 0"),
        ("RUNBOOK_URL", "a b", "RUNBOOK_URL"),
    ],
)
def test_other_bad_settings_are_named_too(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name) as refused:
        Settings.load()
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_an_entry_that_apprise_does_not_know_fails_without_being_shown() -> None:
    assert posted("nosuchservice://hunter2/token") == ["Apprise can make nothing of its entry in ALERT_URLS"]
    assert unusable(Target("slack", SecretStr("slack://hunter2")))
    assert not unusable(Target("json", SecretStr("json://localhost/")))


@pytest.mark.parametrize(
    "url",
    [
        "json://user-name:hunter2@127.0.0.1:{port}/tok3n-of-the-path?:key=s3cr3t-of-the-query",
        "json://user-name:hunter2@127.0.0.1:1/tok3n-of-the-path?-key=s3cr3t-of-the-query",
        "json://B0TT0KEN.invalid/tok3n-of-the-path",
        "mailto://user-name:hunter2@example.com:1?smtp=127.0.0.1&to=oncall@example.com&name=s3cr3t-of-the-query",
        "slack://B0TT0KEN/hunter2",
        "tgram://B0TT0KEN/hunter2",
    ],
)
def test_no_part_of_a_url_appears_in_errors_logs_or_settings(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with webhook() as hook:
        hook.status = 500
        settings = Settings.load(alert_urls=url.format(port=hook.port))
        poster = ApprisePoster(Masker.of(settings))
        with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "apprise"):
            [error] = [poster.post(target, MESSAGE).error for target in targets_of(settings)]
    assert error
    shown = "\n".join([error, repr(poster), repr(settings), str(targets_of(settings)), caplog.text])
    for secret in SECRETS:
        assert secret not in shown
        assert secret.lower() not in shown
    if "{port}" in url and url.startswith("json"):
        # the libraries below still log, with the path masked
        assert '"POST /***' in caplog.text
        assert "error=500" in error


def test_the_dead_mans_switch_is_fetched_and_its_url_never_told(caplog: pytest.LogCaptureFixture) -> None:
    with webhook() as hook, caplog.at_level(logging.DEBUG):
        url = SecretStr(f"http://127.0.0.1:{hook.port}/ping/hunter2-and-more")
        assert ping(url)
        hook.status = 404
        assert not ping(url)
    assert hook.gets == ["/ping/hunter2-and-more"] * 2
    assert not ping(SecretStr("http://127.0.0.1:1/hunter2-and-more"))
    assert not ping(SecretStr("http://hunter2-and-more.invalid/"))
    assert "HEARTBEAT_URL did not answer: HTTPError: HTTP Error 404" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_dead_mans_switch_that_does_not_speak_http_did_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    with mail_server() as (port, _):
        assert not ping(SecretStr(f"http://127.0.0.1:{port}/hunter2"), timeout=2.0)
    assert "HEARTBEAT_URL did not answer: BadStatusLine" in caplog.text
    assert "hunter2" not in caplog.text
