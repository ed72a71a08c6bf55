"""What commands say on stderr beside their results: remarks, and the progress of long work on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from flexc.diagnostics import Diagnostic


def show_remark(found: Diagnostic) -> None:
    """Prints a remark on stderr."""
    # Looked up here: on a terminal, a spinner puts its own stream in stderr's place.
    print(found.render(), file=sys.stderr)


def working(what: str) -> AbstractContextManager[object]:
    """A context that shows ``what`` and a spinner while it lasts; silent in a pipe."""
    if not sys.stderr.isatty():
        return nullcontext()
    # Imported here: in a pipe the command does not pay for loading it.
    from rich.console import Console
    from rich.text import Text

    return Console(stderr=True).status(Text(what))


@contextmanager
def working_on(what: str) -> Iterator[Callable[[str], None]]:
    """As :func:`working`, for work in steps: the context is a function that says what is being done now."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.console import Console
    from rich.text import Text

    # As Text: names of files may hold what would be markup.
    with Console(stderr=True).status(Text(what)) as status:
        yield lambda step: status.update(Text(step))


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar of ``total`` steps with an estimate of the time left; the context is a function that counts one.

    Silent in a pipe.
    """
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)
