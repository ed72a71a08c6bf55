"""Non-finite values in the block-floating-point, contraction and LightNorm arithmetic are errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class NonFiniteError(ArithmeticError):
    """A NaN or an infinity reached, or came out of, an operation that has none (specification, section 0).

    ``op`` is the operation, ``tensor`` the operand or result (a kernel's own word for it until the caller
    puts in the graph's name with :meth:`located`), ``index`` the first offending index in row-major order
    and ``step`` the training step, if there is one.
    """

    def __init__(self, op: str, tensor: str, index: tuple[int, ...], step: int | None = None) -> None:
        self.op = op
        self.tensor = tensor
        self.index = index
        self.step = step
        at_step = "" if step is None else f" in step {step}"
        super().__init__(f"{op}: non-finite value in '{tensor}' at index {list(index)}{at_step}")

    def located(
        self, *, op: str | None = None, tensor: str | None = None, step: int | None = None
    ) -> NonFiniteError:
        """The same error with the graph's names for the operation and the tensor, and the training step."""
        return NonFiniteError(
            self.op if op is None else op,
            self.tensor if tensor is None else tensor,
            self.index,
            self.step if step is None else step,
        )


def require_finite(x: NDArray[np.float32], op: str, tensor: str) -> None:
    """Raise :class:`NonFiniteError` naming the first element of ``x`` that is a NaN or an infinity."""
    finite = np.isfinite(x)
    if not finite.all():
        first = np.argmin(finite)
        raise NonFiniteError(op, tensor, tuple(int(i) for i in np.unravel_index(first, x.shape)))
