"""Getting the messages out: which are due, to whom, and what becomes of those that cannot be posted.

Belongs here: claims, retries and digests. Does not belong here: how a post is made (posting.py), SQL.

A message is kept until every target has taken it. A target that fails is given up for this time and tried again after a
pause that doubles up to an hour; when it works again, what had piled up for it goes out as one digest. A poster holds a
claim on the messages while it posts, so that two posters do not post them twice. What became of a target is written
down before the next one is tried: one that dies leaves to the next poster what it had not written down, and at most one
target hears something twice.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from market_assets.alerts.evaluations import ALERT_PATH, Evaluation
from market_assets.alerts.messages import SINGLE_MESSAGES, digest
from market_assets.alerts.states import observe
from market_assets.store import AlertKey, AlertMessage, AlertState, Decision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from market_assets.alerts.posting import Posted, Poster
    from market_assets.alerts.targets import Target
    from market_assets.store import AlertBook

#: a claim lasts longer than posting takes: so long, and so much for every post
LEASE = timedelta(minutes=2)
_LONGEST_POST = timedelta(seconds=30)
_FIRST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one delivery did."""

    posts: tuple[Posted, ...] = ()
    #: messages that every target has taken now
    done: int = 0
    waiting: int = 0


def pause_after(failures: int) -> timedelta:
    """Return how long a target rests after so many failures in a row."""
    doubled: timedelta = _FIRST_PAUSE * 2 ** min(max(failures - 1, 0), 10)
    return min(doubled, _LONGEST_PAUSE)


def is_due(target: str, states: Mapping[AlertKey, AlertState], now: datetime) -> bool:
    """Whether `target` may be tried at `now`."""
    state = states.get((ALERT_PATH, target))
    return state is None or not state.failing or now >= state.evaluated_at + pause_after(state.failures)


def deliver(
    book: AlertBook, targets: Sequence[Target], poster: Poster, now: datetime, *, lease: timedelta = LEASE
) -> Delivered:
    """Post what waits to the targets that are due. Never raises for a post that fails.

    Raises:
        StoreError: the database cannot be read or written; what was posted meanwhile may be posted once more.
    """
    states = book.states()
    waiting = book.waiting()
    names = {target.name for target in targets}
    due = [target for target in targets if is_due(target.name, states, now)]
    # A message that only waits for a target which was taken out of the settings is done.
    is_left_over = any(names <= set(message.delivered) for message in waiting)
    if not is_left_over and not any(target.name not in message.delivered for target in due for message in waiting):
        return Delivered(waiting=len(waiting))
    token = uuid.uuid4().hex
    claimed = book.claim(token, lease + _LONGEST_POST * len(due) * min(len(waiting), SINGLE_MESSAGES))
    current = {message.id: replace(message, attempts=message.attempts + 1) for message in claimed}
    posts: list[Posted] = []
    for target in due:
        made = _post_to(target, current, poster, now)
        if made:
            posts += made
            book.decide(lambda states, _waiting, made=made: _observed(states, made, current, now))  # type: ignore[misc]
    current = {
        key: replace(message, done_at=now, last_error="") if names <= set(message.delivered) else message
        for key, message in current.items()
    }
    book.decide(lambda _states, _waiting: Decision(updated=list(current.values())), lease=token)
    done = sum(message.done_at is not None for message in current.values())
    return Delivered(tuple(posts), done, len(current) - done)


def _post_to(target: Target, messages: dict[str, AlertMessage], poster: Poster, now: datetime) -> list[Posted]:
    """Post to one target what it has not taken, until a post fails; note in `messages` what became of each."""
    posts = []
    for batch in _batches([message for message in messages.values() if target.name not in message.delivered]):
        posted = poster.post(target, batch[0] if len(batch) == 1 else digest(batch, now))
        posts.append(posted)
        for message in batch:
            messages[message.id] = (
                replace(message, delivered=(*message.delivered, target.name))
                if posted.ok
                else replace(message, last_error=f"{target.name}: {posted.error}")
            )
        if not posted.ok:
            break
    return posts


def _observed(
    states: Mapping[AlertKey, AlertState], posts: Sequence[Posted], messages: Mapping[str, AlertMessage], now: datetime
) -> Decision:
    changed = observe_posts(states, posts, now)
    return Decision(
        states=[state for state in changed.values() if state is not None],
        forgotten=[key for key, state in changed.items() if state is None],
        updated=list(messages.values()),
    )


def _batches(messages: list[AlertMessage]) -> list[list[AlertMessage]]:
    """Return what is posted at once: each message by itself, or all as one digest if they have piled up."""
    if len(messages) > SINGLE_MESSAGES:
        return [messages]
    return [[message] for message in messages]


def observe_posts(
    states: Mapping[AlertKey, AlertState], posts: Sequence[Posted], now: datetime
) -> dict[AlertKey, AlertState | None]:
    """Return how posts change the states of their targets: a target that took its last post works."""
    last = {post.target: post for post in posts}
    changed: dict[AlertKey, AlertState | None] = {}
    for name, post in last.items():
        evaluation = Evaluation(
            ALERT_PATH,
            name,
            passed=post.ok,
            description=post.error,
            observed="posted" if post.ok else "not posted",
            threshold="posted",
        )
        before = states.get(evaluation.key)
        after = observe(before, evaluation, now)
        if after != before:
            changed[evaluation.key] = after
    return changed
