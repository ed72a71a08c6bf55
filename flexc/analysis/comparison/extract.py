"""The workload of a graph: its groups, what they read, write, convert and compute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import gcd, prod

from xdsl.ir import Attribute, Operation, SSAValue

from flexc.analysis.comparison.grouping import OpGrouping
from flexc.analysis.comparison.phases import Phase
from flexc.analysis.comparison.stored_values import GroupResults, StoredValues
from flexc.analysis.comparison.vector_work import vector_work
from flexc.analysis.comparison.walks import Read, walk_of, walk_of_copy, walk_of_steps
from flexc.analysis.comparison.workload import (
    PHASE_OF_PASS,
    BlockOperand,
    GroupWork,
    Norm,
    NormDirection,
    NormKind,
    Statistics,
    StoredBy,
    Tensor,
    Walk,
    Workload,
)
from flexc.diagnostics import error
from flexc.ir import bfp, lightnorm, nn, train
from flexc.ir.attributes import SourceAttr, place_of
from flexc.ir.mapping import Dim
from flexc.ir.program import Graph
from flexc.ir.train import role_of
from flexc.mapping.problem import ContractionProblem, Pass
from flexc.numerics.block_float import groups_shape
from flexc.passes.map_contractions import problems_of
from flexc.passes.scheduling.box_copies import BoxCopy, box_copies, is_box_op
from flexc.passes.scheduling.filter_quantize_plan import quantizes_filters
from flexc.passes.scheduling.group_rules import OpGroup
from flexc.passes.scheduling.layout import NORM_TABLE_ROWS, grouped_dim, shape_of
from flexc.passes.scheduling.local_gradient_plan import fills_of
from flexc.passes.scheduling.vector_steps import STEPS

RANGE_CONSTANTS = 3
PASSES: dict[str, Pass] = {
    "forward": "forward",
    "local_grad": "local_grad",
    "weight_grad": "weight_grad",
}


def workload_of(graph: Graph) -> Workload:
    """The workload of a graph whose contractions are quantized, before it is mapped.

    Raises CompileError: FX41x for what no machine maps, FX590 for a contraction left in fp32.
    """
    grouping = OpGrouping.of(graph.main.body.block.ops)
    extractor = _Extractor(graph, grouping)
    works = (extractor.group(index) for index in range(len(grouping.groups)))
    return Workload(tuple(work for work in works if not _is_nothing(work)))


def _is_nothing(work: GroupWork) -> bool:
    """Whether a group runs at compile time."""
    return not (work.problems or work.reads or work.dequantized or work.writes or work.quantized)


class _Extractor:
    def __init__(self, graph: Graph, grouping: OpGrouping) -> None:
        self.graph = graph
        self.grouping = grouping
        self.values = StoredValues(grouping, graph.main.body.block.args)

    def group(self, index: int) -> GroupWork:
        """The work of one group."""
        group = self.grouping.groups[index]
        first = group.first
        problems = self._problems(group)
        pass_ = pass_of(first)
        norm = _norm(first)
        dequantized = self._dequantized(first) if isinstance(first, bfp.DequantizeOp) else None
        results = self.values.results_of(index)
        reads = [] if self._known(group) else list(self._reads(group))
        copies = tuple(box_copies(first, self.grouping.placements.__getitem__)) if is_box_op(first) else ()
        return GroupWork(
            phase=_phase(group, pass_),
            layer=_layer(first),
            number=index,
            problems=problems,
            operands_stored_by=self._operands_stored_by(first) if problems else (None, None),
            walk=None if problems or copies or norm is not None else self._walk(group, reads, results),
            fills=tuple(walk_of_copy(fill, self.grouping.placements) for fill in self._fills(first)),
            copies=tuple(walk_of_copy(copy, self.grouping.placements) for copy in copies),
            reads=tuple(self._box(copy) for copy in copies) or tuple(tensor for _, tensor in reads),
            dequantized=dequantized,
            writes=tuple(map(self.values.written, results.stored)),
            quantized=tuple(
                replace(
                    self._block(op.out.type, op.x, op),
                    along=_along(op, problems[0]) if problems else None,
                )
                for op in results.quantized
            ),
            converted_apart=tuple(
                walk_of([op], self.grouping.placements) for op in results.quantized if problems
            ),
            stored_unquantized=tuple(map(self.values.written, results.only_quantized)),
            vector=tuple(each for op in group.ops for each in vector_work(op)),
            lightnorm_elements=sum(
                prod(shape_of(op.out)) for op in group.ops if isinstance(op, lightnorm.InferOp)
            ),
            norm=norm,
            statistics=self._statistics(index),
            carrier=self._carrier(index),
        )

    def _dequantized(self, op: bfp.DequantizeOp) -> BlockOperand:
        return replace(self._block(op.x.type, op.x, op), stored_by=self.values.stored_by(op.x))

    def _statistics(self, index: int) -> Statistics | None:
        """Those of what a contraction makes, where a LightNorm reads it that needs nothing later."""
        norm = self.grouping.normalized(index)
        if norm is None:
            return None
        stored = self.values.results_of(self.grouping.group_index[norm.y]).stored
        found = _norm(norm)
        assert found is not None
        vectors = tuple(self.values.written(value) for value in stored if value not in (norm.y, norm.xhat))
        return Statistics(found, self.values.read(self.grouping.root(norm.gamma)), vectors)

    def _carrier(self, index: int) -> GroupWork | None:
        """The group whose results the LightNorm of a group reads, where it may carry its statistics."""
        norm = self.grouping.groups[index].first
        if not isinstance(norm, lightnorm.ForwardOp):
            return None
        maker = self.grouping.group_index.get(norm.x)
        return None if maker is None or self.grouping.normalized(maker) is not norm else self.group(maker)

    def _known(self, group: OpGroup) -> bool:
        """Whether a group quantizes what is known at compile time, and does nothing else."""
        return all(isinstance(op, bfp.QuantizeOp) and self.values.is_constant(op.x) for op in group.ops)

    def _problems(self, group: OpGroup) -> tuple[ContractionProblem, ...]:
        op = group.first
        if isinstance(op, nn.ConvOp | nn.MatMulOp | nn.ConvLocalGradOp | nn.ConvWeightGradOp):
            raise error(
                "FX590",
                "a contraction in fp32 has no estimate",
                place=place_of(op, self.graph.file),
                hint="compare under a policy that quantizes every contraction",
            )
        if isinstance(op, bfp.MatMulOp):
            return tuple(replace(problem, pass_=pass_of(op)) for problem in problems_of(op))
        return problems_of(op) if isinstance(op, bfp.CONTRACTIONS) else ()

    def _operands_stored_by(self, op: Operation) -> tuple[StoredBy | None, StoredBy | None]:
        a, b = op.operands[:2]
        if isinstance(op, bfp.ConvWeightGradOp):
            a, b = op.x, op.g
        return self.values.stored_by(a), self.values.stored_by(b)

    def _walk(self, group: OpGroup, reads: Sequence[tuple[Read, Tensor]], results: GroupResults) -> Walk:
        of_steps = all(type(op) in STEPS or isinstance(op, bfp.QuantizeOp) for op in group.ops)
        if not of_steps or quantizes_filters(group.first):
            return walk_of(group.ops, self.grouping.placements)
        values = [value for value, _ in reads]
        return walk_of_steps(group.ops, values, results.stored, self.grouping.placements, self.grouping.root)

    def _fills(self, op: Operation) -> Sequence[BoxCopy]:
        if not isinstance(op, bfp.ConvLocalGradOp):
            return ()
        return fills_of(op, self.grouping.placements.__getitem__)

    def _reads(self, group: OpGroup) -> Iterator[tuple[Read, Tensor]]:
        """What a group reads, and what it is stored as."""
        made_or_seen: set[SSAValue] = {result for op in group.ops for result in op.results}
        for op in group.ops:
            if isinstance(op, lightnorm.BackwardOp):
                # The numbers of positions and chunks, and the range constant, from a table.
                yield op, Tensor(RANGE_CONSTANTS, "f32")
            operands = op.operands[2:] if isinstance(op, bfp.CONTRACTIONS) else op.operands
            if isinstance(op, bfp.QuantizeOp):
                # The step that random bits depend on is taken from where it lies: no transfer.
                operands = op.operands[:1]
            if isinstance(op, lightnorm.InferOp):
                # Its four vectors are one table.
                operands = op.operands[:1]
                yield op, Tensor(NORM_TABLE_ROWS * shape_of(op.out)[1], "f32")
            if isinstance(op, nn.AveragePoolOp | nn.AveragePoolGradOp):
                # What the sums of windows are divided by.
                windows = op.out if isinstance(op, nn.AveragePoolOp) else op.g
                yield op, Tensor(prod(shape_of(windows)[2:]), "f32")
            for operand in operands:
                root = self.grouping.root(operand)
                if root in made_or_seen or isinstance(root.type, bfp.BlockTensorType):
                    continue
                made_or_seen.add(root)
                tensor = self.values.read(root)
                if isinstance(op, nn.SliceOp | nn.GatherOp) and operand is op.x:
                    tensor = replace(tensor, elements=prod(shape_of(op.out)))
                if isinstance(op, nn.GatherOp) and operand is op.indices:
                    tensor = replace(tensor, of_gather=True)
                yield root, tensor

    def _box(self, copy: BoxCopy) -> Tensor:
        read: Tensor = self.values.read(self.grouping.root(copy.source.value))
        return replace(read, elements=prod(copy.domain.shape))

    def _block(self, found: Attribute, value: SSAValue, op: Operation) -> BlockOperand:
        assert isinstance(found, bfp.BlockTensorType)
        readers = (use.operation for use in op.results[0].uses)
        reader = next((one for one in readers if isinstance(one, bfp.CONTRACTIONS)), None)
        shape = found.get_shape()
        return BlockOperand(
            elements=prod(shape),
            groups=prod(groups_shape(shape, found.get_tile())),
            mantissa_bits=found.mantissa_bits.data,
            pass_="forward" if reader is None else pass_of(reader),
            of_parameter=self.values.is_argument(value),
            group_length=max(found.get_tile()),
            row_length=shape[grouped_dim(op.out)] if isinstance(op, bfp.QuantizeOp) else 1,
            read_back=reader is None,
        )


def _along(op: bfp.QuantizeOp, problem: ContractionProblem) -> Dim | None:
    """The loop of a contraction whose result ``op`` quantizes that its groups run along."""
    shape, dim = shape_of(op.x), grouped_dim(op.out)
    if problem.kind == "matmul":
        of_matrix: dict[int, Dim] = {len(shape) - 1: "o", len(shape) - 2: "p"}
        found = of_matrix.get(dim)
    else:
        of_image: tuple[Dim, ...] = ("n", "o", "q") if len(shape) == 3 else ("n", "o", "p", "q")
        found = of_image[dim]
    if found == "o":
        return found
    # A dimension of one element is none of the accumulators'.
    return found if found is not None and problem.extent(found) == shape[dim] > 1 else None


def pass_of(op: Operation) -> Pass:
    """The training pass of a contraction; forward for everything else."""
    role = role_of(op)
    if role is not None:
        return PASSES[role.training_pass.data]
    if isinstance(op, bfp.ConvLocalGradOp):
        return "local_grad"
    return "weight_grad" if isinstance(op, bfp.ConvWeightGradOp) else "forward"


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
            return _norm_of(op.x, "lightnorm", "forward", int(op.num_chunks.value.data))
        case lightnorm.BackwardOp():
            return _norm_of(op.g, "lightnorm", "backward", shape_of(op.argmax)[1])
        case train.BatchNormOp():
            return _norm_of(op.x, "fp32", "forward", 1)
        case train.BatchNormGradOp():
            return _norm_of(op.g, "fp32", "backward", 1)
        case _:
            return None


def _norm_of(value: SSAValue, kind: NormKind, direction: NormDirection, chunks: int) -> Norm:
    shape = shape_of(value)
    positions = prod(shape) // shape[1]
    return Norm(kind, direction, positions, shape[1], gcd(positions, chunks))


def _layer(op: Operation) -> str:
    role = role_of(op)
    if role is not None:
        return str(role.layer.data)
    source = op.attributes.get("source")
    return str(source.node_name.data) if isinstance(source, SourceAttr) else ""
