"""Collecting every problem of a model, so that one run reports them all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flexc.diagnostics import CompileError, Diagnostic


class Problems:
    """The diagnostics found so far; the same one is kept once."""

    def __init__(self) -> None:
        self._found: dict[Diagnostic, None] = {}

    def add(self, failure: CompileError) -> None:
        """Keeps the diagnostics of a failure."""
        self._found.update(dict.fromkeys(failure.diagnostics))

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Runs a block whose CompileError is kept instead of raised."""
        try:
            yield
        except CompileError as failure:
            self.add(failure)

    def __bool__(self) -> bool:
        return bool(self._found)

    def raise_any(self) -> None:
        """CompileError of all that was kept; nothing if that is nothing."""
        if self._found:
            raise CompileError(self._found)
