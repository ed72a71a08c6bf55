"""Writing a graph of fp32 ops as a plain ONNX model."""

from __future__ import annotations

from pathlib import Path

import onnx
from xdsl.dialects.func import ReturnOp
from xdsl.ir import SSAValue

from flexc.diagnostics import error
from flexc.exporter.onnx_writer import OnnxWriter
from flexc.exporter.operators import SPELLINGS
from flexc.ir import nn
from flexc.ir.attributes import place_of
from flexc.ir.program import Graph
from flexc.ir.value_names import value_names


def onnx_model(graph: Graph, *, open_batch: int | None = None) -> onnx.ModelProto:
    """The model that computes ``graph``, whose ops are all of the ``nn`` dialect, with its weights.

    Inputs and outputs have the graph's names, initializers those of the weight store. ``open_batch`` leaves
    every first extent of that size open, where the graph computes the images of a batch one by one.
    Raises CompileError FX580 for an op that is not fp32, such as a quantized contraction.
    """
    block = graph.main.body.block
    end = block.last_op
    assert isinstance(end, ReturnOp)
    names: dict[SSAValue, str] = dict(value_names(graph.main))
    inputs = dict(zip(graph.input_names, block.args, strict=True))
    names |= {value: name for name, value in inputs.items()}
    outputs = dict(zip(graph.output_names, end.operands, strict=True))
    names |= {value: name for name, value in outputs.items() if value not in block.args}
    constants = [op for op in block.ops if isinstance(op, nn.ConstantOp)]
    for constant in constants:
        names.pop(constant.out)
    writer = OnnxWriter(names, open_batch)
    for constant in constants:
        writer.constant(constant.out, graph.weights.get(constant.key.data), constant.key.data)
    for op in block.ops:
        if isinstance(op, nn.ConstantOp | ReturnOp):
            continue
        if type(op) not in SPELLINGS:
            raise error(
                "FX580",
                f"{op.name} has no place in an ONNX model",
                place=place_of(op, graph.file),
                hint="a model is exported in fp32, before formats are chosen",
            )
        SPELLINGS[type(op)](op, writer)
    for name, value in outputs.items():
        if writer.name_of(value) != name:
            writer.node("Identity", [writer.name_of(value)], name)
    return writer.model(Path(graph.file).stem or "model", inputs, outputs)


def same_but_for_batch(first: Graph, first_batch: int, second: Graph, second_batch: int) -> bool:
    """Whether two graphs of one model, in two batches, are one model with an open batch."""
    models = (onnx_model(first, open_batch=first_batch), onnx_model(second, open_batch=second_batch))
    one, other = (bytes(model.SerializeToString(deterministic=True)) for model in models)
    return one == other
