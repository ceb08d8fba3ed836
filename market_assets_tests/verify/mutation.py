"""Applying a mutant to a copy of the installed package, and running the gate against the copy in a fresh process.

Belongs here: copying, patching, starting. Run as a program it is the gate itself: it judges a few cases and exits with
3 and the first violation, or with 0.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from market_assets_tests.verify.mutants import Mutant

ROOT = Path(__file__).resolve().parents[2]
#: cases per category that a run judges at most
CASES = 12
CAUGHT, PASSED = 3, 0


def mutated(mutant: Mutant, directory: Path) -> Path:
    """Copy the installed package into `directory` and apply the mutant; return the directory to put on the path."""
    import market_assets  # noqa: PLC0415 - the program below must not import the package before its path is set

    package = directory / "market_assets"
    # Bytecode is copied with the times of its sources and stays valid.
    shutil.copytree(Path(market_assets.__file__).parent, package)
    for patch in mutant.patches:
        file = package / patch.file
        source = file.read_text(encoding="utf-8")
        found = source.count(patch.old)
        if found != 1:
            msg = f"{mutant.name!r}: {patch.old!r} occurs {found} times in {patch.file}; bring the patch up to date"
            raise AssertionError(msg)
        file.write_text(source.replace(patch.old, patch.new), encoding="utf-8")
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            compiled.unlink()
    return directory


def run_gate(path: Path, gate: str, categories: Sequence[str], cases: int = CASES) -> subprocess.CompletedProcess[str]:
    """Run the gate in a fresh process that imports `market_assets` from `path`."""
    environment = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{ROOT}", "OPENBLAS_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "market_assets_tests.verify.mutation",
        str(path),
        gate,
        str(cases),
        *categories,
    ]
    return subprocess.run(command, cwd=path, env=environment, capture_output=True, text=True, timeout=120, check=False)


def main(path: str, gate: str, cases: int, categories: Sequence[str]) -> int:
    """Judge cases of `categories` in turn until one fails."""
    import market_assets  # noqa: PLC0415

    assert Path(market_assets.__file__).is_relative_to(path), market_assets.__file__
    if gate == "store":
        from market_assets_tests.verify.store_gate import violations as judge  # noqa: PLC0415
    else:
        from market_assets_tests.verify.gates import violations as judge  # noqa: PLC0415
    for seed in range(cases):
        for category in categories:
            found = judge(seed, category)
            if found:
                sys.stdout.write(f"case {seed} of {category}: {found[0]}\n")
                return CAUGHT
    sys.stdout.write(f"{cases * len(categories)} cases, no violation\n")
    return PASSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
