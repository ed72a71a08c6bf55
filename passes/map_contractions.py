"""Map every contraction of quantized operands onto the target.

    bfp.conv %x, %w {...}   ->   bfp.conv %x, %w {..., mapping = #flexblock.mapping<stream a, ...>}

A local gradient of a convolution has a mapping for each phase of its stride, in an array.

Illegal for what the machine cannot hold or multiply: an error for each op, all reported together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from xdsl.dialects.builtin import ArrayAttr
from xdsl.ir import Attribute, Operation, SSAValue

from flexc.diagnostics import CompileError, Diagnostic, Place
from flexc.ir.attributes import place_of
from flexc.ir.bfp import CONTRACTIONS, BlockTensorType, ConvLocalGradOp, ConvOp, ConvWeightGradOp, QuantizeOp
from flexc.ir.mapping import Mapping, MappingAttr
from flexc.ir.program import Graph
from flexc.mapping.cache import find_mapping
from flexc.mapping.from_gradients import ConvGradientOp, gradient_problems
from flexc.mapping.from_ir import ContractionOp, problem_of
from flexc.mapping.problem import ContractionProblem
from flexc.passes.base import Pass
from flexc.target import Target, load_target

MAPPING = "mapping"


@dataclass(frozen=True)
class MapContractions(Pass):
    """Sets the attribute ``mapping`` of every ``bfp.conv`` and ``bfp.matmul``, and of their gradients."""

    name: ClassVar[str] = "map-contractions"
    target: str = "flexblock"

    def run(self, graph: Graph) -> bool:
        """Raises CompileError for an unknown target, and for every op that has no mapping on it."""
        target = load_target(self.target)
        changed = False
        found: list[Diagnostic] = []
        for op in graph.main.walk():
            if not isinstance(op, CONTRACTIONS):
                continue
            try:
                attribute = _attribute(op, target)
            except CompileError as failure:
                place = place_of(op, graph.file)
                found += [_placed(diagnostic, place) for diagnostic in failure.diagnostics]
                continue
            changed |= op.attributes.get(MAPPING) != attribute
            op.attributes[MAPPING] = attribute
        if found:
            raise CompileError(found)
        return changed


def problems_of(op: ContractionOp | ConvGradientOp) -> tuple[ContractionProblem, ...]:
    """What each mapping of ``op`` maps."""
    if isinstance(op, ConvLocalGradOp | ConvWeightGradOp):
        return gradient_problems(op)
    return (problem_of(op, _following_group(op)),)


def mappings_of(op: Operation) -> tuple[Mapping, ...]:
    """The mappings that the pass gave ``op``; none for another op."""
    found = op.attributes.get(MAPPING)
    if isinstance(found, ArrayAttr):
        return tuple(one.data for one in found if isinstance(one, MappingAttr))
    return (found.data,) if isinstance(found, MappingAttr) else ()


def _attribute(op: ContractionOp | ConvGradientOp, target: Target) -> Attribute:
    mappings = [MappingAttr(find_mapping(problem, target)) for problem in problems_of(op)]
    return ArrayAttr(mappings) if isinstance(op, ConvLocalGradOp) else mappings[0]


def _following_group(op: ContractionOp) -> int | None:
    """The group of channels of a quantization that follows directly, or after ops on this tensor alone."""
    axis = 1 if isinstance(op, ConvOp) else -1
    value: SSAValue = op.out
    while True:
        for reader in value.uses:
            if isinstance(reader.operation, QuantizeOp):
                assert isinstance(reader.operation.out.type, BlockTensorType)
                return reader.operation.out.type.get_tile()[axis]
        use = value.get_user_of_unique_use()
        if use is None:
            return None
        same = [operand for operand in use.operands if operand.type == value.type]
        if len(same) > 1 or len(use.results) != 1 or use.results[0].type != value.type:
            return None
        (value,) = use.results


def _placed(diagnostic: Diagnostic, place: Place) -> Diagnostic:
    return replace(diagnostic, place=place)
