"""vector: elementwise functions, rows, reductions and windows on each core's box."""

from __future__ import annotations

from flexc.backends.stream.access import read, write
from flexc.backends.stream.box import Box, CoreRun, Counters
from flexc.backends.stream.decode import DecodedRecord
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.formats import WHOLE_BYTE_TYPES
from flexc.backends.stream.isa_functions import FUNCTIONS
from flexc.backends.stream.memory import Memories
from flexc.backends.stream.simulate_move import operands_of
from flexc.backends.stream.vector_functions import VECTOR_FUNCTIONS
from flexc.numerics import cast


class Vector:
    """One vector record."""

    def __init__(self, record: DecodedRecord, trips: tuple[int, ...]) -> None:
        self.box = Box(record, trips)
        self.dst, *sources = operands_of(record, self.box)
        self.sources = [source for source in sources if source.present]
        self.spec = FUNCTIONS[int(record["function"])]
        self.function = VECTOR_FUNCTIONS[self.spec.name]
        self.immediates = tuple(float(n) for n in record["immediate"][: len(self.spec.immediates)])
        self.reduced = int(record["reduced_dims"])
        self._result_runs: dict[CoreRun, CoreRun] = {}
        self.distinct = tuple(cores > 1 for cores in self.box.grid)

    def execute(self, memories: Memories, counters: Counters) -> None:
        for run in self.box.inside(counters).runs:
            sources = [read(source, memories, run, counters) for source in self.sources]
            try:
                result = self.function(sources, self.immediates, self.reduced)
            except (TypeError, ZeroDivisionError) as error:
                raise StreamFault(f"{self.spec.name}: {error}") from error
            dtype = WHOLE_BYTE_TYPES[self.dst.format]
            if self.spec.name == "cast":
                result = cast(result, to=dtype)
            if result.dtype != dtype:
                message = f"{self.spec.name} makes {result.dtype}, not {dtype}"
                raise StreamFault(message, operand=self.dst.name)
            write(self.dst, memories, self._result_run(run), counters, result, self.distinct)

    def _result_run(self, run: CoreRun) -> CoreRun:
        """Where the result of a run goes: one element for what was reduced."""
        if self.spec.kind not in ("reduce", "window"):
            return run
        found = self._result_runs.get(run)
        if found is None:
            kept = self.box.dims - self.reduced
            low = (*run.low[:kept], *(0,) * self.reduced)
            count = (*run.count[:kept], *(1,) * self.reduced)
            found = self._result_runs[run] = CoreRun(run.first, run.cores, low, count)
        return found
