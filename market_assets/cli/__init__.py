"""The command line: `market-assets`.

Belongs here: the commands, what they print and their exit status. Does not belong here: the work they start.

Exit status: 0 done, 1 the work failed, 2 bad usage or settings, 130 interrupted.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; errors of this package become one clear line, never a traceback."""
    from market_assets.cli.app import app
    from market_assets.cli.console import errors
    from market_assets.errors import MarketAssetsError, SettingsError

    try:
        app()
    except SettingsError as error:
        errors.print(f"[bold red]Bad settings.[/] {_plain(error)}", highlight=False)
        sys.exit(2)
    except MarketAssetsError as error:
        errors.print(f"[bold red]{type(error).__name__.removesuffix('Error')}.[/] {_plain(error)}", highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        errors.print("Interrupted. What had been stored is whole; the next collection goes on from there.")
        sys.exit(130)


def _plain(error: Exception) -> str:
    from rich.markup import escape

    return escape(str(error))
