"""Training steps quantize fp32 tensors and stored ones, never a narrower copy that served another use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from xdsl.ir import SSAValue

from flexc.ir import bfp, nn
from flexc.ir.program import Graph
from flexc.passes.cse import EliminateCommonSubexpressions
from flexc.passes.differentiate import Differentiate
from flexc.passes.fuse_lightnorm import FuseLightNorm
from flexc.passes.insert_quantize import InsertQuantize
from tests.training_models import small_mobilenet, small_resnet, small_transformer
from tests.training_steps import trainer

CARRYING = (nn.ReshapeOp, nn.TransposeOp, nn.ExpandOp, nn.SliceOp, nn.ConcatOp, nn.PadOp, nn.GatherOp)
"""Ops whose results hold the very elements of their operands."""
RESULTS = 'result = { format = "FB16" }\nlocal_grad.result = { format = "FB24", rounding = "stochastic" }\n'


def sources(value: SSAValue) -> Iterator[SSAValue]:
    """Where the elements of ``value`` were computed."""
    if isinstance(value.owner, CARRYING):
        for operand in value.owner.operands:
            yield from sources(operand)
    else:
        yield value


def narrower_copies(graph: Graph) -> list[bfp.QuantizeOp]:
    """The quantizations of what was quantized before, unless it is the result that was stored so."""
    found = []
    for op in graph.main.body.block.ops:
        if isinstance(op, bfp.QuantizeOp):
            reads = [one.owner for one in sources(op.x) if isinstance(one.owner, bfp.DequantizeOp)]
            copies = [one.x.owner for one in reads]
            if any(bfp.OF_RESULT not in getattr(copy, "attributes", {}) for copy in copies):
                found.append(op)
    return found


@pytest.mark.parametrize("rules", ["", 'local_grad.format = "FB16"\nweight_grad.format = "FB24"\n', RESULTS])
@pytest.mark.parametrize("make", [small_resnet, small_mobilenet, small_transformer])
def test_every_use_is_quantized_from_fp32_or_from_what_is_stored(
    make: Callable[[], onnx.ModelProto], rules: str, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(f'name = "p"\ndescription = "d"\n[default]\nformat = "FB12"\n{rules}')
    after = [FuseLightNorm(), InsertQuantize(str(policy)), EliminateCommonSubexpressions()]
    graph = trainer(make(), tmp_path, Differentiate(), after).graph
    operands = [op for op in graph.main.body.block.ops if isinstance(op, bfp.QuantizeOp)]
    stored = [op for op in operands if bfp.OF_RESULT in op.attributes]
    assert (len(stored) > 0) == ("result" in rules)
    assert len(operands) > len(stored)
    assert narrower_copies(graph) == []


def test_a_copy_in_another_format_is_found(tmp_path: Path) -> None:
    graph = trainer(small_resnet(), tmp_path, Differentiate(), [InsertQuantize("FB12")]).graph
    first = next(op for op in graph.main.body.block.ops if isinstance(op, bfp.QuantizeOp))
    block = first.parent
    assert block is not None
    read = bfp.DequantizeOp.create(operands=[first.out], result_types=[first.x.type])
    again = bfp.QuantizeOp.create(
        operands=[read.out], result_types=[first.out.type], attributes=first.attributes
    )
    block.insert_ops_after([read, again], first)
    assert narrower_copies(graph) == [again]
