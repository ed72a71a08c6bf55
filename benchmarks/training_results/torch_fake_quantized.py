"""The same training in PyTorch, contractions fake-quantized: fp32 values that four or eight bits can hold.

Shares nothing with flexc's kernels: groups, exponents and rounding are written here a second time (numerics
specification, section 1: the direction of groups by op and pass, rounding to nearest even). Sums are
PyTorch's, in fp32, and batch norms exact. What it gives is what the formats cost, whoever computes them.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from benchmarks.training_results.torch_reference import TorchRun
from flexc.datasets.arrays import DataSet
from flexc.training.settings import RunSettings

Tensor = Any
GROUP_LENGTHS = {4: 216, 8: 108}
"""Elements that share an exponent, by mantissa bits."""
PASSES = {"FB16": (8, 8, 8), "FB12LG16WG16": (4, 8, 8), "FB12": (4, 4, 4)}
"""Mantissa bits of forward pass, local gradient and weight gradient."""


class FakeQuantizedTorchRun(TorchRun):
    """A run whose convolutions and linear layers see quantized operands in all three passes."""

    def __init__(self, settings: RunSettings, data: DataSet) -> None:
        super().__init__(settings, data)
        if settings.policy not in PASSES:
            raise ValueError(f"no fake quantization for {settings.policy}")
        functions = _contractions(self._torch, PASSES[settings.policy])
        self._ops = {**self._ops, **functions}


def fake_quantized(torch: Any, x: Tensor, axis: int, bits: int) -> Tensor:
    """``x`` with groups of elements along ``axis`` rounded to ``bits``-bit mantissas, the sign included."""
    magnitude_bits = bits - 1
    parts = []
    for part in x.split(GROUP_LENGTHS[bits], axis):
        _, exponent = torch.frexp(part.abs().amax(axis, keepdim=True))
        step = torch.ldexp(torch.ones_like(part), exponent - magnitude_bits)
        limit = 2**magnitude_bits - 1
        parts.append((part / step).round().clamp(-limit, limit) * step)
    return torch.cat(parts, axis)


def _contractions(torch: Any, bits: tuple[int, int, int]) -> Mapping[str, Any]:
    """Convolution and linear layer, each with gradients of its own."""
    forward_bits, local_bits, weight_bits = bits
    gradients = importlib.import_module("torch.nn.grad")

    def quantized(x: Tensor, axis: int, bits: int) -> Tensor:
        return fake_quantized(torch, x, axis, bits)

    class Convolution(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(context: Any, x: Tensor, w: Tensor, stride: Any, pads: Any, groups: int) -> Tensor:
            context.save_for_backward(x, w)
            context.options = stride, pads, 1, groups
            operands = quantized(x, 1, forward_bits), weights(w, 1, forward_bits)
            return torch.nn.functional.conv2d(*operands, None, *context.options)

        @staticmethod
        def backward(context: Any, g: Tensor) -> Any:
            x, w = context.saved_tensors
            local = gradients.conv2d_input(
                x.shape, weights(w, 0, local_bits), quantized(g, 1, local_bits), *context.options
            )
            weight = gradients.conv2d_weight(
                quantized(x, 0, weight_bits), w.shape, quantized(g, 0, weight_bits), *context.options
            )
            return local, weight, None, None, None

    def weights(w: Tensor, axis: int, bits: int) -> Tensor:
        """Along input or output channels; of a depthwise convolution over the window."""
        if w.shape[1] > 1:
            return quantized(w, axis, bits)
        return quantized(w.flatten(2), 2, bits).reshape(w.shape)

    class Linear(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(context: Any, x: Tensor, w: Tensor) -> Tensor:
            context.save_for_backward(x, w)
            return quantized(x, 1, forward_bits) @ quantized(w, 1, forward_bits).T

        @staticmethod
        def backward(context: Any, g: Tensor) -> Any:
            x, w = context.saved_tensors
            local = quantized(g, 1, local_bits) @ quantized(w, 0, local_bits)
            return local, quantized(g, 0, weight_bits).T @ quantized(x, 0, weight_bits)

    return {
        "Conv": lambda torch, attributes, x, w: Convolution.apply(
            x, w, attributes["strides"], attributes["pads"][:2], attributes["group"]
        ),
        "Gemm": lambda torch, attributes, x, w, bias: Linear.apply(x, w) + bias,
    }
