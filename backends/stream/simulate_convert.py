"""convert and norm: operations over the boxes of all cores together, groups of channels kept whole."""

from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.access import Operand, read, write
from flexc.backends.stream.box import Box, CoreRun, Counters, Inside
from flexc.backends.stream.decode import DecodedRecord
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import CORE_AXES, FORMAT_BITS, Rounding
from flexc.backends.stream.memory import Memories
from flexc.backends.stream.simulate_move import operands_of
from flexc.numerics.errors import NonFiniteError
from flexc.numerics.lightnorm import normalize_with
from flexc.numerics.lightnorm_affine import AffineConstants
from flexc.numerics.lightnorm_machine import lightnorm_xhat
from flexc.numerics.quantization import quantize
from flexc.numerics.random_bits import stream_of

ROUNDING_NAMES = {
    Rounding.NEAREST: "nearest",
    Rounding.TRUNCATE: "truncate",
    Rounding.STOCHASTIC: "stochastic",
}
NormConstants: TypeAlias = AffineConstants | tuple[NDArray[np.float32], ...]
CHANNEL_GROUP = 4
"""Channels that LightNorm's bfp10 takes together."""


class Assembly:
    """The boxes of all cores as one array; position 0 is the first that is inside.

    Raises StreamFault unless the cores cut it into blocks without gap or overlap.
    """

    def __init__(self, box: Box, inside: Inside) -> None:
        if not inside.runs:
            raise StreamFault("the box has no element inside")
        for d in range(box.dims):
            if box.step[d] != 1 and box.count[d] > 1:
                raise StreamFault(f"dimension {d} has step {box.step[d]} where the box has to be dense")
        self.box = box
        self.runs = inside.runs
        self._views: dict[tuple[CoreRun, tuple[int, ...]], tuple[int, tuple[int, ...], tuple[int, ...]]] = {}
        corners = np.concatenate([self._corners(run) for run in self.runs])
        ends = corners + np.repeat(
            [run.count for run in self.runs], [prod(run.cores) for run in self.runs], axis=0
        )
        low = corners.min(axis=0)
        self.low = tuple(low.tolist())
        self.shape = tuple((ends.max(axis=0) - low).tolist())
        covered = np.zeros(self.shape, bool)
        for first, end in zip((corners - low).tolist(), (ends - low).tolist(), strict=True):
            block = covered[tuple(map(slice, first, end))]
            if block.any():
                raise StreamFault("the cores' boxes overlap")
            block[...] = True
        if not covered.all():
            raise StreamFault("the cores' boxes leave gaps")

    def _corners(self, run: CoreRun) -> NDArray[np.int64]:
        """[cores, dimensions]: the first position inside of each core's box, from the start of them all."""
        cores = np.indices(run.cores).reshape(CORE_AXES, -1).T + run.first
        return np.asarray(cores @ np.array(self.box.core).reshape(-1, CORE_AXES).T + run.low, np.int64)

    def _view(self, run: CoreRun, whole: NDArray[Any], kept: tuple[int, ...]) -> NDArray[Any]:
        """The part of a dense array of dimensions ``kept`` that a run covers: [core axes..., kept...].

        Core axes that move none of them have one entry.
        """
        place = self._views.get((run, kept))
        if place is None:
            corner = self._corners(run)[0].tolist()
            core_strides = tuple(
                sum(self.box.core[d][axis] * stride for d, stride in zip(kept, whole.strides, strict=True))
                for axis in range(CORE_AXES)
            )
            cores = tuple(n if stride else 1 for n, stride in zip(run.cores, core_strides, strict=True))
            place = self._views[(run, kept)] = (
                sum((corner[d] - self.low[d]) * s for d, s in zip(kept, whole.strides, strict=True)),
                (*cores, *(run.count[d] for d in kept)),
                (*core_strides, *whole.strides),
            )
        offset, shape, strides = place
        return np.ndarray(shape, whole.dtype, whole, offset, strides)

    def gather(
        self, operand: Operand, memories: Memories, counters: Counters, *, dims: int | None = None
    ) -> NDArray[np.float32]:
        """The operand's elements of all cores; along the first ``dims`` dimensions, if no others move it."""
        kept = tuple(range(len(self.shape)))[:dims]
        whole = np.empty(self.shape[:dims], np.float32)
        for run in self.runs:
            values = read(operand, memories, run, counters)
            self._view(run, whole, kept)[...] = values.reshape(values.shape[: CORE_AXES + len(kept)])
        return whole

    def gather_vector(
        self, operand: Operand, memories: Memories, counters: Counters, axis: int
    ) -> NDArray[np.float32]:
        """As ``gather`` for an operand that depends on one dimension alone."""
        whole = np.empty(self.shape[axis], np.float32)
        for run in self.runs:
            values = read(operand, memories, run, counters)
            target = self._view(run, whole, (axis,))
            cores = tuple(slice(0, n) for n in target.shape[:CORE_AXES])
            places = tuple(slice(None) if d == axis else 0 for d in range(len(self.shape)))
            target[...] = values[(*cores, *places)]
        return whole

    def scatter(
        self, operand: Operand, memories: Memories, counters: Counters, whole: NDArray[np.float32]
    ) -> None:
        """Write the elements back to the cores."""
        kept = tuple(range(len(self.shape)))
        whole = np.ascontiguousarray(whole)
        for run in self.runs:
            values = self._view(run, whole, kept)
            write(operand, memories, run, counters, values, (True,) * CORE_AXES)


