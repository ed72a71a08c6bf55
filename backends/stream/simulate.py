"""The functional simulator: what the records of a stream do to modelled memories.

    python -m flexc.backends.stream.simulate STREAM IN.npz OUT.npz [--tensors NPZ]

It knows the stream and the input arrays, nothing else. A program that is not legal is stopped with a
:class:`~flexc.backends.stream.fault.StreamFault`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from flexc.array_files import read_npz, write_npz
from flexc.backends.stream.box import Counters
from flexc.backends.stream.collection import without_collection
from flexc.backends.stream.decode import OPCODE_OF_CODE, DecodedRecord, decode_records
from flexc.backends.stream.encode import read_stream
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import LOOP_LEVELS, Opcode, Space
from flexc.backends.stream.loops import Loop, Node, loop_tree, trips_of_records
from flexc.backends.stream.memory import Memories
from flexc.backends.stream.program import Stream, Symbol
from flexc.backends.stream.simulate_compute import Compute
from flexc.backends.stream.simulate_convert import Convert, Norm
from flexc.backends.stream.simulate_lightnorm import Constants, Extrema, Narrow, Statistics, Summarize
from flexc.backends.stream.simulate_move import Gather, Load, Store
from flexc.backends.stream.simulate_scatter import Scatter
from flexc.backends.stream.simulate_vector import Vector
from flexc.backends.stream.tensors import checked_input, dram_bytes_used, place_tensor, take_tensor
from flexc.backends.stream.verify import verify
from flexc.diagnostics import CompileError


class Instruction(Protocol):
    """What a record does, made ready for many executions."""

    def execute(self, memories: Memories, counters: Counters) -> None:
        """Do it once. Raises StreamFault."""


class SlotDeclaration:
    """slot."""

    def __init__(self, record: DecodedRecord, trips: tuple[int, ...]) -> None:
        self.register = int(record["slot"])
        self.space = Space(int(record["space"]))
        self.address = int(record["address_bytes"])
        self.size = int(record["size_bytes"])
        self.depth = int(record["depth"])
        self.per_core = bool(record["per_core"])
        self.keep = bool(record["keep"])

    def execute(self, memories: Memories, counters: Counters) -> None:
        memories.declare(
            self.register,
            self.space,
            address=self.address,
            size=self.size,
            depth=self.depth,
            per_core=self.per_core,
            keep=self.keep,
        )


class Next:
    """next."""

    def __init__(self, record: DecodedRecord, trips: tuple[int, ...]) -> None:
        self.register = int(record["slot"])

    def execute(self, memories: Memories, counters: Counters) -> None:
        memories.slot(self.register).next()


INSTRUCTIONS: dict[Opcode, Any] = {
    Opcode.SLOT: SlotDeclaration,
    Opcode.NEXT: Next,
    Opcode.LOAD: Load,
    Opcode.GATHER: Gather,
    Opcode.STORE: Store,
    Opcode.COMPUTE: Compute,
    Opcode.CONVERT: Convert,
    Opcode.VECTOR: Vector,
    Opcode.NORM: Norm,
    Opcode.STATISTICS: Statistics,
    Opcode.SUMMARIZE: Summarize,
    Opcode.NARROW: Narrow,
    Opcode.CONSTANTS: Constants,
    Opcode.EXTREMA: Extrema,
    Opcode.SCATTER: Scatter,
}
"""Halt, loop and end are the structure of the program (``loops``)."""


@dataclass(frozen=True)
class Simulation:
    """What a run leaves: the outputs, and the intermediate tensors where they were asked for.

    The mantissas and exponents of a block-floating-point tensor ``t`` are ``t.mantissa`` and ``t.exponent``.
    """

    outputs: dict[str, NDArray[Any]]
    tensors: dict[str, NDArray[Any]]


class Simulator:
    """A stream that was checked and made ready, to be run on any number of inputs."""

    @without_collection()
    def __init__(self, stream: Stream) -> None:
        """Raises StreamFault for records that mean nothing, whatever is in the memories."""
        self.stream = stream
        self.tree = loop_tree(stream.records)
        records = decode_records(stream.records)
        verify(stream.records, stream.machine.cores)
        self.opcodes = [OPCODE_OF_CODE[record["opcode"]] for record in records]
        self.dram_bytes = dram_bytes_used(stream)
        self.instructions: dict[int, Instruction] = {}
        for index, trips in trips_of_records(self.tree):
            opcode = self.opcodes[index]
            try:
                self.instructions[index] = INSTRUCTIONS[opcode](records[index], trips)
            except StreamFault as fault:
                raise fault.at(record=index, opcode=opcode.name.lower()) from None

    @without_collection()
    def run(self, inputs: Mapping[str, NDArray[Any]], *, tensors: bool = False) -> Simulation:
        """Execute the stream, from empty memories on.

        Raises StreamFault for a program that is not legal, CompileError for inputs that are not the stream's.
        """
        stream = self.stream
        memories = Memories(stream.machine, self.dram_bytes)
        for segment in stream.initial:
            memories.write_initial(segment.address_bytes, segment.content)
        for symbol in stream.symbols:
            if symbol.kind == "input":
                place_tensor(memories, symbol, checked_input(symbol, inputs))
        captured = _Run(self, memories).execute(tensors)
        outputs: dict[str, NDArray[Any]] = {}
        for symbol in stream.symbols:
            if symbol.kind == "output":
                outputs.update(take_tensor(memories, symbol))
        return Simulation(outputs, captured)


class _Run:
    """One execution of a stream."""

    def __init__(self, simulator: Simulator, memories: Memories) -> None:
        self.simulator = simulator
        self.memories = memories
        self.counters: Counters = [0] * LOOP_LEVELS
        self.tensors: dict[str, NDArray[Any]] = {}
        self.pending: list[Symbol] = []

    def execute(self, tensors: bool) -> dict[str, NDArray[Any]]:
        """Execute all records; the intermediates and weights, if ``tensors``."""
        if tensors:
            wanted = (s for s in self.simulator.stream.symbols if s.kind in ("intermediate", "weight"))
            self.pending = sorted(wanted, key=lambda symbol: symbol.complete_at)
        for node in self.simulator.tree:
            self._capture(node.record if isinstance(node, Loop) else node)
            self._execute([node], 0)
        self._capture(len(self.simulator.stream.records))
        return self.tensors

    def _capture(self, done: int) -> None:
        while self.pending and self.pending[0].complete_at <= done:
            self.tensors.update(take_tensor(self.memories, self.pending.pop(0)))

    def _execute(self, nodes: list[Node], level: int) -> None:
        for node in nodes:
            if isinstance(node, Loop):
                for iteration in range(node.count):
                    self.counters[level] = iteration
                    self._execute(node.body, level + 1)
                continue
            try:
                self.simulator.instructions[node].execute(self.memories, self.counters)
            except StreamFault as fault:
                opcode = self.simulator.opcodes[node].name.lower()
                raise fault.at(record=node, opcode=opcode, counters=tuple(self.counters[:level])) from None


def simulate(stream: Stream, inputs: Mapping[str, NDArray[Any]], *, tensors: bool = False) -> Simulation:
    """Run a stream once on its inputs; raises as :class:`Simulator` does."""
    return Simulator(stream).run(inputs, tensors=tensors)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 after a fault or a mistake of the user, which is printed."""
    parser = argparse.ArgumentParser(
        prog="python -m flexc.backends.stream.simulate", description="Run an instruction stream."
    )
    parser.add_argument("stream", type=Path, metavar="STREAM", help="the stream, in binary")
    parser.add_argument("inputs", type=Path, metavar="IN.npz", help="arrays of the inputs, by name")
    parser.add_argument("outputs", type=Path, metavar="OUT.npz", help="file to write the outputs to")
    parser.add_argument("--tensors", type=Path, metavar="NPZ", help="file to write the intermediates to")
    options = parser.parse_args(arguments)
    try:
        stream = read_stream(options.stream)
        found = simulate(stream, read_npz(options.inputs), tensors=options.tensors is not None)
        write_npz(options.outputs, found.outputs)
        if options.tensors is not None:
            write_npz(options.tensors, found.tensors)
    except (StreamFault, CompileError) as failure:
        kind = "fault: " if isinstance(failure, StreamFault) else ""
        print(f"{kind}{failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
