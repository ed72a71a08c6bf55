"""Emit a graph as a NumPy program: one statement an op, in order, each the kernel call of its op.

    %conv = bfp.conv %x_q, %w {...} : ...     ->     # layer1.0.conv1 (Conv, node 4)
                                                     conv = block_conv(x_q, w["layer1.0.conv1.weight"], ...)
                                                     keep(conv=conv)
                                                     del x_q

Values are deleted after their last use, so that memory holds what is live; an intermediate of a node
lives until the node's values were handed to ``keep``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from xdsl.dialects.builtin import TensorType
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

import flexc
from flexc.backends.executor.frame import FOOTER, HEADER
from flexc.backends.executor.source_text import INDENT, call_lines, literal_text, printable
from flexc.ir import bfp, nn
from flexc.ir.attributes import Literal, SourceAttr
from flexc.ir.kernel_calls import KernelCall, kernel_call
from flexc.ir.program import Graph
from flexc.ir.value_names import value_names
from flexc.tensor_spec import TensorSpec

NUMPY_NAMES = {"f32": "float32", "i64": "int64", "i32": "int32", "i1": "bool"}
IMPORTED = frozenset({"BlockFormat", "BlockTensor", "Sign"})


@dataclass(frozen=True)
class Step:
    """One op of the program: its first variable, its ONNX node, and its lines in the text, counted from 1."""

    variable: str
    source: SourceAttr | None
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
    functions = {call.function for call in calls.values()}
    functions |= {call.activation[0] for call in calls.values() if call.activation}
    names = _expressions(graph)
    body = _Body(_header(graph, functions | IMPORTED))
    for argument, spec in zip(graph.main.body.block.args, input_specs(graph), strict=True):
        if argument.first_use is not None:
            body.write(f"{names[argument]} = inputs[{literal_text(spec.name)}]")
    live = _LastUses(graph)
    for source, group in groupby(calls, key=lambda op: op.attributes.get("source") or op):
        _emit_node(body, source if isinstance(source, SourceAttr) else None, list(group), calls, names, live)
    results = zip(graph.output_names, _terminator(graph).operands, strict=True)
    body.write()
    body.write("return {")
    for name, value in results:
        body.write(f"    {literal_text(name)}: {names[value]},")
    body.write("}")
    return EmittedProgram("\n".join(body.lines) + "\n" + FOOTER, tuple(body.steps))


_NO_STATEMENT = (nn.ConstantOp, bfp.ConstantOp, ReturnOp)


class _Body:
    """Lines of the text so far, and the steps they hold."""

    def __init__(self, header: str) -> None:
        self.lines = header.rstrip("\n").split("\n")
        self.steps: list[Step] = []

    def write(self, line: str = "") -> None:
        """A line of the function."""
        self.lines.append(f"{INDENT}{line}" if line else "")

    def call(self, head: str, function: str, arguments: Sequence[str]) -> None:
        """``head function(arguments)`` as lines of the function."""
        self.lines += call_lines(head, function, arguments, depth=1)

    def step(self, op: Operation, call: KernelCall, names: dict[SSAValue, str]) -> None:
        """The statement that computes ``op``, and the one of the activation fused into it."""
        first = len(self.lines) + 1
        variable = names[op.results[0]]
        head = ", ".join(names[result] for result in op.results)
        arguments = ["None" if value is None else names[value] for value in call.operands]
        self.call(f"{head} = ", call.function, [*arguments, *_keywords(call.keywords)])
        if call.activation is not None:
            function, keywords = call.activation
            self.call(f"{variable} = ", function, [variable, *_keywords(keywords)])
        source = op.attributes.get("source")
        assert source is None or isinstance(source, SourceAttr)
        self.steps.append(Step(variable, source, first, len(self.lines)))


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
    body.write()
    if source is not None:
        body.write(f"# {_comment(source)}")
    kept_until_end: list[str] = []
    for op in ops:
        body.step(op, calls[op], names)
        dead = list(live.of(op))
        if freed := [names[value] for value in dead if value not in own]:
            body.write(f"del {', '.join(freed)}")
        kept_until_end += [names[value] for value in dead if value in own]
    body.call("", "keep", [f"{names[value]}={names[value]}" for value in own])
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
            names[value] = f"w[{literal_text(value.owner.key.data)}]"
    return names


def _header(graph: Graph, imported: set[str]) -> str:
    inputs = "".join(
        f"    {literal_text(s.name)}: ({literal_text(s.dtype)}, {s.shape}),\n" for s in input_specs(graph)
    )
    blocks = ""
    for op in graph.main.body.block.ops:
        if isinstance(op, bfp.ConstantOp):
            kind = op.out.type
            assert isinstance(kind, bfp.BlockTensorType)
            described = (kind.mantissa_bits.data, literal_text(kind.sign.data), kind.get_tile())
            blocks += f"    {literal_text(op.key.data)}: ({', '.join(map(str, described))}),\n"
    model = printable(Path(graph.file).name) or "A model"
    return HEADER.format(
        title=f"{model} as a NumPy program.",
        version=flexc.__version__,
        imports="\n".join(f"    {name}," for name in sorted(imported)),
        inputs=inputs,
        blocks=blocks,
    )


def _keywords(keywords: tuple[tuple[str, Literal], ...]) -> list[str]:
    return [f"{name}={literal_text(value)}" for name, value in keywords]


def _terminator(graph: Graph) -> Operation:
    last = graph.main.body.block.last_op
    assert isinstance(last, ReturnOp)
    return last


def _comment(source: SourceAttr) -> str:
    name, op_type = printable(source.node_name.data), printable(source.op_type.data)
    return f"{name} ({op_type}, node {source.node_index.data})"
