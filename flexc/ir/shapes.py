"""What each op makes of the shapes and element types of its operands: one pure function an op.

A rule takes the operands' :class:`TensorSpec` (None for one that is absent) and the op's attributes under
their own names, gives the result's, and raises :class:`ShapeError` where they do not fit. The importer
builds result types with these rules and the ops verify themselves with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, TypeAlias, get_args

Element: TypeAlias = Literal["f32", "i64", "i32", "i1"]
ELEMENTS: tuple[Element, ...] = get_args(Element)
Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class TensorSpec:
    """Shape and element type of a tensor."""

    shape: Shape
    element: Element = "f32"

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    def __str__(self) -> str:
        suffix = "" if self.element == "f32" else f" {self.element}"
        return f"{list(self.shape)}{suffix}"


class ShapeError(ValueError):
    """Operands that an op does not take; ``hint`` says what would fit."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def element_named(name: str) -> Element:
    """The element type of that name; ShapeError for one that tensors do not have."""
    if name not in ELEMENTS:
        raise ShapeError(f"tensors of {name} are not supported", f"element types are {', '.join(ELEMENTS)}")
    return name


def require_float(op: str, *operands: TensorSpec | None) -> None:
    """ShapeError unless every operand is fp32."""
    for operand in operands:
        if operand is not None and operand.element != "f32":
            raise ShapeError(f"{op} of {operand.element} elements", "it is defined on f32; insert a Cast")


def normalize_axis(axis: int, rank: int) -> int:
    """``axis`` counted from the front; ShapeError outside [-rank, rank)."""
    if not -rank <= axis < rank:
        raise ShapeError(f"axis {axis} of a tensor of rank {rank}", f"axes run from {-rank} to {rank - 1}")
    return axis % rank


def normalize_axes(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Distinct axes from the front, ascending; ShapeError for one out of range or given twice."""
    found = sorted(normalize_axis(axis, rank) for axis in axes)
    if len(set(found)) != len(found):
        raise ShapeError(f"axes {list(axes)} name a dimension twice")
    return tuple(found)


def broadcast(*shapes: Shape) -> Shape:
    """The common shape of operands that broadcast as NumPy's do; ShapeError if they do not."""
    rank = max(len(shape) for shape in shapes)
    result = [1] * rank
    for shape in shapes:
        for dim, extent in enumerate(shape, rank - len(shape)):
            if extent != 1 and result[dim] not in (1, extent):
                spelled = " and ".join(str(list(each)) for each in shapes)
                raise ShapeError(
                    f"shapes {spelled} do not broadcast", "aligned at the right, extents must be equal or 1"
                )
            if extent != 1:
                result[dim] = extent
    return tuple(result)


# Elementwise ops.


def elementwise(x: TensorSpec, **_attributes: object) -> TensorSpec:
    """An fp32 function of each element."""
    require_float("an elementwise function", x)
    return x


def cast_to(x: TensorSpec, *, to: str) -> TensorSpec:
    """The same shape with another element type."""
    return TensorSpec(x.shape, element_named(to))


def _same_element(lhs: TensorSpec, rhs: TensorSpec) -> None:
    if lhs.element != rhs.element:
        raise ShapeError(f"operands of {lhs.element} and {rhs.element}", "both need one element type")


def arithmetic(lhs: TensorSpec, rhs: TensorSpec) -> TensorSpec:
    """A number from two numbers of one type, broadcast."""
    _same_element(lhs, rhs)
    if lhs.element == "i1":
        raise ShapeError("arithmetic on i1 elements", "insert a Cast")
    return TensorSpec(broadcast(lhs.shape, rhs.shape), lhs.element)


def power(lhs: TensorSpec, rhs: TensorSpec) -> TensorSpec:
    """``lhs ** rhs``, broadcast."""
    require_float("a power", lhs, rhs)
    return arithmetic(lhs, rhs)


def comparison(lhs: TensorSpec, rhs: TensorSpec) -> TensorSpec:
    """A truth value from two elements of one type, broadcast."""
    _same_element(lhs, rhs)
    return TensorSpec(broadcast(lhs.shape, rhs.shape), "i1")


def where(condition: TensorSpec, on_true: TensorSpec, on_false: TensorSpec) -> TensorSpec:
    """An element of one of two operands, all three broadcast."""
    if condition.element != "i1":
        raise ShapeError(f"a condition of {condition.element} elements", "the condition must be i1")
    _same_element(on_true, on_false)
    return TensorSpec(broadcast(condition.shape, on_true.shape, on_false.shape), on_true.element)


# Contractions and normalizations.


def matmul(a: TensorSpec, b: TensorSpec, bias: TensorSpec | None = None) -> TensorSpec:
    """[..., M, K] x [..., K, N] + [N] -> [..., M, N]."""
    require_float("a matrix product", a, b, bias)
    if a.rank < 2 or b.rank < 2:
        raise ShapeError(
            f"a matrix product of ranks {a.rank} and {b.rank}", "both operands need rank 2 or more"
        )
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"{a.shape[-1]} columns on the left, but {b.shape[-2]} rows on the right",
            "the last dimension of the left operand must equal the last but one of the right operand",
        )
    columns = b.shape[-1]
    if bias is not None and bias.shape != (columns,):
        raise ShapeError(f"a bias of shape {list(bias.shape)}, but the product has {columns} columns")
    return TensorSpec((*broadcast(a.shape[:-2], b.shape[:-2]), a.shape[-2], columns))


