"""Arrays of the tensors that a model file holds: checked against their shape before anything is allocated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from flexc.diagnostics import CompileError, Place, error
from flexc.importer.external_data import read_external
from flexc.importer.limits import require_tensor_fits
from flexc.ir.shapes import Element

Array: TypeAlias = NDArray[Any]
_Field: TypeAlias = Literal["float_data", "double_data", "int32_data", "int64_data"]


@dataclass(frozen=True)
class _Storage:
    """How ONNX stores an element type (raw bytes, or a repeated field) and what it is in the IR."""

    raw: np.dtype[np.generic]
    field: _Field
    element: Element


_STORAGE: dict[int, _Storage] = {
    onnx.TensorProto.FLOAT: _Storage(np.dtype("<f4"), "float_data", "f32"),
    onnx.TensorProto.DOUBLE: _Storage(np.dtype("<f8"), "double_data", "f32"),
    onnx.TensorProto.FLOAT16: _Storage(np.dtype("<f2"), "int32_data", "f32"),
    onnx.TensorProto.BFLOAT16: _Storage(np.dtype("<u2"), "int32_data", "f32"),
    onnx.TensorProto.INT64: _Storage(np.dtype("<i8"), "int64_data", "i64"),
    onnx.TensorProto.INT32: _Storage(np.dtype("<i4"), "int32_data", "i32"),
    onnx.TensorProto.BOOL: _Storage(np.dtype("u1"), "int32_data", "i1"),
}
NARROWED = frozenset({onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16})
"""Floating types that become f32."""

NUMPY_TYPES: dict[Element, np.dtype[np.generic]] = {
    "f32": np.dtype(np.float32),
    "i64": np.dtype(np.int64),
    "i32": np.dtype(np.int32),
    "i1": np.dtype(np.bool_),
}
ELEMENT_OF_TYPE: dict[np.dtype[np.generic], Element] = {dtype: name for name, dtype in NUMPY_TYPES.items()}

PLACEHOLDER = np.float32(0.5)
"""Stands for weights that are not read: neither 0 nor 1, which passes simplify."""


def type_name(data_type: int) -> str:
    """ONNX's name of an element type, in lower case; its number where it has none."""
    kinds: Any = onnx.TensorProto.DataType
    return kinds.Name(data_type).lower() if data_type in kinds.values() else f"type {data_type}"


def element_of(data_type: int, subject: str, place: Place) -> Element:
    """The IR's element type for one of ONNX's; CompileError FX207 where there is none."""
    if data_type not in _STORAGE:
        names = ", ".join(type_name(number) for number in sorted(_STORAGE))
        raise error(
            "FX207",
            f"{subject} has elements of {type_name(data_type)}",
            place=place,
            hint=f"supported are {names}",
        )
    return _STORAGE[data_type].element


def decode(tensor: onnx.TensorProto, folder: Path, place: Place) -> Array:
    """The array of a tensor, f16, bf16 and f64 as fp32; without a copy where bytes can be used as they are.

    CompileError FX104 to FX106 for data that do not match the declaration, FX107 for NaN or infinity among
    more than one element, FX207 for an element type that the IR lacks.
    """
    subject = f"tensor '{tensor.name}'"
    element_of(tensor.data_type, subject, place)
    shape = tuple(tensor.dims)
    if any(extent < 0 for extent in shape):
        raise _malformed(tensor, f"has the shape {list(shape)}", place)
    require_tensor_fits(shape, place, subject)
    stored = _stored_elements(tensor, prod(shape), folder, place).reshape(shape)
    array = _as_element(stored, tensor.data_type)
    if tensor.data_type == onnx.TensorProto.DOUBLE:
        _require_range(stored, array, tensor.name, place)
    # Single elements may be bounds, where infinity has a meaning; they are checked where they enter the IR.
    if array.size > 1:
        require_finite(array, tensor.name, place)
    return array


def decode_shape(tensor: onnx.TensorProto, folder: Path, place: Place) -> Array:
    """As :func:`decode`, but of a floating-point tensor of more than one element only its shape is real.

    Nothing of it is read or allocated.
    """
    shape = tuple(tensor.dims)
    is_weight = element_of(tensor.data_type, f"tensor '{tensor.name}'", place) == "f32" and prod(shape) > 1
    if not is_weight or any(extent < 0 for extent in shape):
        return decode(tensor, folder, place)
    require_tensor_fits(shape, place, f"tensor '{tensor.name}'")
    return np.broadcast_to(PLACEHOLDER, shape)


def require_finite(array: Array, name: str, place: Place) -> None:
    """CompileError FX107 naming the first NaN or infinity of a float array."""
    if not np.issubdtype(array.dtype, np.floating) or np.isfinite(_distinct(array)).all():
        return
    position = np.unravel_index(int(np.argmin(np.isfinite(array))), array.shape)
    raise error(
        "FX107",
        f"tensor '{name}' holds {array[position]}",
        place=place,
        detail=f"element {[int(index) for index in position]} of {list(array.shape)}" if position else "",
        hint="weights must be finite; a masking constant may be a large number such as -1e9",
    )


def _require_range(wide: Array, narrow: Array, name: str, place: Place) -> None:
    beyond = np.isfinite(wide) & ~np.isfinite(narrow)
    if beyond.any():
        raise error("FX107", f"tensor '{name}' holds {wide[beyond][0]}, which is beyond f32", place=place)


def _distinct(array: Array) -> Array:
    """``array`` without the repetitions that a broadcast view makes of an element."""
    return array[tuple(slice(None, 1) if stride == 0 else slice(None) for stride in array.strides)]


def _stored_elements(tensor: onnx.TensorProto, count: int, folder: Path, place: Place) -> Array:
    storage = _STORAGE[tensor.data_type]
    byte_count = count * storage.raw.itemsize
    if tensor.HasField("segment"):
        raise _malformed(tensor, "is stored in segments, which are not supported", place)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        content = read_external(tensor, folder, byte_count, place)
        return np.frombuffer(content, storage.raw)
    if tensor.HasField("raw_data"):
        content = tensor.raw_data
        if len(content) != byte_count:
            raise _malformed(tensor, f"holds {len(content)} bytes, but its shape needs {byte_count}", place)
        return np.frombuffer(content, storage.raw)
    values: Sequence[float] = getattr(tensor, storage.field)
    if len(values) != count:
        raise _malformed(tensor, f"holds {len(values)} values, but its shape needs {count}", place)
    if storage.field != "int32_data":
        return np.array(values, storage.raw)
    # Narrower elements are kept one to a number: as bits, for floats.
    whole = np.array(values, np.int32)
    return whole if storage.raw.itemsize == 4 else whole.astype(f"u{storage.raw.itemsize}").view(storage.raw)


def _as_element(stored: Array, data_type: int) -> Array:
    if data_type == onnx.TensorProto.BFLOAT16:
        stored = (stored.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return stored.astype(NUMPY_TYPES[_STORAGE[data_type].element], copy=False)


def _malformed(tensor: onnx.TensorProto, problem: str, place: Place) -> CompileError:
    return error(
        "FX106",
        f"tensor '{tensor.name}' {problem}",
        place=place,
        detail=f"{type_name(tensor.data_type)} {list(tensor.dims)}",
        hint="the file was cut short or written wrongly",
    )
