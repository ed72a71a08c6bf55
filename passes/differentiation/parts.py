"""A training step in one piece, or as the two pieces of a batch that is run in micro-batches.

Micro-batches run ``gradients`` one after another: each adds its gradients to those before it, in fp32, and
hands them on under the names ``weight/gradient``. Then ``update`` reads the sums and gives the next weights.
A gradient is divided by the examples of the whole batch from the start, so that the sums are what one piece
computes, added in another order. Batch norms see one micro-batch.
"""

from __future__ import annotations

from enum import StrEnum

from xdsl.ir import SSAValue

from flexc.diagnostics import error
from flexc.ir import nn
from flexc.passes.differentiation.builder import Builder
from flexc.passes.differentiation.signature import Signature

GRADIENT_SUFFIX = "/gradient"


class Part(StrEnum):
    """What of a training step a program holds."""

    STEP = "step"
    GRADIENTS = "gradients"
    UPDATE = "update"


def accumulate(b: Builder, signature: Signature, key: str, weight: SSAValue, gradient: SSAValue) -> None:
    """Hands on the sum of ``gradient`` and those of the micro-batches before, which starts at zero."""
    name = key + GRADIENT_SUFFIX
    signature.result(name, b.op(nn.AddOp, signature.memory(name, weight), gradient))


def micro_batches_of(batch: int, micro_batch: int | None) -> int:
    """Parts of ``micro_batch`` examples in a batch, 1 for None; CompileError FX347 if they do not fill it."""
    if micro_batch is None:
        return 1
    if batch % micro_batch:
        raise error(
            "FX347",
            f"a batch of {batch} has no equal micro-batches of {micro_batch}",
            hint="the batch is a multiple of the micro-batch",
        )
    return batch // micro_batch


def micro_batch_of(batch: int, micro_batches: int) -> int:
    """Examples in each of ``micro_batches`` equal parts of a batch; CompileError FX347 if there are none."""
    if micro_batches < 1 or batch % micro_batches:
        raise error(
            "FX347",
            f"a batch of {batch} has no {micro_batches} equal micro-batches",
            hint="the batch is a multiple of the micro-batch",
        )
    return batch // micro_batches