def _channels(x: TensorSpec, *vectors: TensorSpec) -> None:
    if x.rank < 2:
        raise ShapeError(f"input of rank {x.rank}", "channels are dimension 1: rank 2 or more is needed")
    for vector in vectors:
        if vector.shape != (x.shape[1],):
            raise ShapeError(
                f"input has {x.shape[1]} channels, but a parameter has shape {list(vector.shape)}",
                f"each parameter is a vector of {x.shape[1]}, one value a channel",
            )


def batch_norm(
    x: TensorSpec,
    gamma: TensorSpec,
    beta: TensorSpec,
    mean: TensorSpec,
    var: TensorSpec,
    **_attributes: object,
) -> TensorSpec:
    """x [N, C, ...] and four vectors [C]."""
    require_float("a batch normalization", x, gamma, beta, mean, var)
    _channels(x, gamma, beta, mean, var)
    return x


def layer_norm(
    x: TensorSpec, gamma: TensorSpec, beta: TensorSpec | None = None, *, axis: int, eps: float
) -> TensorSpec:
    """x, and parameters that broadcast to the dimensions of x from ``axis`` on."""
    del eps
    require_float("a layer normalization", x, gamma, beta)
    normalized = x.shape[normalize_axis(axis, x.rank) :]
    for parameter in (gamma, beta):
        if parameter is not None and broadcast(normalized, parameter.shape) != normalized:
            raise ShapeError(
                f"a parameter of shape {list(parameter.shape)} over normalized dimensions {list(normalized)}"
            )
    return x


def along_axis(x: TensorSpec, *, axis: int) -> TensorSpec:
    """An fp32 function over one axis that keeps the shape."""
    require_float("a softmax", x)
    normalize_axis(axis, x.rank)
    return x


def reduction(x: TensorSpec, *, axes: Sequence[int], keepdims: int) -> TensorSpec:
    """The axes shrunk to 1, or gone without ``keepdims``."""
    require_float("a reduction", x)
    reduced = normalize_axes(axes, x.rank)
    if keepdims:
        return TensorSpec(tuple(1 if dim in reduced else size for dim, size in enumerate(x.shape)), x.element)
    return TensorSpec(tuple(size for dim, size in enumerate(x.shape) if dim not in reduced), x.element)


# Movement.


def reshape(x: TensorSpec, *, shape: Sequence[int]) -> TensorSpec:
    """The same elements in another shape."""
    if prod(shape) != x.size:
        raise ShapeError(
            f"{list(x.shape)} has {x.size} elements, but the new shape {list(shape)} has {prod(shape)}"
        )
    return TensorSpec(tuple(shape), x.element)


