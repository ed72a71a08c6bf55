"""Speed of the numerics on one thread: quantization in GB/s, convolutions beside onnxruntime.

Run as ``python -m benchmarks.numerics``; times are medians, and each ratio is of one run.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("OPENBLAS_CORETYPE", None)

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click
import numpy as np
import onnx
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.networks import ConvLayer, convolutions
from benchmarks.peak_memory import session_of
from flexc.numerics import GROUP_LENGTH, BlockTensor, block_conv, lightnorm_infer, quantize
from models.make_mobilenet import make_mobilenet_v2
from models.make_resnet import make_resnet

NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "resnet18": lambda: make_resnet("resnet18"),
    "mobilenet_v2": make_mobilenet_v2,
}
FORMATS = {"FB12": 4, "FB16": 8, "FB24": 16}
SHAPES = (
    (1, 64, 56, 56),
    (1, 128, 28, 28),
    (1, 512, 7, 7),
    (1, 3, 224, 224),
    (1, 96, 112, 112),
    (16, 64, 56, 56),
)


def median_seconds(call: Callable[[], object], repeats: int) -> float:
    """The median time of a call, after one that does not count."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return median(times)


def channels_last(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same values, channels innermost in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def quantized(x: NDArray[np.float32], mantissa_bits: int, *, depthwise_weight: bool = False) -> BlockTensor:
    """In the default tile of a forward operand."""
    tile = (1, 1, *x.shape[2:]) if depthwise_weight else (1, GROUP_LENGTH[mantissa_bits], 1, 1)
    return quantize(x, mantissa_bits=mantissa_bits, tile=tile)


def quantization_table(repeats: int) -> Table:
    """GB of fp32 input a second, by shape, memory layout and format."""
    table = Table("shape", "memory", *FORMATS, title="quantize, GB/s of fp32 input")
    random = np.random.default_rng(0)
    for shape in SHAPES:
        x = random.standard_normal(shape).astype(np.float32)
        for layout, laid_out in (("NCHW", x), ("NHWC", channels_last(x))):
            speeds = [
                x.nbytes / median_seconds(lambda v=laid_out, m=bits: quantized(v, m), repeats) / 1e9  # type: ignore[misc]
                for bits in FORMATS.values()
            ]
            table.add_row(str(list(shape)), layout, *(f"{speed:.2f}" for speed in speeds))
    return table


def layer_seconds(layer: ConvLayer, mantissa_bits: int, repeats: int) -> float:
    """The time of one convolution of operands already quantized; activations are rectified normal noise."""
    random = np.random.default_rng(1)
    noise = random.standard_normal(layer.x_shape).astype(np.float32)
    x = quantized(channels_last(noise if layer.x_shape[1] == 3 else np.maximum(noise, 0)), mantissa_bits)
    deviation = (2 / np.prod(layer.w_shape[1:])) ** 0.5
    weight = (random.standard_normal(layer.w_shape) * deviation).astype(np.float32)
    w = quantized(weight, mantissa_bits, depthwise_weight=layer.w_shape[1] == 1)
    bias = np.zeros(layer.w_shape[0], np.float32)
    return median_seconds(
        lambda: block_conv(
            x, w, bias, stride=layer.stride, pads=layer.pads, dilation=(1, 1), group=layer.group
        ),
        repeats,
    )


def lightnorm_table(repeats: int) -> Table:
    """Nanoseconds an element of a normalization with given statistics."""
    table = Table("shape", "ns an element", title="lightnorm_infer, channels last")
    random = np.random.default_rng(0)
    for shape in SHAPES:
        if shape[1] % 4 == 0:
            x = channels_last(random.standard_normal(shape).astype(np.float32))
            gamma, beta, mean = random.standard_normal((3, shape[1])).astype(np.float32)
            variance = random.uniform(0.5, 2, shape[1]).astype(np.float32)
            seconds = median_seconds(
                lambda v=x, g=gamma, b=beta, m=mean, s=variance: lightnorm_infer(v, g, b, m, s, eps=1e-5),  # type: ignore[misc]
                repeats,
            )
            table.add_row(str(list(shape)), f"{1e9 * seconds / x.size:.2f}")
    return table


def network_table(name: str, model: onnx.ModelProto, repeats: int) -> Table:
    """The convolutions of a network layer by layer, their sum, and the whole network on onnxruntime."""
    image = np.random.default_rng(2).standard_normal((1, 3, 224, 224)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        session = session_of(path)
    reference = median_seconds(lambda: session(image), repeats)
    table = Table("layer", "times", "MMAC", *FORMATS, title=f"{name}, block_conv, ms")
    totals = dict.fromkeys(FORMATS, 0.0)
    for layer, count in convolutions(model).items():
        times = {name: layer_seconds(layer, bits, repeats) for name, bits in FORMATS.items()}
        for format_name, seconds in times.items():
            totals[format_name] += count * seconds
        milliseconds = (f"{1e3 * seconds:.2f}" for seconds in times.values())
        table.add_row(layer.label, str(count), f"{layer.macs / 1e6:.0f}", *milliseconds)
    table.add_section()
    table.add_row("all convolutions", "", "", *(f"{1e3 * seconds:.1f}" for seconds in totals.values()))
    ratios = (f"{seconds / reference:.2f}x" for seconds in totals.values())
    table.add_row(f"beside onnxruntime, whole network, {1e3 * reference:.1f} ms", "", "", *ratios)
    return table


@click.command()
@click.option("--repeats", default=15, show_default=True, help="Times that each call is measured.")
@click.option("--only", type=click.Choice(["quantize", "lightnorm", *NETWORKS]), help="One table alone.")
def main(repeats: int, only: str | None) -> None:
    """Print the tables."""
    console = Console(width=120)
    if only in (None, "quantize"):
        console.print(quantization_table(repeats))
    if only in (None, "lightnorm"):
        console.print(lightnorm_table(repeats))
    for name, make in NETWORKS.items():
        if only in (None, name):
            console.print(network_table(name, make(), repeats))


if __name__ == "__main__":
    main()
