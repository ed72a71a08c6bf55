"""Progress of long work on stderr: shown on a terminal, silent in a pipe."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext


def working(what: str) -> AbstractContextManager[object]:
    """A context that shows ``what`` and a spinner while it lasts."""
    if not sys.stderr.isatty():
        return nullcontext()
    # Imported here: in a pipe the command does not pay for loading it.
    from rich.console import Console

    return Console(stderr=True).status(what)
