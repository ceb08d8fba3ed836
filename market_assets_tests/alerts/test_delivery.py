"""No message is lost, whatever happens to posts and posters; and none is posted twice unless a poster died."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market_assets.alerts.delivery import deliver, pause_after
from market_assets.alerts.messages import SINGLE_MESSAGES
from market_assets.alerts.posting import Posted
from market_assets.alerts.targets import Target, targets_of
from market_assets.settings import Settings
from market_assets.store import AlertMessage, Decision, Store
from market_assets_tests.alerts.conftest import NOW, TWO

if TYPE_CHECKING:
    from datetime import datetime

NAMES = ("json", "xml")


class _DiedError(Exception):
    """The process that posted was killed."""


class Flaky:
    """Posts as it is told: ok, refused, or dead before or after the target has taken the message."""

    def __init__(self) -> None:
        self.plan = dict.fromkeys(NAMES, "ok")
        self.bodies: dict[str, list[str]] = {name: [] for name in NAMES}
        self.died = 0

    def post(self, target: Target, message: AlertMessage) -> Posted:
        what = self.plan[target.name]
        if what == "refused":
            return Posted(target.name, "error=500")
        if what == "dies before":
            self.died += 1
            raise _DiedError
        self.bodies[target.name].append(f"{message.title}\n{message.body}")
        if what == "dies after":
            self.died += 1
            raise _DiedError
        return Posted(target.name)


_PLANS = st.lists(
    st.tuples(
        st.integers(min_value=0, max_value=2),
        st.sampled_from(["ok", "refused", "dies before", "dies after"]),
        st.sampled_from(["ok", "refused", "dies before", "dies after"]),
        st.integers(min_value=0, max_value=90),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_PLANS)
def test_every_message_reaches_every_target(migrated_file: Path, plan: list[tuple[int, str, str, int]]) -> None:
    targets = targets_of(Settings.load(alert_urls=TWO))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "market.db"
        shutil.copy(migrated_file, path)
        store = Store.connect(f"sqlite:///{path}")
        flaky, now, made = Flaky(), NOW, 0

        def step(new: int, first: str, second: str, minutes: int, now: datetime) -> datetime:
            nonlocal made
            messages = [
                AlertMessage("alert", "error", f"<{made + number}>", "text", now + timedelta(seconds=number))
                for number in range(new)
            ]
            made += new
            store.alerts.decide(lambda _states, _waiting: Decision(messages=messages))
            flaky.plan = {"json": first, "xml": second}
            with suppress(_DiedError):
                # the claim of a poster that died is over at once
                deliver(store.alerts, targets, flaky, now, lease=timedelta(minutes=-5))
            return now + timedelta(minutes=minutes)

        for new, first, second, minutes in plan:
            now = step(new, first, second, minutes, now)
        for _ in range(2):
            now = step(0, "ok", "ok", 61, now)
        assert store.alerts.waiting() == []
        for name in NAMES:
            posts = "\n".join(flaky.bodies[name])
            for number in range(made):
                # a digest of very many names the first and the last ones
                told = posts.count(f"<{number}>")
                assert told >= 1 or "..." in posts, (name, number)
                if not flaky.died:
                    assert told <= 1, (name, number)
        store.close()


def test_a_target_that_took_a_message_does_not_get_it_again_when_the_poster_dies_at_the_next_one(store: Store) -> None:
    targets = targets_of(Settings.load(alert_urls=TWO))
    store.alerts.decide(lambda _states, _waiting: Decision(messages=[AlertMessage("alert", "warn", "<0>", "", NOW)]))
    flaky = Flaky()
    flaky.plan["xml"] = "dies before"
    with suppress(_DiedError):
        deliver(store.alerts, targets, flaky, NOW, lease=timedelta(minutes=-5))
    flaky.plan["xml"] = "ok"
    assert deliver(store.alerts, targets, flaky, NOW).done == 1
    assert {name: len(bodies) for name, bodies in flaky.bodies.items()} == {"json": 1, "xml": 1}


def test_a_target_rests_longer_and_longer_up_to_an_hour() -> None:
    minutes = [pause_after(failures).total_seconds() / 60 for failures in (1, 2, 3, 4, 5, 6, 7, 8, 1000)]
    assert minutes == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_few_messages_are_posted_one_by_one_in_order_and_more_as_one(store: Store) -> None:
    targets = targets_of(Settings.load(alert_urls="json://one.example.com/"))
    flaky = Flaky()
    for count in (SINGLE_MESSAGES, SINGLE_MESSAGES + 1):
        messages = [
            AlertMessage("alert", "warn", f"<{number}>", "", NOW + timedelta(seconds=number)) for number in range(count)
        ]
        store.alerts.decide(lambda _states, _waiting, made=messages: Decision(messages=made))  # type: ignore[misc]
        deliver(store.alerts, targets, flaky, NOW)
    titles = [body.partition("\n")[0] for body in flaky.bodies["json"]]
    assert titles == ["<0>", "<1>", "<2>", "Market collector: 4 messages that could not be posted before"]


def test_a_poster_that_died_keeps_its_claim_until_it_is_over(store: Store) -> None:
    targets = targets_of(Settings.load(alert_urls="json://one.example.com/"))
    store.alerts.decide(lambda _states, _waiting: Decision(messages=[AlertMessage("alert", "warn", "<0>", "", NOW)]))
    flaky = Flaky()
    flaky.plan["json"] = "dies before"
    try:
        deliver(store.alerts, targets, flaky, NOW)
    except _DiedError:
        flaky.plan["json"] = "ok"
    assert deliver(store.alerts, targets, flaky, NOW).posts == ()
    assert len(store.alerts.waiting()) == 1
