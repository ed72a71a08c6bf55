"""A quantized graph as ONNX: model-local functions of standard operators that give the executor's bits.

    %q = bfp.quantize %x            ->   q = flexc.Quantize(x)
    %y = bfp.conv %q, %w            ->   y = flexc.BlockConv(q, w)
    %z = lightnorm.infer %y, ...    ->   z = flexc.LightNorm(y, mean, scale, gamma_q, beta)
    %t = nn.transpose %z            ->   t = Transpose(z)

A quantized tensor is handed on as its values. Quantized weights are stored as mantissas, and the step of
each group.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from flexc.diagnostics import CompileError, error
from flexc.exporter.onnx_writer import OnnxWriter
from flexc.exporter.operators import SPELLINGS
from flexc.exporter.quantized.blocks import values
from flexc.exporter.quantized.function_body import DOMAIN, Body, FunctionLibrary, Operand
from flexc.exporter.quantized.kernels import KERNELS, STANDARD, Specialization
from flexc.exporter.quantized.lightnorm import normalize
from flexc.ir import bfp, lightnorm, nn
from flexc.ir.attributes import Literal, place_of
from flexc.ir.kernel_calls import kernel_call
from flexc.ir.program import Graph
from flexc.ir.tensor_op import spec_of
from flexc.ir.value_names import value_names
from flexc.numerics.block_float import Rounding
from flexc.numerics.lightnorm import lightnorm_infer_constants
from flexc.passes.building import constant_array


@dataclass(frozen=True)
class QuantizedModel:
    """The model, and the ops whose bits are onnxruntime's own, by name and how many there are of each."""

    model: onnx.ModelProto
    inexact: dict[str, int]


def quantized_model(graph: Graph) -> QuantizedModel:
    """The ONNX model of a compiled inference graph.

    Raises CompileError: FX580 for an op of a training step, FX581 for one that functions do not spell:
    stochastic rounding, groups along a window, LightNorm whose statistics are computed.
    """
    return _Export(graph).run()


