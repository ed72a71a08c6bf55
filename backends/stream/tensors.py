"""The tensors of a stream's symbols, put into DRAM and taken from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.formats import WHOLE_BYTE_TYPES, unpack
from flexc.backends.stream.isa import FORMAT_BITS, Opcode, Space
from flexc.backends.stream.layout import Layout, all_valid, packed_dimensions
from flexc.backends.stream.memory import Memories
from flexc.backends.stream.program import Stream, Symbol, SymbolPlane
from flexc.backends.stream.validity import WHOLE_BYTE
from flexc.diagnostics import error


def dram_bytes_used(stream: Stream) -> int:
    """The end of the part of DRAM that slots, symbols and initial data lie in."""
    records = stream.records
    slots = records[(records["opcode"] == Opcode.SLOT) & (records["space"] == Space.DRAM)]
    ends = [int(slot["address_bytes"]) + int(slot["depth"]) * int(slot["size_bytes"]) for slot in slots]
    ends += [data.address_bytes + data.content.size for data in stream.initial]
    ends += [plane.address_bytes + plane.size_bytes for symbol in stream.symbols for plane in symbol.planes]
    end = max(ends, default=0)
    if end > stream.machine.dram_bytes:
        raise StreamFault(f"the program uses {end} bytes of DRAM, which has {stream.machine.dram_bytes}")
    return end


def layout_of(plane: SymbolPlane) -> Layout:
    """Where the elements of a plane lie, from its start. Raises StreamFault when one is outside of it."""
    bits = FORMAT_BITS[plane.format]
    strides = [s if n > 1 else 0 for s, n in zip(plane.stride_bits, plane.shape, strict=True)]
    low = sum(min(0, s * (n - 1)) for s, n in zip(strides, plane.shape, strict=True))
    high = sum(max(0, s * (n - 1)) for s, n in zip(strides, plane.shape, strict=True)) + bits
    if low < 0 or high > 8 * plane.size_bytes:
        raise StreamFault(f"a plane of {plane.size_bytes} bytes has elements from bit {low} to {high}")
    packed: tuple[int, ...] = ()
    if plane.format not in WHOLE_BYTE_TYPES:
        packed = packed_dimensions(plane.shape, plane.stride_bits, bits)
        if not packed:
            raise StreamFault(f"no two elements of a plane of {plane.format.name} are neighbours")
        strides = [0 if d in packed else stride for d, stride in enumerate(strides)]
    if any(stride % 8 for stride in strides):
        raise StreamFault(f"a plane of {plane.format.name} has strides {plane.stride_bits} bits")
    return Layout(0, plane.shape, tuple(stride // 8 for stride in strides), packed)


def place_tensor(memories: Memories, symbol: Symbol, value: NDArray[Any]) -> None:
    """Put an input into DRAM. Raises StreamFault for a symbol that is not one plane of whole bytes."""
    (plane,) = symbol.planes
    layout = layout_of(plane)
    if layout.packed:
        raise StreamFault(f"input '{symbol.name}' is in packed format {plane.format.name}")
    dtype = WHOLE_BYTE_TYPES[plane.format]
    view = np.ndarray(layout.shape, dtype, memories.dram, plane.address_bytes, layout.strides)
    view[...] = value
    layout.byte_view(memories.dram_valid, plane.address_bytes, 8 * dtype.itemsize)[...] = WHOLE_BYTE


def take_tensor(memories: Memories, symbol: Symbol) -> dict[str, NDArray[Any]]:
    """A symbol's tensor: under its name, or as ``name.mantissa`` and ``name.exponent``.

    Raises StreamFault when a part of it was not written.
    """
    suffixes = ("",) if len(symbol.planes) == 1 else (".mantissa", ".exponent")
    return {
        symbol.name + suffix: _take_plane(memories, symbol.name, plane)
        for suffix, plane in zip(suffixes, symbol.planes, strict=True)
    }


def _take_plane(memories: Memories, name: str, plane: SymbolPlane) -> NDArray[Any]:
    layout = layout_of(plane)
    bits = FORMAT_BITS[plane.format]
    if 0 in plane.shape:
        return np.zeros(plane.shape, WHOLE_BYTE_TYPES.get(plane.format, np.float32))
    if not all_valid(layout, layout.byte_view(memories.dram_valid, plane.address_bytes, bits), bits):
        raise StreamFault(f"tensor '{name}' was not written whole")
    if not layout.packed:
        dtype = WHOLE_BYTE_TYPES[plane.format]
        return np.ndarray(layout.shape, dtype, memories.dram, plane.address_bytes, layout.strides).copy()
    runs = layout.byte_view(memories.dram, plane.address_bytes, bits)
    return layout.from_runs(unpack(runs, layout.run_length, plane.format))


def checked_input(symbol: Symbol, inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The array given for an input. Raises CompileError unless it is there with its shape and type."""
    value = inputs.get(symbol.name)
    if value is None:
        raise error(
            "FX541",
            f"no input '{symbol.name}'",
            detail=f"given: {', '.join(sorted(inputs)) or 'nothing'}",
        )
    dtype = WHOLE_BYTE_TYPES[symbol.planes[0].format]
    if value.shape != symbol.shape or value.dtype != dtype:
        raise error(
            "FX542",
            f"input '{symbol.name}' is {value.dtype}{list(value.shape)}, not {dtype}{list(symbol.shape)}",
        )
    return value