class Assembled:
    """A record that works on the boxes of all cores together."""

    def __init__(self, record: DecodedRecord, trips: tuple[int, ...]) -> None:
        self.box = Box(record, trips)
        self.axis = int(record["axis"])
        self.rounding = ROUNDING_NAMES[Rounding(int(record["function"]))]
        self._assemblies: dict[int, tuple[Inside, Assembly]] = {}

    def assembly(self, counters: Counters) -> Assembly:
        """The assembly of this iteration, made once for each way the boxes are clipped."""
        inside = self.box.inside(counters)
        found = self._assemblies.get(id(inside))
        if found is None:
            found = self._assemblies[id(inside)] = (inside, Assembly(self.box, inside))
        return found[1]

    def first_coordinate(self, assembly: Assembly, counters: Counters) -> int:
        """The coordinate of the assembled box along the axis."""
        low: int = assembly.low[self.axis]
        return self.box.base(self.axis, counters) + low

    def element_index(
        self, position: Operand, assembly: Assembly, counters: Counters, *, dims: int | None = None
    ) -> NDArray[np.int64]:
        """The index of each element, by an operand ``position`` in elements, along the first dimensions."""
        shape = assembly.shape[:dims]
        index = np.full((1,) * len(shape), position.offset, np.int64)
        for d, extent in enumerate(shape):
            first = self.box.base(d, counters) + assembly.low[d]
            along = (first + np.arange(extent, dtype=np.int64)) * position.stride[d]
            index = index + along.reshape([-1 if k == d else 1 for k in range(len(shape))])
        return index

    def require_whole_groups(self, assembly: Assembly, counters: Counters, group: int) -> None:
        """Raises StreamFault when the box splits a group of ``group`` elements along the axis."""
        first = self.first_coordinate(assembly, counters)
        end = first + assembly.shape[self.axis]
        if first % group or (end % group and end != self.box.limit[self.axis]):
            raise StreamFault(f"coordinates {first} to {end} split a group of {group}")


