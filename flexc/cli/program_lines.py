"""What commands print of a program's inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

from flexc.diagnostics import printable
from flexc.program import Program
from flexc.tensor_spec import TensorSpec


def described(program: Program, specs: Iterable[TensorSpec], kind: str) -> Iterator[str]:
    """A line for each of ``specs``; one for all the weights and the state that a training step carries."""
    carried = set(program.carried)
    together = [spec for spec in specs if spec.name in carried]
    yield from (printable(f"{kind} {spec}") for spec in specs if spec.name not in carried)
    if together:
        elements = sum(prod(spec.shape) for spec in together)
        yield f"{kind} {len(together)} arrays of weights and state, {elements:,} elements"
