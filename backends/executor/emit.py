"""Emit a graph as a NumPy program: one statement an op, in order, each the kernel call of its op.

    %conv = bfp.conv %x_q, %w {...} : ...     ->     # layer1.0.conv1 (Conv, node 4)
                                                     conv = block_conv(x_q, w["layer1.0.conv1.weight"], ...)
                                                     keep(conv=conv)
                                                     del x_q

Values are deleted after their last use, so that memory holds what is live; an intermediate of a node
lives until the node's values were handed to ``keep``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from xdsl.dialects.builtin import TensorType
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

import flexc
from flexc.backends.executor.frame import FOOTER, HEADER
from flexc.ir import bfp, nn
from flexc.ir.attributes import Literal, SourceAttr
from flexc.ir.kernel_calls import KernelCall, kernel_call
from flexc.ir.program import Graph
from flexc.ir.value_names import value_names
from flexc.tensor_spec import TensorSpec

MAX_LINE = 110
NUMPY_NAMES = {"f32": "float32", "i64": "int64", "i32": "int32", "i1": "bool"}
IMPORTED = frozenset({"BlockFormat", "BlockTensor", "Sign"})


@dataclass(frozen=True)
class Step:
    """One statement of the program: its variable, the op's name, its ONNX node, and its lines in the text."""

    variable: str
    op_name: str
    source: SourceAttr | None
    activation: str
    first_line: int
    last_line: int


@dataclass(frozen=True)
class EmittedProgram:
    """The text of executor.py and what its statements stand for."""

    text: str
    steps: tuple[Step, ...]

    def step_at(self, line: int) -> Step | None:
        """The step whose statement covers ``line`` (counted from 1) of the text."""
        return next((step for step in self.steps if step.first_line <= line <= step.last_line), None)


def input_specs(graph: Graph) -> tuple[TensorSpec, ...]:
    """The model's inputs, in order."""
    return tuple(map(_spec, graph.input_names, graph.main.body.block.args))


def output_specs(graph: Graph) -> tuple[TensorSpec, ...]:
    """The model's outputs, in order."""
    return tuple(map(_spec, graph.output_names, _terminator(graph).operands))


def _spec(name: str, value: SSAValue) -> TensorSpec:
    assert isinstance(value.type, TensorType)
    return TensorSpec(name, NUMPY_NAMES[str(value.type.element_type)], tuple(value.type.get_shape()))


def emit_program(graph: Graph) -> EmittedProgram:
    """The program that computes ``graph``; a KeyError names an op that no kernel computes."""
    calls = {op: _call(op) for op in graph.main.body.block.ops if not isinstance(op, _NO_STATEMENT)}
    functions = {call.function for call in calls.values()} | {
        call.activation[0] for call in calls.values() if call.activation
    }
    names = _expressions(graph)
    body = _Body(_header(graph, functions | IMPORTED, calls))
    for argument, spec in zip(graph.main.body.block.args, input_specs(graph), strict=True):
        if argument.first_use is not None:
            body.write(f"{names[argument]} = inputs[{_text(spec.name)}]")
    live = _LastUses(graph)
    for source, group in groupby(calls, key=lambda op: op.attributes.get("source") or op):
        _emit_node(body, source if isinstance(source, SourceAttr) else None, list(group), calls, names, live)
    results = zip(graph.output_names, _terminator(graph).operands, strict=True)
    body.write("")
    body.write("return {")
    for name, value in results:
        body.write(f"    {_text(name)}: {names[value]},")
    body.write("}")
    return EmittedProgram("\n".join(body.lines) + "\n" + FOOTER, tuple(body.steps))


_NO_STATEMENT = (nn.ConstantOp, bfp.ConstantOp, ReturnOp)


class _Body:
    """Lines of the text so far, and the steps they hold."""

    def __init__(self, header: str) -> None:
        self.lines = header.rstrip("\n").split("\n")
        self.steps: list[Step] = []

    def write(self, line: str) -> None:
        self.lines.append(f"    {line}" if line else "")

    def statement(self, variable: str, expression: str, op: Operation, activation: str) -> None:
        first = len(self.lines) + 1
        for line in _wrap(f"{variable} = {expression}"):
            self.write(line)
        source = op.attributes.get("source")
        assert source is None or isinstance(source, SourceAttr)
        self.steps.append(Step(variable, op.name, source, activation, first, len(self.lines)))


