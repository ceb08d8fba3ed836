"""Ctrl-C and SIGTERM, alike: how a command ends when it is told to.

Belongs here: signals, and work that a signal must be able to end at any moment. Does not belong here: how a collection
stops (`stopping.py`).

An exception that a signal handler raises can be swallowed anywhere (in a destructor, in code that catches everything),
and Dagster swaps the handlers while it runs a job. So long work runs in a thread of its own, where no signal ever
arrives: the main thread waits for it, asks it to stop, and leaves without it if it does not.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from market_assets.stopping import Stop

_Result = TypeVar("_Result")

INTERRUPTED = 130
#: seconds that stopping work has to reach its next checkpoint and to write down how far it came
_PATIENCE = 2.0
#: seconds in which work that is just beginning would have begun
_MOMENT = 0.2


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived.

    Neither an Exception nor a KeyboardInterrupt, which Typer would answer in its own way. The message, if any, says
    what became of the work.
    """


class _State:
    """Whether a signal has come; survives when the exception is swallowed."""

    arrived = False
    #: a thread was left behind: the interpreter must not wait for it, nor take its modules away under it
    abandoned = False


def raise_on_signals() -> None:
    """Let SIGINT and SIGTERM raise Interrupted in the main thread, unless whoever started us had them ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def run_stoppable(work: Callable[[], _Result], stop: Stop, message: str) -> _Result:
    """Return the result of `work`, run in a thread; raise its error, or Interrupted(message) once a signal came.

    After a signal `work` is asked to stop and has two seconds. A second signal ends the process at once.
    """
    outcome: list[_Result | BaseException] = []
    # Not Thread.join: when a signal handler raises in it, Python 3.11 takes the thread for ended (bpo-45274).
    done = threading.Event()

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the main thread
            outcome.append(error)
        finally:
            done.set()

    if _State.arrived:
        # The exception was lost on its way.
        raise Interrupted
    thread = threading.Thread(target=run, name="work", daemon=True)
    _State.abandoned = True
    try:
        thread.start()
        done.wait()
    except Interrupted:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        stop.request()
        # Imports and the like may be dropped as they are.
        _State.abandoned = not done.wait(_MOMENT) and not (stop.concerns_anyone and done.wait(_PATIENCE))
        raise Interrupted(message) from None
    _State.abandoned = False
    result = outcome[0]
    if isinstance(result, BaseException):
        raise result
    return result


def collect_garbage() -> None:
    """Look for garbage from now on, but not among what was imported: for a command that goes on for long."""
    gc.freeze()
    gc.enable()


def leave(status: int) -> NoReturn:
    """End the process with `status`; without its usual clearing up if a thread was left behind."""
    sys.stdout.flush()
    sys.stderr.flush()
    if _State.abandoned:
        os._exit(status)
    sys.exit(status)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    _State.arrived = True
    raise Interrupted
