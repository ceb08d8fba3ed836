"""What is open, what people were told of it, and the messages on their way to them.

Belongs here: reading and writing the two tables of alerts, each decision in one transaction. Does not belong here: what
is worth an alert, posting (`alerts/`).

Every decision holds one row's lock: two processes that look at the same trouble at once tell it once.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from market_assets.store.tables import ALERT_OUTBOX, ALERT_STATES, NAME_LENGTH, REASON_LENGTH
from market_assets.store.types import EPOCH, to_micros

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    from market_assets.store.connect import Database
    from market_assets.store.frames import Arrays
    from market_assets.store.schema import Schema

#: (check, asset)
AlertKey = tuple[str, str]
#: in the place of a check's name: a row of bookkeeping
NO_CHECK = "-"
#: the row that decisions lock, and whose `evaluated_at` says when alerts were last looked at
LOOKED_AT: AlertKey = (NO_CHECK, "looked_at")
#: a line for the next message, never posted by itself
NOTE = "note"


@dataclass(frozen=True, slots=True)
class AlertState:
    """One check of one asset that fails, or that people were told of not long ago. Instants are UTC."""

    check: str
    asset: str
    failing: bool
    #: `error` or `warn`, of the newest failure
    severity: str
    #: evaluations in a row that failed
    failures: int
    #: when it began to fail, or to be well again
    since: datetime
    evaluated_at: datetime
    #: run of the newest evaluation, empty if it was none
    run_id: str = ""
    #: stable class of the failure, such as `rate_limited`; empty if there is none
    cause: str = ""
    observed: str = ""
    threshold: str = ""
    detail: str = ""
    #: what people believe: `error` or `warn` since they were told, empty if they take it for well
    told: str = ""
    #: when they were last told anything of it
    told_at: datetime | None = None
    #: since when what they were told of had been failing
    told_since: datetime | None = None
    #: the worst severity they were told within memory
    loudest: str = ""
    #: failures that came and were not told, since `told_at`
    flaps: int = 0
    #: how often in a row it was told of as flapping
    level: int = 0

    @property
    def key(self) -> AlertKey:
        """The state's key."""
        return (self.check, self.asset)


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """One message. `done_at` is None until every target has taken it."""

    kind: str
    #: `error`, `warn`, `ok` or `info`
    severity: str
    title: str
    body: str
    created_at: datetime
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    done_at: datetime | None = None
    #: names of the targets that took it
    delivered: tuple[str, ...] = ()
    attempts: int = 0
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one transaction writes."""

    states: Sequence[AlertState] = ()
    forgotten: Sequence[AlertKey] = ()
    #: new ones; one whose id is there already is not written again
    messages: Sequence[AlertMessage] = ()
    #: messages as they are now: delivered to more targets, done, or failed once more
    updated: Sequence[AlertMessage] = ()
    #: when the states were looked at; None leaves that as it was
    looked_at: datetime | None = None
    #: done messages from before this instant are deleted
    prune_before: datetime | None = None


class AlertBook:
    """Reads and writes the tables of alerts."""

    def __init__(self, database: Database, schema: Schema) -> None:
        """Stand on an open database."""
        self._database = database
        self._states = schema.plain(ALERT_STATES)
        self._outbox = schema.plain(ALERT_OUTBOX)

    def decide(
        self, work: Callable[[Mapping[AlertKey, AlertState], Sequence[AlertMessage]], Decision], lease: str = ""
    ) -> Decision:
        """Let `work` decide on all states and all messages that are not done, and write its decision.

        Among the states are rows of bookkeeping, whose check is NO_CHECK.

        One transaction, which no other decision can overlap; `work` runs again if the transaction lost a race, so it
        must be pure. `lease` is given back with it.
        """

        def transact(connection: sa.Connection) -> Decision:
            self._lock(connection)
            decision = work(self._read_states(connection), self._read_messages(connection, done=False))
            self._write(connection, decision)
            if lease:
                freed = sa.update(self._outbox).where(self._outbox.columns.lease == lease)
                connection.execute(freed.values(lease=None, leased_until=None))
            return decision

        return self._database.write(transact)

    def claim(self, lease: str, length: timedelta) -> list[AlertMessage]:
        """Return the messages that are not done, oldest first, and keep them from other posters for `length`.

        What another poster holds is left out. A poster that dies loses its claim when `length` is over, by the
        database's clock.
        """

        def transact(connection: sa.Connection) -> list[AlertMessage]:
            self._lock(connection)
            now = self._database.backend.now(connection)
            at = self._outbox.columns
            free = sa.and_(
                at.done_at.is_(None), at.kind != NOTE, sa.or_(at.leased_until.is_(None), at.leased_until <= now)
            )
            connection.execute(sa.update(self._outbox).where(free).values(lease=lease, leased_until=now + length))
            return self._read_messages(connection, at.lease == lease, done=False)

        return self._database.write(transact)

    def states(self) -> dict[AlertKey, AlertState]:
        """Return the state of every check that has one."""
        with self._database.reading() as connection:
            return {key: state for key, state in self._read_states(connection).items() if key[0] != NO_CHECK}

    def looked_at(self) -> datetime | None:
        """Return when alerts were last looked at, None if never."""
        return self.noted_at(LOOKED_AT)

    def noted_at(self, key: AlertKey) -> datetime | None:
        """Return the instant of a row of bookkeeping, None if there is none."""
        at = self._states.columns
        query = sa.select(at.evaluated_at).where(at.check_name == key[0], at.asset == key[1])
        with self._database.reading() as connection:
            found: datetime | None = connection.execute(query).scalar_one_or_none()
        return None if found == EPOCH else found

    def waiting(self) -> list[AlertMessage]:
        """Return the messages, notes left out, that are not done, oldest first."""
        with self._database.reading() as connection:
            return self._read_messages(connection, self._outbox.columns.kind != NOTE, done=False)

    def last_messages(self, count: int) -> list[AlertMessage]:
        """Return the `count` newest messages, notes among them, newest first."""
        at = self._outbox.columns
        query = sa.select(self._outbox).order_by(at.created_at.desc(), at.id).limit(count)
        with self._database.reading() as connection:
            return [_message(row) for row in connection.execute(query).mappings()]

    def _lock(self, connection: sa.Connection) -> None:
        """Take the row lock; the row is put in by whoever comes first."""
        first = AlertState(*LOOKED_AT, failing=False, severity="", failures=0, since=EPOCH, evaluated_at=EPOCH)
        self._database.backend.upsert(connection, self._states, _arrays(first), overwrite=False)
        at = self._states.columns
        mine = sa.select(at.evaluated_at).where(at.check_name == LOOKED_AT[0], at.asset == LOOKED_AT[1])
        connection.execute(mine.with_for_update()).one()

    def _read_states(self, connection: sa.Connection) -> dict[AlertKey, AlertState]:
        rows = connection.execute(sa.select(self._states)).mappings().all()
        states = (AlertState(**{"check" if name == "check_name" else name: row[name] for name in row}) for row in rows)
        return {state.key: state for state in states if state.key != LOOKED_AT}

    def _read_messages(
        self, connection: sa.Connection, *where: sa.ColumnElement[bool], done: bool
    ) -> list[AlertMessage]:
        at = self._outbox.columns
        ended = at.done_at.is_not(None) if done else at.done_at.is_(None)
        query = sa.select(self._outbox).where(ended, *where).order_by(at.created_at, at.id)
        return [_message(row) for row in connection.execute(query).mappings()]

    def _write(self, connection: sa.Connection, decision: Decision) -> None:
        at = self._states.columns
        for check, asset in (*decision.forgotten, *(state.key for state in decision.states)):
            connection.execute(sa.delete(self._states).where(at.check_name == check, at.asset == asset))
        if decision.states:
            connection.execute(sa.insert(self._states), [_state_row(state) for state in decision.states])
        if decision.messages:
            ids = self._outbox.columns.id
            known = set(connection.scalars(sa.select(ids).where(ids.in_([one.id for one in decision.messages]))))
            fresh = [_message_row(one) for one in decision.messages if one.id not in known]
            if fresh:
                connection.execute(sa.insert(self._outbox), fresh)
        for message in decision.updated:
            changed = sa.update(self._outbox).where(self._outbox.columns.id == message.id)
            connection.execute(changed.values(**_message_row(message)))
        if decision.looked_at is not None:
            looked = sa.update(self._states).where(at.check_name == LOOKED_AT[0], at.asset == LOOKED_AT[1])
            connection.execute(looked.values(evaluated_at=decision.looked_at))
        if decision.prune_before is not None:
            old = sa.and_(
                self._outbox.columns.done_at.is_not(None), self._outbox.columns.created_at < decision.prune_before
            )
            connection.execute(sa.delete(self._outbox).where(old))


def _state_row(state: AlertState) -> dict[str, Any]:
    row = asdict(state)
    row["check_name"] = row.pop("check")
    for name in ("run_id", "cause"):
        row[name] = row[name][:NAME_LENGTH]
    for name in ("observed", "threshold", "detail"):
        row[name] = row[name][:REASON_LENGTH]
    return row


def _message_row(message: AlertMessage) -> dict[str, Any]:
    row = asdict(message)
    row |= {
        "title": message.title[:REASON_LENGTH],
        "delivered": json.dumps(message.delivered),
        "last_error": message.last_error[:REASON_LENGTH],
    }
    return row


def _message(row: sa.RowMapping) -> AlertMessage:
    return AlertMessage(
        id=row["id"],
        kind=row["kind"],
        severity=row["severity"],
        title=row["title"],
        body=row["body"] or "",
        created_at=row["created_at"],
        done_at=row["done_at"],
        delivered=tuple(json.loads(row["delivered"] or "[]")),
        attempts=row["attempts"],
        last_error=row["last_error"] or "",
    )


def _arrays(state: AlertState) -> Arrays:
    """Return one state as arrays, for the backends' upsert; instants that are None are left out."""
    arrays: Arrays = {}
    for name, value in _state_row(state).items():
        if value is None:
            continue
        if isinstance(value, str):
            arrays[name] = np.array([value], dtype=object)
        elif isinstance(value, (bool, int)):
            arrays[name] = np.array([value])
        else:
            arrays[name] = np.array([to_micros(value)], dtype=np.int64)
    return arrays
