"""What a pass is: a frozen dataclass whose fields are its options, and one method that rewrites a graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

from flexc.ir.program import Graph


@dataclass(frozen=True)
class Pass(ABC):
    """A rewriting of a graph, in place.

    The pass ``some-name`` is the class of :mod:`flexc.passes.some_name` with that ``name``. Options are of
    type str, int, float, bool or a StrEnum, may be None by default, and have defaults, so that the name alone
    is a pass.
    """

    name: ClassVar[str]

    @abstractmethod
    def run(self, graph: Graph) -> bool:
        """Rewrites ``graph``; whether its IR has changed (weights dropped from the store do not count).

        Raises CompileError for what the user can mend; any other exception is a bug of the pass.
        """

    def __str__(self) -> str:
        """The pass as pipeline text: ``name``, or ``name{option=value ...}`` with what is not default."""
        options = [
            f"{field.name.replace('_', '-')}={option_text(getattr(self, field.name))}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return self.name + (f"{{{' '.join(options)}}}" if options else "")


def option_text(value: object) -> str:
    """An option's value as pipeline text; strings are quoted where they hold more than a word."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if text and all(character.isalnum() or character in "_-.+/" for character in text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
