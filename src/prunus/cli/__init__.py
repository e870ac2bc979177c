"""The command line: `prunus compile`, `run`, `bench`, `inspect`, `targets`, `passes`, `doctor`.

Exit codes: 0 all is well, 1 an error that `prunus.errors` describes, 2 wrong usage.
"""

from prunus.cli.app import app, main

__all__ = ["app", "main"]