class _Export:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.block = graph.main.body.block
        self.library = FunctionLibrary()
        self.inexact: dict[str, int] = {}
        end = self.block.last_op
        assert isinstance(end, ReturnOp)
        names: dict[SSAValue, str] = dict(value_names(graph.main))
        self.inputs = dict(zip(graph.input_names, self.block.args, strict=True))
        self.outputs = dict(zip(graph.output_names, end.operands, strict=True))
        names |= {value: name for name, value in self.inputs.items()}
        names |= {value: name for name, value in self.outputs.items() if value not in self.block.args}
        self.constants = [op for op in self.block.ops if isinstance(op, nn.ConstantOp)]
        for constant in self.constants:
            names.pop(constant.out)
        self.to = OnnxWriter(names, None)

    def run(self) -> QuantizedModel:
        """The model of all ops in order."""
        for constant in self.constants:
            key = constant.key.data
            self.to.constant(constant.out, self.graph.weights.get(key), key)
        for op in self.block.ops:
            if not isinstance(op, nn.ConstantOp | ReturnOp):
                self._spell(op)
        for name, value in self.outputs.items():
            if self.to.name_of(value) != name:
                self.to.node("Identity", [self.to.name_of(value)], name)
        title = Path(self.graph.file).stem or "model"
        model = self.to.model(title, self.inputs, self.outputs, functions=self.library.functions)
        return QuantizedModel(model, self.inexact)

    def _spell(self, op: Operation) -> None:
        if isinstance(op, bfp.ConstantOp):
            self._block_constant(op)
        elif isinstance(op, bfp.DequantizeOp):
            self.to.node("Identity", [self.to.name_of(op.x)], self.to.name_of(op.out))
        elif isinstance(op, lightnorm.InferOp):
            self._lightnorm(op)
        elif isinstance(op, STANDARD):
            self._count_inexact(op.name)
            SPELLINGS[type(op)](op, self.to)
        elif type(op) in SPELLINGS and kernel_call(op).function not in KERNELS:
            SPELLINGS[type(op)](op, self.to)
        else:
            self._function(op)

    def _function(self, op: Operation) -> None:
        self._check(op)
        call = kernel_call(op)
        if call.function not in KERNELS:
            raise error(
                "FX580",
                f"{op.name} has no place in an ONNX model",
                place=place_of(op, self.graph.file),
                hint="inference is exported; what a run has trained, `flexc export` writes",
            )
        kernel = KERNELS[call.function]
        operands = tuple(None if value is None else _operand(value) for value in call.operands)
        made_for = Specialization(operands, call.keywords, _operand(op.results[0]).shape)
        given = [value for value in call.operands if value is not None]
        present = [value is not None for value in call.operands]

        def body_of(body: Body, *inputs: str) -> str:
            rest = iter(inputs)
            return kernel.build(body, tuple(next(rest) if here else None for here in present), made_for)

        self._call(kernel.name, kernel.key(made_for), body_of, [self.to.name_of(one) for one in given], op)

    def _lightnorm(self, op: lightnorm.InferOp) -> None:
        statistics = [constant_array(self.graph, value) for value in (op.gamma, op.mean, op.var)]
        if any(one is None for one in statistics):
            raise self._refusal(op, "its statistics are computed")
        call = kernel_call(op)
        keywords = dict(call.keywords)
        rounding = Rounding(str(keywords["rounding"]))
        gamma, mean, var = (np.asarray(one, np.float32) for one in statistics)
        eps = keywords["eps"]
        assert isinstance(eps, float)
        made = lightnorm_infer_constants(gamma, mean, var, eps=eps, rounding=rounding)
        out = self.to.name_of(op.out)
        names = [
            self.to.initializer(array, f"{out}.{name}")
            for array, name in zip(made, ("mean", "scale", "gamma_q"), strict=True)
        ]
        shape = spec_of(op.x.type).shape

        def body_of(body: Body, *inputs: str) -> str:
            x, mean, scale, gamma_q, beta = inputs
            return normalize(body, x, mean, scale, gamma_q, beta, shape, rounding)

        inputs = [self.to.name_of(op.x), *names, self.to.name_of(op.beta)]
        function = self.library.define("LightNorm", ("LightNorm", shape, rounding), len(inputs), body_of)
        normalized = out if call.activation is None else self.to.intermediate(f"{out}.normalized")
        self.to.node(function, inputs, normalized, domain=DOMAIN)
        if call.activation is not None:
            self._activation(*call.activation, normalized, op)

    def _activation(
        self, kernel: str, keywords: tuple[tuple[str, Literal], ...], x: str, op: lightnorm.InferOp
    ) -> None:
        """The activation that is fused into a LightNorm."""
        out = self.to.name_of(op.out)
        if kernel in KERNELS:
            shape = spec_of(op.out.type).shape
            made_for = Specialization((Operand(shape),), keywords, shape)
            function = KERNELS[kernel]

            def body_of(body: Body, x: str) -> str:
                return function.build(body, (x,), made_for)

            name = self.library.define(function.name, function.key(made_for), 1, body_of)
            self.to.node(name, [x], out, domain=DOMAIN)
        else:
            # Of the activations that are fused, gelu alone has no function.
            self._count_inexact(f"nn.{kernel}")
            self.to.node("Gelu", [x], out, **dict(keywords))

    def _count_inexact(self, name: str) -> None:
        self.inexact[name] = self.inexact.get(name, 0) + 1

    def _block_constant(self, op: bfp.ConstantOp) -> None:
        kind = op.out.type
        assert isinstance(kind, bfp.BlockTensorType)
        block = self.graph.weights.block(op.key.data, kind)
        shift = 127 + kind.format.magnitude_bits - 1
        step = np.ldexp(np.float32(1), block.exponent.astype(np.int32) - shift)
        shape, tile = kind.get_shape(), kind.get_tile()
        inputs = [
            self.to.initializer(block.mantissa, f"{op.key.data}.mantissa"),
            self.to.initializer(step, f"{op.key.data}.step"),
        ]

        def body_of(body: Body, mantissa: str, step: str) -> str:
            return values(body, mantissa, step, shape, tile)

        self._call("Values", ("Values", shape, tile), body_of, inputs, op)

    def _call(self, name: str, key: object, build: Callable[..., str], inputs: list[str], op: Any) -> None:
        function = self.library.define(name, key, len(inputs), build)
        self.to.node(function, inputs, self.to.name_of(op.results[0]), domain=DOMAIN)

    def _check(self, op: Operation) -> None:
        if isinstance(op, bfp.QuantizeOp) and op.rounding.data == Rounding.STOCHASTIC:
            raise self._refusal(op, "stochastic rounding")
        if isinstance(op, bfp.ConvOp):
            x, w = op.x.type, op.w.type
            assert isinstance(x, bfp.BlockTensorType)
            assert isinstance(w, bfp.BlockTensorType)
            if any(extent > 1 for extent in x.get_tile()[2:]):
                raise self._refusal(op, "groups along a window")

    def _refusal(self, op: Operation, what: str) -> CompileError:
        return error("FX581", f"no ONNX function for {op.name}: {what}", place=place_of(op, self.graph.file))


def _operand(value: SSAValue) -> Operand:
    if isinstance(value.type, bfp.BlockTensorType):
        return Operand(value.type.get_shape(), value.type.mantissa_bits.data, value.type.get_tile())
    return Operand(spec_of(value.type).shape)
