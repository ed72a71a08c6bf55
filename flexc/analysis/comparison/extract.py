"""The workload of a graph: its groups, what they read, write, convert and compute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

from xdsl.ir import Attribute, Operation, SSAValue

from flexc.analysis.comparison.grouping import OpGroup, OpGrouping
from flexc.analysis.comparison.phases import Phase
from flexc.analysis.comparison.vector_work import vector_work
from flexc.analysis.comparison.workload import (
    PHASE_OF_PASS,
    BlockOperand,
    GroupWork,
    Norm,
    NormDirection,
    NormKind,
    Storage,
    Tensor,
    Workload,
)
from flexc.diagnostics import error
from flexc.ir import bfp, lightnorm, nn, train
from flexc.ir.attributes import SourceAttr, place_of
from flexc.ir.program import Graph
from flexc.ir.train import role_of
from flexc.mapping.from_gradients import gradient_problems
from flexc.mapping.from_ir import problem_of
from flexc.mapping.problem import ContractionProblem, Pass
from flexc.numerics.block_float import groups_shape
from flexc.passes.scheduling.grouping import CONSTANTS, QUANTIZED
from flexc.passes.scheduling.layout import PLAIN_FORMATS, shape_of, stored_as_fp10

PASSES: dict[str, Pass] = {
    "forward": "forward",
    "local_grad": "local_grad",
    "weight_grad": "weight_grad",
}

NOTHING = GroupWork(Phase.CONVERSION, "", reads=())
"""A group that runs at compile time."""


def workload_of(graph: Graph) -> Workload:
    """The workload of a graph whose contractions are quantized, before it is mapped.

    Raises CompileError: FX41x for what no machine maps, FX590 for a contraction left in fp32.
    """
    grouping = OpGrouping.of(list(graph.main.body.block.ops))
    extractor = _Extractor(graph, grouping)
    works = (extractor.group(index) for index in range(len(grouping.groups)))
    return Workload(tuple(work for work in works if work != replace(NOTHING, layer=work.layer)))


class _Extractor:
    def __init__(self, graph: Graph, grouping: OpGrouping) -> None:
        self.graph = graph
        self.grouping = grouping
        self.arguments = frozenset(graph.main.body.block.args)

    def group(self, index: int) -> GroupWork:
        """The work of one group."""
        group = self.grouping.groups[index]
        first = group.first
        problems = self._problems(group)
        pass_ = pass_of(first)
        quantizes = [op for op in group.ops if isinstance(op, bfp.QuantizeOp)]
        made: set[SSAValue] = {result for op in group.ops for result in op.results}
        writes, unquantized = self._writes(group)
        return GroupWork(
            phase=_phase(group, pass_),
            layer=_layer(first),
            problems=problems,
            reads=() if self._known(group) else tuple(self._reads(group, made)),
            block_reads=tuple(
                self._block(op.x.type, op.x, op) for op in group.ops if isinstance(op, bfp.DequantizeOp)
            ),
            writes=writes,
            quantized=tuple(
                # What is known at compile time is quantized there.
                self._block(op.out.type, op.x, op)
                for op in quantizes
                if not isinstance(self.grouping.root(op.x).owner, CONSTANTS)
            ),
            stored_unquantized=unquantized,
            vector=tuple(each for op in group.ops for each in vector_work(op)),
            lightnorm_elements=sum(
                prod(shape_of(op.out)) for op in group.ops if isinstance(op, lightnorm.InferOp)
            ),
            norm=_norm(first),
        )

    def _known(self, group: OpGroup) -> bool:
        """Whether a group quantizes what is known at compile time, and does nothing else."""
        return all(
            isinstance(op, bfp.QuantizeOp) and isinstance(self.grouping.root(op.x).owner, CONSTANTS)
            for op in group.ops
        )

    def _problems(self, group: OpGroup) -> tuple[ContractionProblem, ...]:
        op = group.first
        if isinstance(op, nn.ConvOp | nn.MatMulOp | nn.ConvLocalGradOp | nn.ConvWeightGradOp):
            raise error(
                "FX590",
                "a contraction in fp32 has no estimate",
                place=place_of(op, self.graph.file),
                hint="compare under a policy that quantizes every contraction",
            )
        if isinstance(op, bfp.ConvLocalGradOp | bfp.ConvWeightGradOp):
            return gradient_problems(op)
        if isinstance(op, bfp.ConvOp | bfp.MatMulOp):
            problem = problem_of(op, _group_of_quantization(group))
            return (replace(problem, pass_=pass_of(op)) if problem.kind == "matmul" else problem,)
        return ()

    def _reads(self, group: OpGroup, made: set[SSAValue]) -> Iterator[Tensor]:
        seen: set[SSAValue] = set()
        for op in group.ops:
            skipped = 2 if isinstance(op, QUANTIZED) else 0
            for operand in op.operands[skipped:]:
                root = self.grouping.root(operand)
                if root in made or root in seen or isinstance(root.type, bfp.BlockTensorType):
                    continue
                seen.add(root)
                if not (isinstance(root.owner, CONSTANTS) and prod(shape_of(root)) <= 1):
                    yield self._tensor(root)

    def _writes(self, group: OpGroup) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Results that reach DRAM; and those that only quantizations of the group read."""
        stored: list[Tensor] = []
        only_quantized: list[Tensor] = []
        for op in group.ops:
            if isinstance(op, bfp.QuantizeOp):
                continue
            for result in op.results:
                readers = list(self._readers(result))
                if isinstance(result.type, bfp.BlockTensorType) or not readers:
                    continue
                if any(reader not in group.ops for reader in readers):
                    stored.append(self._tensor(result))
                elif any(isinstance(reader, bfp.QuantizeOp) for reader in readers):
                    only_quantized.append(self._tensor(result))
        return tuple(stored), tuple(only_quantized)

    def _readers(self, value: SSAValue) -> Iterator[Operation]:
        """The ops that read ``value``, by its other names too."""
        for use in value.uses:
            if isinstance(use.operation, nn.ReshapeOp):
                yield from self._readers(use.operation.out)
            yield use.operation

    def _tensor(self, value: SSAValue) -> Tensor:
        return Tensor(prod(shape_of(value)), self._storage(value))

    def _storage(self, value: SSAValue) -> Storage:
        if self._of_parameter(value) or isinstance(value.owner, CONSTANTS):
            return "f32" if PLAIN_FORMATS[_element(value)] == "f32" else _plain(value)
        if isinstance(value.owner, Operation) and stored_as_fp10(value):
            return "fp10"
        return _plain(value)

    def _of_parameter(self, value: SSAValue) -> bool:
        """Whether ``value`` is an argument, or made element by element of one with its shape (an update)."""
        if value in self.arguments:
            return True
        index = self.grouping.index_of.get(value)
        if index is None or isinstance(value.owner, QUANTIZED):
            return False
        group = self.grouping.groups[index]
        return any(
            operand in self.arguments and shape_of(operand) == shape_of(value)
            for op in group.ops
            for operand in op.operands
        )

    def _block(self, found: Attribute, value: SSAValue, op: Operation) -> BlockOperand:
        assert isinstance(found, bfp.BlockTensorType)
        readers = (use.operation for use in op.results[0].uses)
        reader = next((one for one in readers if isinstance(one, QUANTIZED)), op)
        shape = found.get_shape()
        return BlockOperand(
            elements=prod(shape),
            groups=prod(groups_shape(shape, found.get_tile())),
            mantissa_bits=found.mantissa_bits.data,
            pass_=pass_of(reader),
            of_parameter=self.grouping.root(value) in self.arguments,
        )


