"""Builds ONNX models layer by layer, with seeded random weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPEN_BATCH = "batch"
"""The symbol of a batch that is settled when the model is compiled."""
OPSET = 17
IR_VERSION = 8


class GraphBuilder:
    """Adds nodes one after another; every method returns the name of the value it makes."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.rng = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._counts: dict[str, int] = {}

    def input(self, name: str, shape: Sequence[int | str], dtype: int = TensorProto.FLOAT) -> str:
        """A graph input; a name in place of an extent leaves it open."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def weight(self, name: str, array: npt.NDArray[np.generic]) -> str:
        """An initializer."""
        self._initializers.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def normal(self, name: str, shape: Sequence[int], fan_in: int, gain: float = 2.0) -> str:
        """An fp32 initializer of variance ``gain / fan_in``."""
        values = self.rng.standard_normal(tuple(shape), dtype=np.float32)
        return self.weight(name, values * np.float32(np.sqrt(gain / fan_in)))

    def node(self, op_type: str, inputs: Sequence[str], name: str = "", **attributes: Any) -> str:
        """One node with one output, named after the operator unless ``name`` is given."""
        if not name:
            number = self._counts.get(op_type, 0)
            self._counts[op_type] = number + 1
            name = f"{op_type.lower()}_{number}"
        output = f"{name}_out"
        self._nodes.append(helper.make_node(op_type, list(inputs), [output], name=name, **attributes))
        return output

    def conv(
        self,
        x: str,
        channels: tuple[int, int],
        kernel: int,
        name: str,
        *,
        stride: int = 1,
        group: int = 1,
        bias: bool = False,
        pads: int | None = None,
        gain: float = 2.0,
    ) -> str:
        """Square convolution from ``channels[0]`` to ``channels[1]``, padded to keep the size at stride 1.

        ``gain`` is 2 for an input that comes from a relu, 1 for one that was only normalized.
        """
        inside, outside = channels
        per_group = inside // group
        fan_in = per_group * kernel * kernel
        inputs = [x, self.normal(f"{name}.weight", (outside, per_group, kernel, kernel), fan_in, gain)]
        if bias:
            inputs.append(self.normal(f"{name}.bias", (outside,), fan_in))
        pad = kernel // 2 if pads is None else pads
        return self.node(
            "Conv",
            inputs,
            name,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
            group=group,
        )

    def batch_norm(self, x: str, channels: int, name: str, *, scale: float = 1.0) -> str:
        """BatchNormalization; statistics scatter around a standardized input's, gamma around ``scale``."""
        rng = self.rng
        gamma = (scale * rng.uniform(0.5, 1.5, channels)).astype(np.float32)
        beta = (0.1 * rng.standard_normal(channels)).astype(np.float32)
        mean = (0.1 * rng.standard_normal(channels)).astype(np.float32)
        var = rng.uniform(0.5, 1.5, channels).astype(np.float32)
        names = [
            self.weight(f"{name}.{suffix}", array)
            for suffix, array in (("weight", gamma), ("bias", beta), ("mean", mean), ("var", var))
        ]
        return self.node("BatchNormalization", [x, *names], name, epsilon=1e-5)

    def linear(self, x: str, features: tuple[int, int], name: str, *, gain: float = 1.0) -> str:
        """Gemm with bias, weight stored [out, in]."""
        inside, outside = features
        weight = self.normal(f"{name}.weight", (outside, inside), inside, gain)
        bias = self.normal(f"{name}.bias", (outside,), inside, gain)
        return self.node("Gemm", [x, weight, bias], name, transB=1)

    def constant(self, name: str, values: Sequence[int]) -> str:
        """An int64 initializer."""
        return self.weight(name, np.asarray(values, np.int64))

    def scalar(self, name: str, value: float) -> str:
        """An fp32 scalar initializer."""
        return self.weight(name, np.asarray(value, np.float32))

    def model(self, outputs: Mapping[str, Sequence[int | str]]) -> onnx.ModelProto:
        """The finished model; ``outputs`` gives names of fp32 values and their shapes."""
        infos = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
            for name, shape in outputs.items()
        ]
        graph = helper.make_graph(self._nodes, self.name, self._inputs, infos, self._initializers)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="flexc",
        )


batch_option = click.option(
    "--batch",
    type=click.IntRange(min=1),
    callback=lambda _context, _option, batch: OPEN_BATCH if batch is None else batch,
    help="Fixed batch; where it is left out, the batch is open, and `flexc compile --batch` settles it.",
)
"""The option of builders that leave the batch open unless one is given."""


def save_and_report(model: onnx.ModelProto, output: Path) -> None:
    """Writes a model and prints what was written."""
    onnx.save(model, output)
    click.echo(f"{output}: {len(model.graph.node)} nodes, {output.stat().st_size / 2**20:.1f} MiB")
