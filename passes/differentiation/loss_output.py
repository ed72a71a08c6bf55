"""Which output of a model its loss is taken of."""

from __future__ import annotations

from collections.abc import Mapping

from xdsl.dialects.func import ReturnOp
from xdsl.ir import SSAValue

from flexc.diagnostics import Place, error
from flexc.ir.program import Graph
from flexc.ir.tensor_op import spec_of
from flexc.passes.differentiation.loss import Loss


def loss_output(graph: Graph, loss: Loss, named: str = "") -> tuple[str, SSAValue]:
    """The output called ``named``, or the one that there is, with its name.

    For a loss that the model computes that is the only output of one element, whatever others there are.
    Raises CompileError FX341 where there is none, or several, or it is no fp32 tensor.
    """
    end = graph.main.body.block.last_op
    assert isinstance(end, ReturnOp)
    outputs = dict(zip(graph.output_names, end.operands, strict=True))
    wanted = [named] if named else list(outputs)
    if loss is Loss.OUTPUT and not named:
        wanted = _numbers(outputs) or wanted
    if len(wanted) != 1 or wanted[0] not in outputs:
        raise error(
            "FX341",
            f"the model has no output '{named}'" if named else "the model has several outputs",
            place=Place(graph.file),
            hint=f"name the one to take the loss of: {', '.join(outputs)}",
        )
    (name,) = wanted
    spec = spec_of(outputs[name].type)
    if spec.element != "f32" or (spec.rank < 1 and loss is not Loss.OUTPUT):
        raise error(
            "FX341",
            f"the output '{name}' is {spec}",
            place=Place(graph.file),
            hint="a loss is taken of an fp32 tensor; --loss output takes one number for the loss itself",
        )
    return name, outputs[name]


def _numbers(outputs: Mapping[str, SSAValue]) -> list[str]:
    specs = {name: spec_of(value.type) for name, value in outputs.items()}
    return [name for name, spec in specs.items() if spec.size == 1 and spec.element == "f32"]