def pass_of(op: Operation) -> Pass:
    """The training pass of a contraction; forward for everything else."""
    role = role_of(op)
    if role is not None:
        return PASSES[role.training_pass.data]
    if isinstance(op, bfp.ConvLocalGradOp):
        return "local_grad"
    return "weight_grad" if isinstance(op, bfp.ConvWeightGradOp) else "forward"


def _group_of_quantization(group: OpGroup) -> int | None:
    axis = 1 if isinstance(group.first, bfp.ConvOp) else -1
    lengths = [
        op.out.type.get_tile()[axis]
        for op in group.ops
        if isinstance(op, bfp.QuantizeOp) and isinstance(op.out.type, bfp.BlockTensorType)
    ]
    return lengths[0] if lengths else None


def _phase(group: OpGroup, pass_: Pass) -> Phase:
    if group.is_contraction:
        return PHASE_OF_PASS[pass_]
    if _norm(group.first) is not None or any(
        isinstance(op, nn.BatchNormOp | lightnorm.InferOp) for op in group.ops
    ):
        return Phase.BATCH_NORM
    conversions = all(isinstance(op, bfp.QuantizeOp | bfp.DequantizeOp) for op in group.ops)
    return Phase.CONVERSION if conversions else Phase.OTHER


def _norm(op: Operation) -> Norm | None:
    match op:
        case lightnorm.ForwardOp():
            return _norm_of(op.x, "lightnorm", "forward")
        case lightnorm.BackwardOp():
            return _norm_of(op.g, "lightnorm", "backward")
        case train.BatchNormOp():
            return _norm_of(op.x, "fp32", "forward")
        case train.BatchNormGradOp():
            return _norm_of(op.g, "fp32", "backward")
        case _:
            return None


def _norm_of(value: SSAValue, kind: NormKind, direction: NormDirection) -> Norm:
    shape = shape_of(value)
    return Norm(kind, direction, prod(shape) // shape[1], shape[1])


def _layer(op: Operation) -> str:
    role = role_of(op)
    if role is not None:
        return str(role.layer.data)
    source = op.attributes.get("source")
    return str(source.node_name.data) if isinstance(source, SourceAttr) else ""


def _element(value: SSAValue) -> Attribute:
    element: Attribute = value.type.element_type  # type: ignore[attr-defined]
    return element


def _plain(value: SSAValue) -> Storage:
    match PLAIN_FORMATS[_element(value)]:
        case "i64":
            return "i64"
        case "i32":
            return "i32"
        case "i1":
            return "i1"
        case _:
            return "result"