class Convert(Assembled):
    """Quantization to block floating point."""

    def __init__(self, record: DecodedRecord, trips: tuple[int, ...]) -> None:
        super().__init__(record, trips)
        self.mantissa, self.exponent, self.src, self.position, self.step = operands_of(record, self.box)
        self.group = int(record["a_group"])
        self._runs: dict[Assembly, tuple[CoreRun, CoreRun]] = {}
        self.seed = int(record["seed"])
        self.stream_number = int(record["stream_number"])

    def execute(self, memories: Memories, counters: Counters) -> None:
        assembly = self.assembly(counters)
        self.require_whole_groups(assembly, counters, self.group)
        values = assembly.gather(self.src, memories, counters)
        tile = [1] * self.box.dims
        tile[self.axis] = self.group
        try:
            quantized = quantize(
                values,
                mantissa_bits=FORMAT_BITS[self.mantissa.format],
                tile=tile,
                rounding=self.rounding,
                seed=self.seed,
                stream=self._stream(assembly, memories, counters),
                flat_index=self._flat_index(assembly, counters) if self.rounding == "stochastic" else None,
            )
        except NonFiniteError as error:
            raise StreamFault(str(error), operand=self.src.name) from error
        runs = self._runs_of(assembly)
        for operand, plane, run in zip(
            (self.mantissa, self.exponent), (quantized.mantissa, quantized.exponent), runs, strict=True
        ):
            values = plane.reshape((1,) * CORE_AXES + plane.shape)
            write(operand, memories, run, counters, values, (False,) * CORE_AXES)

    def _stream(self, assembly: Assembly, memories: Memories, counters: Counters) -> int:
        """The stream of random bits, of this training step where there is one."""
        if not self.step.present:
            return self.stream_number
        step = read(self.step, memories, assembly.runs[0], counters)
        return stream_of(int(step.reshape(-1)[0]), self.stream_number)

    def _runs_of(self, assembly: Assembly) -> tuple[CoreRun, CoreRun]:
        """Mantissas and exponents of all cores' boxes, as one core would write them."""
        found = self._runs.get(assembly)
        if found is None:
            low, shape = list(assembly.low), list(assembly.shape)
            low[self.axis] //= self.group
            shape[self.axis] = -(-shape[self.axis] // self.group)
            first, one = (0,) * CORE_AXES, (1,) * CORE_AXES
            found = self._runs[assembly] = (
                CoreRun(first, one, assembly.low, assembly.shape),
                CoreRun(first, one, tuple(low), tuple(shape)),
            )
        return found

    def _flat_index(self, assembly: Assembly, counters: Counters) -> NDArray[np.uint32]:
        # Random bits take it modulo 2^32.
        return self.element_index(self.position, assembly, counters).astype(np.uint32)


class Norm(Assembled):
    """LightNorm with given statistics."""

    def __init__(self, record: DecodedRecord, trips: tuple[int, ...]) -> None:
        super().__init__(record, trips)
        self.dst, self.x, *vectors = operands_of(record, self.box)
        self.vectors = [vector for vector in vectors if vector.present]
        self.affine = len(self.vectors) == len(vectors)
        others = tuple(d for d in range(self.box.dims) if d != self.axis)
        self.channels_last = (*others, self.axis)
        self.back = tuple(self.channels_last.index(d) for d in range(self.box.dims))
        self._constants: dict[Assembly, tuple[tuple[int, ...], NormConstants]] = {}

    def execute(self, memories: Memories, counters: Counters) -> None:
        assembly = self.assembly(counters)
        self.require_whole_groups(assembly, counters, CHANNEL_GROUP)
        x = assembly.gather(self.x, memories, counters).transpose(self.channels_last)
        rows = x.reshape(-1, x.shape[-1])
        constants = self._constants_of(assembly, memories, counters)
        try:
            if isinstance(constants, AffineConstants):
                y = normalize_with(rows, constants, rounding=self.rounding)
            else:
                y = lightnorm_xhat(rows, *constants, rounding=self.rounding)
        except NonFiniteError as error:
            raise StreamFault(str(error), operand=self.x.name) from error
        assembly.scatter(self.dst, memories, counters, y.reshape(x.shape).transpose(self.back))

    def _constants_of(self, assembly: Assembly, memories: Memories, counters: Counters) -> NormConstants:
        """The vectors of an assembled box's channels; the last are kept while their buffers are."""
        stamps = tuple(vector.slot(memories).current.stamp for vector in self.vectors)
        found = self._constants.get(assembly)
        if found is None or found[0] != stamps:
            vectors = tuple(assembly.gather_vector(v, memories, counters, self.axis) for v in self.vectors)
            constants: NormConstants = vectors
            if self.affine:
                mean, scale, gamma_q, beta = vectors
                constants = AffineConstants(mean, scale, gamma_q, beta)
            found = self._constants[assembly] = (stamps, constants)
        return found[1]
