"""Which elements share an exponent: the tiles of a contraction's operands (numerics, section 1).

Groups run along the reduced axis that a sliding window does not shift, so that no window splits a group.
Results are grouped as the next layer's forward pass would group them.
"""

from __future__ import annotations

from collections.abc import Sequence


def conv_input_tile(rank: int, group_length: int) -> tuple[int, ...]:
    """x [N, C, spatial...]: groups of channels at one position."""
    return (1, group_length, *(1,) * (rank - 2))


def conv_weight_tile(shape: Sequence[int], group_length: int) -> tuple[int, ...]:
    """w [O, I, kernel...]: groups of input channels at one tap; a whole kernel if I = 1 (depthwise)."""
    _, channels, *kernel = shape
    if channels == 1:
        return (1, 1, *kernel)
    return (1, group_length, *(1,) * len(kernel))


def conv_local_grad_weight_tile(shape: Sequence[int], group_length: int) -> tuple[int, ...]:
    """w [O, I, kernel...] in the local gradient: groups of outputs at one tap; a whole kernel if I = 1."""
    _, channels, *kernel = shape
    if channels == 1:
        return (1, 1, *kernel)
    return (group_length, 1, *(1,) * len(kernel))


def conv_weight_grad_tile(rank: int, group_length: int) -> tuple[int, ...]:
    """g and x [N, channels, spatial...] in the weight gradient: groups of images."""
    return (group_length, *(1,) * (rank - 1))


def conv_weight_result_tile(shape: Sequence[int], group_length: int) -> tuple[int, ...]:
    """The gradient of w [O, I, kernel...]: groups of input channels at one tap, of outputs if I = 1."""
    rest = (1,) * (len(shape) - 2)
    return (group_length, 1, *rest) if shape[1] == 1 else (1, group_length, *rest)


def matmul_left_tile(rank: int, group_length: int) -> tuple[int, ...]:
    """a [..., M, K]: groups along K."""
    return (*(1,) * (rank - 1), group_length)


def matmul_right_tile(rank: int, group_length: int) -> tuple[int, ...]:
    """b [..., K, N]: groups along K."""
    return (*(1,) * (rank - 2), group_length, 1)