class _LastUses:
    """Which operands an op is the last to use (the model's outputs are never freed)."""

    def __init__(self, graph: Graph) -> None:
        self._last: dict[SSAValue, Operation] = {}
        for op in graph.main.body.block.ops:
            for value in (*op.results, *op.operands):
                self._last[value] = op

    def of(self, op: Operation) -> Iterator[SSAValue]:
        for value in dict.fromkeys((*op.operands, *op.results)):
            if self._last[value] is op and not isinstance(value.owner, _NO_STATEMENT):
                yield value


def _emit_node(
    body: _Body,
    source: SourceAttr | None,
    ops: list[Operation],
    calls: dict[Operation, KernelCall],
    names: dict[SSAValue, str],
    live: _LastUses,
) -> None:
    own = [result for op in ops for result in op.results]
    body.write("")
    if source is not None:
        body.write(f"# {_comment(source)}")
    kept_until_end: list[str] = []
    for op in ops:
        activation = calls[op].activation
        (result,) = op.results
        body.statement(names[result], _expression(calls[op], names), op, activation[0] if activation else "")
        dead = list(live.of(op))
        if freed := [names[value] for value in dead if value not in own]:
            body.write(f"del {', '.join(freed)}")
        kept_until_end += [names[value] for value in dead if value in own]
    for line in _wrap("keep(" + ", ".join(f"{names[value]}={names[value]}" for value in own) + ")"):
        body.write(line)
    if kept_until_end:
        body.write(f"del {', '.join(kept_until_end)}")


def _call(op: Operation) -> KernelCall:
    try:
        return kernel_call(op)
    except KeyError as bug:
        bug.add_note(f"while emitting {op}")
        raise


def _expressions(graph: Graph) -> dict[SSAValue, str]:
    """What stands for each value: a variable, or a subscript of the weights for a constant."""
    names = value_names(graph.main)
    for value in names:
        if isinstance(value.owner, nn.ConstantOp | bfp.ConstantOp):
            names[value] = f"w[{_text(value.owner.key.data)}]"
    return names


def _header(graph: Graph, imported: set[str] | frozenset[str], calls: dict[Operation, KernelCall]) -> str:
    inputs = "".join(f"    {_text(s.name)}: ({_text(s.dtype)}, {s.shape}),\n" for s in input_specs(graph))
    blocks = ""
    for op in graph.main.body.block.ops:
        if isinstance(op, bfp.ConstantOp):
            kind = op.out.type
            assert isinstance(kind, bfp.BlockTensorType)
            described = (kind.mantissa_bits.data, _text(kind.sign.data), kind.get_tile())
            blocks += f"    {_text(op.key.data)}: ({', '.join(map(str, described))}),\n"
    infinite = any(
        isinstance(value, float) and repr(value) in ("inf", "-inf", "nan")
        for call in calls.values()
        for _, value in (*call.keywords, *(call.activation[1] if call.activation else ()))
    )
    model = _printable(Path(graph.file).name).replace('"', "'") or "A model"
    return HEADER.format(
        title=f"{model} as a NumPy program.",
        version=flexc.__version__,
        math_import="from math import inf, nan\n" if infinite else "",
        imports="\n".join(f"    {name}," for name in sorted(imported)),
        inputs=inputs,
        blocks=blocks,
    )


def _expression(call: KernelCall, names: dict[SSAValue, str]) -> str:
    operands = list(call.operands)
    while operands and operands[-1] is None:
        operands.pop()
    arguments = ["None" if value is None else names[value] for value in operands]
    text = _call_text(call.function, arguments, call.keywords)
    return text if call.activation is None else _call_text(call.activation[0], [text], call.activation[1])


def _call_text(function: str, arguments: list[str], keywords: tuple[tuple[str, Literal], ...]) -> str:
    return f"{function}({', '.join([*arguments, *(f'{name}={_text(value)}' for name, value in keywords)])})"


def _terminator(graph: Graph) -> Operation:
    last = graph.main.body.block.last_op
    assert isinstance(last, ReturnOp)
    return last


def _text(value: Literal) -> str:
    """A Python literal; strings in double quotes."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _comment(source: SourceAttr) -> str:
    name, op_type = _printable(source.node_name.data), _printable(source.op_type.data)
    return f"{name} ({op_type}, node {source.node_index.data})"


def _printable(text: str) -> str:
    """``text`` on one line and without a backslash, as a comment or docstring can hold it."""
    return "".join(c if c.isprintable() and c != "\\" else f"<{ord(c):x}>" for c in text)


def _wrap(line: str) -> list[str]:
    """``line``; a call that is too long for one line gets its arguments on a line of their own."""
    width = MAX_LINE - 4
    if len(line) <= width or "(" not in line:
        return [line]
    head, _, rest = line.partition("(")
    return [f"{head}(", f"    {rest[:-1]}", ")"]
