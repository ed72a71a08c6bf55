"""The fixed parts of an emitted program: what stands before and after the straight-line code."""

from __future__ import annotations

HEADER = '''\
"""{title}

    python executor.py IN.npz OUT.npz [--tensors TENSORS.npz]

Emitted by flexc {version}. Needs flexc.numerics, and weights.safetensors beside this file.
"""

import argparse
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from flexc.numerics import (
{imports}
)

INPUTS: dict[str, tuple[str, tuple[int, ...]]] = {{  # name: dtype, shape
{inputs}}}
BLOCKS: dict[str, tuple[int, str, tuple[int, ...]]] = {{  # weight: mantissa bits, sign, tile
{blocks}}}


def run(
    inputs: Mapping[str, Any],
    weights: Mapping[str, Any] | None = None,
    keep: Callable[..., None] = lambda **values: None,
) -> dict[str, Any]:
    """The outputs by name; ``keep(name=value, ...)`` is handed every intermediate, node by node."""
    w = load_weights() if weights is None else weights
'''

FOOTER = '''

@functools.cache
def load_weights() -> dict[str, Any]:
    """The constants by key, quantized ones as block tensors, read once from weights.safetensors."""
    arrays = load_file(Path(__file__).with_name("weights.safetensors"))
    blocks = {
        key: BlockTensor.from_planes(
            arrays.pop(f"{key}.mantissa"), arrays.pop(f"{key}.exponent"), BlockFormat(bits, Sign(sign)), tile
        )
        for key, (bits, sign, tile) in BLOCKS.items()
    }
    return {**arrays, **blocks}


def main() -> None:
    """Reads the inputs, runs, writes the outputs and, if asked, every intermediate."""
    wanted = ", ".join(f"{name} {dtype} {list(shape)}" for name, (dtype, shape) in INPUTS.items())
    parser = argparse.ArgumentParser(description="Computes the model's outputs.")
    parser.add_argument("inputs", help=f"an npz file with {wanted}".replace("%", "%%"))
    parser.add_argument("outputs", help="the npz file to write")
    parser.add_argument("--tensors", help="an npz file to write every intermediate to")
    arguments = parser.parse_args()

    inputs = dict(np.load(arguments.inputs))
    for name, (dtype, shape) in INPUTS.items():
        if name not in inputs:
            parser.error(f"{arguments.inputs} has no array {name!r}, only {sorted(inputs)}")
        if (str(inputs[name].dtype), inputs[name].shape) != (dtype, shape):
            parser.error(f"{name!r} is {inputs[name].dtype} {inputs[name].shape}, not {dtype} {shape}")

    tensors: dict[str, Any] = {}

    def keep(**values: Any) -> None:
        for name, value in values.items():
            if isinstance(value, BlockTensor):
                tensors[f"{name}.mantissa"] = value.mantissa
                tensors[f"{name}.exponent"] = value.exponent
            else:
                tensors[name] = value

    if arguments.tensors:
        np.savez(arguments.outputs, **run(inputs, keep=keep))
        np.savez(arguments.tensors, **tensors)
    else:
        np.savez(arguments.outputs, **run(inputs))


if __name__ == "__main__":
    main()
'''
