"""Which constants of a model are trained, and the constants that become state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from xdsl.ir import Operation, SSAValue

from flexc.diagnostics import Place, error
from flexc.ir import nn, train
from flexc.ir.program import Graph
from flexc.ir.tensor_op import spec_of
from flexc.passes.building import erase, insert_before

PARAMETER_OPERANDS: Mapping[type[Operation], tuple[str, ...]] = {
    nn.BatchNormOp: ("gamma", "beta"),
    nn.ConvOp: ("w", "bias"),
    nn.GatherOp: ("x",),
    nn.LayerNormOp: ("gamma", "beta"),
    nn.MatMulOp: ("a", "b", "bias"),
    train.BatchNormOp: ("gamma", "beta"),
    train.DropoutOp: ("x",),
}
"""Operands in which a constant is a weight; elsewhere it may be anything, such as the scale of an input."""


@dataclass(frozen=True)
class Choice:
    """Patterns of keys, one after another with commas between: weights to train beside those, or to leave."""

    train: str = ""
    freeze: str = ""

    @property
    def patterns(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(pattern for pattern in f"{self.train},{self.freeze}".split(",") if pattern)

    def trains(self, key: str, *, is_weight: bool) -> bool:
        """Whether the constant ``key`` is trained."""
        if _matches(key, self.freeze):
            return False
        return is_weight or _matches(key, self.train)


def _matches(key: str, patterns: str) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns.split(",") if pattern)


def merge_constants(graph: Graph) -> None:
    """Leaves one constant of each key, in front of all other ops."""
    first: dict[str, nn.ConstantOp] = {}
    block = graph.main.body.block
    for op in tuple(block.ops):
        if not isinstance(op, nn.ConstantOp):
            continue
        kept = first.setdefault(op.key.data, op)
        if kept is not op:
            op.out.replace_all_uses_with(kept.out)
            erase(op)
    start = block.first_op
    assert start is not None
    for op in first.values():
        made = insert_before(start, nn.ConstantOp, (), op.out.type, op.attributes, name_hint=op.out.name_hint)
        op.out.replace_all_uses_with(made.out)
    for op in first.values():
        erase(op)


def trained_constants(graph: Graph, choice: Choice) -> dict[str, SSAValue]:
    """The fp32 constants to train by key, in order. CompileError FX348 for a pattern that fits none."""
    constants = [
        op
        for op in graph.main.body.block.ops
        if isinstance(op, nn.ConstantOp) and spec_of(op.out.type).element == "f32"
    ]
    found: dict[str, SSAValue] = {}
    for op in constants:
        is_weight = any(_is_parameter(use.operation, op.out) for use in op.out.uses)
        if choice.trains(op.key.data, is_weight=is_weight):
            found[op.key.data] = op.out
    if found:  # That nothing is left to train is an error of its own.
        _require_used(choice, [op.key.data for op in constants], graph.file)
    return found


def _require_used(choice: Choice, keys: Sequence[str], file: str) -> None:
    for pattern in choice.patterns:
        if not any(fnmatchcase(key, pattern) for key in keys):
            near = get_close_matches(pattern, keys, n=1)
            raise error(
                "FX348",
                f"no weight of the model is called '{pattern}'",
                place=Place(file),
                hint=f"did you mean '{near[0]}'?" if near else "weights have the names of the ONNX file",
            )


def _is_parameter(user: Operation, value: SSAValue) -> bool:
    return any(operand is value for operand in _parameters_of(user))


def _parameters_of(op: Operation) -> Iterator[SSAValue]:
    for name in PARAMETER_OPERANDS.get(type(op), ()):
        operand = getattr(op, name)
        if operand is not None:
            yield operand
