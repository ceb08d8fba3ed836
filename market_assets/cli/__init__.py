"""The command line: `market-assets`.

Belongs here: the commands, what they print and their exit status. Does not belong here: the work they start.

Exit status: 0 done; 1 the work failed or, for `status` and `doctor`, something is wrong; 2 bad usage or settings;
130 interrupted by Ctrl-C or SIGTERM. Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Run the command line; what can be expected to go wrong becomes one clear sentence, never a traceback."""
    # Nearly all that a short command allocates are modules: looking for garbage among them is a fifth of its time.
    gc.disable()
    from market_assets.cli.interrupts import INTERRUPTED, Interrupted, leave, raise_on_signals

    try:
        raise_on_signals()
        status = _run()
    except Interrupted as stopped:
        sys.stderr.write(f"\nInterrupted. {stopped}".rstrip() + "\n")
        status = INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough (`... | head`). Python would try to flush it once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    leave(status)


def _run() -> int:
    for stream in (sys.stdout, sys.stderr):
        # A terminal that does not speak UTF-8 gets question marks instead of a traceback.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    from market_assets.cli.app import app
    from market_assets.cli.failures import tell_failure
    from market_assets.errors import MarketAssetsError

    try:
        app()
    except SystemExit as done:
        sys.stdout.flush()
        return done.code if isinstance(done.code, int) else 0
    except MarketAssetsError as error:
        return tell_failure(error)
    return 0
