"""Progress of long work on stderr: shown on a terminal, silent in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext


def working(what: str) -> AbstractContextManager[object]:
    """A context that shows ``what`` and a spinner while it lasts."""
    if not sys.stderr.isatty():
        return nullcontext()
    # Imported here: in a pipe the command does not pay for loading it.
    from rich.console import Console

    return Console(stderr=True).status(what)


@contextmanager
def working_on(what: str) -> Iterator[Callable[[str], None]]:
    """As :func:`working`, for work in steps: the context is a function that says what is being done now."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.console import Console

    with Console(stderr=True).status(what) as status:
        yield status.update
