"""Speed of LightNorm on one thread: nanoseconds an element, and GB of fp32 input a second.

    python -m benchmarks.lightnorm [--repeats 15]

Times are medians of processor time, so that other programs on the machine count little.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import time
from collections.abc import Callable, Iterator
from statistics import median

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from flexc.numerics import (
    bfp10,
    lightnorm_backward,
    lightnorm_forward,
    lightnorm_infer,
    minifloat,
    pack_fp10,
    unpack_fp10,
)

SHAPES = ((1, 64, 112, 112), (1, 256, 14, 14))
EPS = 1e-5
Array = NDArray[np.float32]


def median_cpu_seconds(call: Callable[[], object], repeats: int) -> float:
    """The median processor time of a call, after one that does not count."""
    call()
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        call()
        times.append(time.thread_time() - start)
    return median(times)


def channels_last(x: Array) -> Array:
    """The same values, channels innermost in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def calls(x: Array, g: Array) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is measured, by name; g is a gradient of the shape of x."""
    random = np.random.default_rng(1)
    gamma, beta, mean = random.standard_normal((3, x.shape[1])).astype(np.float32)
    var = np.abs(mean) + np.float32(0.5)
    saved = lightnorm_forward(x, gamma, beta, eps=EPS)
    held = minifloat(x, exponent_bits=5, fraction_bits=4)
    codes = pack_fp10(held)
    yield "lightnorm_infer", lambda: lightnorm_infer(x, gamma, beta, mean, var, eps=EPS)
    yield "lightnorm_forward", lambda: lightnorm_forward(x, gamma, beta, eps=EPS)
    yield "lightnorm_backward", lambda: lightnorm_backward(g, saved)
    yield "minifloat (1,5,4)", lambda: minifloat(x, exponent_bits=5, fraction_bits=4)
    yield "bfp10", lambda: bfp10(x, bits=7)
    yield "pack_fp10", lambda: pack_fp10(held)
    yield "unpack_fp10", lambda: unpack_fp10(codes)


@click.command()
@click.option("--repeats", default=15, show_default=True, help="Times that each call is measured.")
def main(repeats: int) -> None:
    """Print the table."""
    table = Table("shape", "memory", "kernel", "ns/element", "GB/s")
    random = np.random.default_rng(0)
    for shape in SHAPES:
        x, g = random.standard_normal((2, *shape)).astype(np.float32)
        for memory, of_x, of_g in (("NHWC", channels_last(x), channels_last(g)), ("NCHW", x, g)):
            for kernel, call in calls(of_x, of_g):
                seconds = median_cpu_seconds(call, repeats)
                speed = x.nbytes / seconds / 1e9
                table.add_row(
                    str(list(shape)), memory, kernel, f"{seconds / x.size * 1e9:.1f}", f"{speed:.2f}"
                )
            table.add_section()
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