def expand(x: TensorSpec, *, shape: Sequence[int]) -> TensorSpec:
    """x repeated along dimensions of extent 1, to exactly ``shape``."""
    if broadcast(x.shape, tuple(shape)) != tuple(shape):
        raise ShapeError(f"{list(x.shape)} does not expand to {list(shape)}")
    return TensorSpec(tuple(shape), x.element)


def transpose(x: TensorSpec, *, permutation: Sequence[int]) -> TensorSpec:
    """Result dimension i is operand dimension ``permutation[i]``."""
    if sorted(permutation) != list(range(x.rank)):
        raise ShapeError(f"permutation {list(permutation)} of a tensor of rank {x.rank}")
    return TensorSpec(tuple(x.shape[axis] for axis in permutation), x.element)


def strided_slice(
    x: TensorSpec, *, starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int]
) -> TensorSpec:
    """``sizes[i]`` elements from ``starts[i]`` by ``steps[i]``, all inside x."""
    if not len(starts) == len(sizes) == len(steps) == x.rank:
        raise ShapeError(f"{len(starts)} starts, {len(sizes)} sizes and {len(steps)} steps for rank {x.rank}")
    for dim, (start, size, step, extent) in enumerate(zip(starts, sizes, steps, x.shape, strict=True)):
        last = start + (size - 1) * step
        if size < 0 or step == 0 or (size > 0 and not (0 <= start < extent and 0 <= last < extent)):
            raise ShapeError(
                f"dimension {dim} of extent {extent} cut from {start}, {size} elements by step {step}"
            )
    return TensorSpec(tuple(sizes), x.element)


def pad(x: TensorSpec, *, pads: Sequence[int], mode: str, value: float) -> TensorSpec:
    """``pads`` holds the begins, then the ends; negative ones cut."""
    del value
    if len(pads) != 2 * x.rank:
        raise ShapeError(f"{len(pads)} pads for a tensor of rank {x.rank}", "each dimension takes two")
    begins, ends = pads[: x.rank], pads[x.rank :]
    result = []
    for dim, (extent, begin, end) in enumerate(zip(x.shape, begins, ends, strict=True)):
        kept = extent + min(begin, 0) + min(end, 0)
        # Reflection repeats all but the edge, the edge needs one element.
        is_fed = (
            mode == "constant" or max(begin, end) <= 0 or kept > (max(begin, end) if mode == "reflect" else 0)
        )
        if kept < 0 or not is_fed:
            raise ShapeError(
                f"dimension {dim} of extent {extent} padded by {begin} and {end} in mode '{mode}'"
            )
        result.append(extent + begin + end)
    return TensorSpec(tuple(result), x.element)


def concat(*inputs: TensorSpec, axis: int) -> TensorSpec:
    """The operands one after another along ``axis``."""
    if not inputs:
        raise ShapeError("nothing to concatenate")
    first = inputs[0]
    along = normalize_axis(axis, first.rank)
    for other in inputs[1:]:
        _same_element(first, other)
        rest = (*other.shape[:along], *other.shape[along + 1 :])
        if other.rank != first.rank or rest != (*first.shape[:along], *first.shape[along + 1 :]):
            raise ShapeError(
                f"{list(first.shape)} and {list(other.shape)} along dimension {along}",
                "all other dimensions must be equal",
            )
    total = sum(operand.shape[along] for operand in inputs)
    return TensorSpec((*first.shape[:along], total, *first.shape[along + 1 :]), first.element)


def gather(x: TensorSpec, indices: TensorSpec, *, axis: int) -> TensorSpec:
    """The shape of ``indices`` in the place of ``axis``."""
    if indices.element not in ("i64", "i32"):
        raise ShapeError(f"indices of {indices.element} elements", "indices are i64 or i32")
    along = normalize_axis(axis, x.rank)
    return TensorSpec((*x.shape[:along], *indices.shape, *x.shape[along + 1 :]), x.element)
