"""Running a program as a process of its own and taking its measure.

Belongs here: wall time, CPU time and peak memory of one child process. Does not belong here: what is run and compared.
Only the standard library is imported: what a child is said to have used at its peak includes the moment at which it was
still a copy of this process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class ProgramFailedError(RuntimeError):
    """A measured program ended with an error; the message ends with what it printed."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process took, from its start to its end."""

    wall_seconds: float
    #: user and system time
    cpu_seconds: float
    #: largest resident set in MiB
    peak_mib: float


def run(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> tuple[Usage, str]:
    """Run `python <arguments>` to its end; return its usage and what it printed on standard output.

    Raises:
        ProgramFailedError: it did not end with 0.
    """
    with log.open("w+b") as errors:
        began = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        if child.stdout is None:
            raise ProgramFailedError("no pipe to read from")
        output = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        child.stdout.close()
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            errors.seek(0)
            told = errors.read().decode(errors="replace")[-3000:]
            raise ProgramFailedError(f"python {' '.join(arguments)} ended with {child.returncode}:\n{output}{told}")
    # ru_maxrss is in KiB on Linux and in bytes on macOS
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return Usage(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / unit), output
