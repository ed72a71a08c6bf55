"""A compiled model: in memory as it came from the passes, or in the folder it was saved to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from flexc import artefact
from flexc.artefact import Manifest, Source
from flexc.backends.agreement import Agreement, DisagreementError, compare
from flexc.backends.executor.emit import EmittedProgram, emit_program, input_specs, output_specs
from flexc.backends.executor.run import Executable, Keep, Kept, explain, weights_of
from flexc.backends.follow import follow_both
from flexc.backends.stream.encode import encode, read_stream
from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.listing import disassemble, initial_bytes
from flexc.backends.stream.program import Stream
from flexc.backends.stream.run import simulate_file
from flexc.diagnostics import Place, error
from flexc.ir import nn
from flexc.ir.integer_uses import integer_uses
from flexc.ir.program import Graph, parse_module
from flexc.ir.weight_store import WeightStore
from flexc.numerics import NonFiniteError
from flexc.options import CompileOptions, Profile
from flexc.schedule import Schedule
from flexc.scheduling import schedule_of
from flexc.target import Target, load_target, parse_target, target_file
from flexc.tensor_spec import TensorSpec, check_inputs

Array: TypeAlias = npt.NDArray[Any]
Engine: TypeAlias = Literal["executor", "stream", "both"]


@dataclass(frozen=True)
class EngineRun:
    """The outputs of a run, its intermediates if they were asked for, and whether both engines agree.

    A quantized intermediate is two arrays, ``name.mantissa`` and ``name.exponent``.
    """

    outputs: dict[str, Array]
    tensors: dict[str, Array]
    agreement: Agreement | None


class Program:
    """What :func:`flexc.compile` and :func:`flexc.load` return.

    ``source`` is the ONNX file and its sha256, ``options`` what it was compiled with, ``inputs`` and
    ``outputs`` what it takes and gives; ``folder`` is where it was loaded from.
    """

    def __init__(
        self,
        source: Source,
        options: CompileOptions,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        *,
        graph: Graph | None = None,
        folder: Path | None = None,
    ) -> None:
        """A program has a graph or a folder that holds one; see :meth:`of_graph` and :meth:`of_folder`."""
        self.source = source
        self.options = options
        self.inputs = inputs
        self.outputs = outputs
        self.folder = folder
        if graph is not None:
            self.graph = graph

    @classmethod
    def of_graph(cls, graph: Graph, source: Source, options: CompileOptions) -> Program:
        """The program of a graph that all passes have run on."""
        arguments = graph.main.body.block.args
        inputs = tuple(
            replace(spec, values=tuple(use.values for use in integer_uses(graph, argument)))
            for spec, argument in zip(input_specs(graph), arguments, strict=True)
        )
        return cls(source, options, inputs, output_specs(graph), graph=graph)

    @classmethod
    def of_folder(cls, folder: Path) -> Program:
        """The program in an artefact's folder; CompileError where it is none, or damaged."""
        found = artefact.read_manifest(folder)
        source = Source(os.path.normpath(folder / found.source.path), found.source.sha256)
        return cls(source, found.options, found.inputs, found.outputs, folder=folder)

    @cached_property
    def graph(self) -> Graph:
        """The graph, parsed when it is first asked for."""
        assert self.folder is not None
        path = self.folder / artefact.GRAPH
        module = parse_module(path.read_text(encoding="utf-8"), str(path))
        return Graph(module, WeightStore.load(self.folder / artefact.WEIGHTS), self.source.path)

    @property
    def carried(self) -> tuple[str, ...]:
        """The inputs of a training step that its outputs of the same names replace in the next one."""
        if self.options.training is None:
            return ()
        given = {spec.name for spec in self.outputs}
        return tuple(spec.name for spec in self.inputs if spec.name in given)

    @property
    def first_state(self) -> dict[str, Array]:
        """The inputs of a training step that have a value before the first one.

        Weights, state of the optimizer, statistics, and the sums of gradients of micro-batches.
        """
        if self.options.training is None:
            return {}
        if self.folder is None:
            weights = self.graph.weights
        else:
            weights = WeightStore.load(self.folder / artefact.WEIGHTS)
        names = (spec.name for spec in self.inputs)
        return {name: np.asarray(weights.get(name)) for name in names if name in weights}

    @cached_property
    def emitted(self) -> EmittedProgram:
        """The text of executor.py and what its statements stand for."""
        return emit_program(self.graph)

    @cached_property
    def target(self) -> Target:
        """The machine that the program was compiled for, as it was then; CompileError FX431 in bfpsim."""
        self._check_maps()
        if self.folder is None:
            return load_target(self.options.target)
        return parse_target(self._target_content, str(self.folder / artefact.TARGET))

    @property
    def _target_content(self) -> bytes:
        """The TOML of :attr:`target`: a loaded program's own, whatever has become of the file that it was."""
        if self.folder is None:
            return target_file(self.options.target)
        return (self.folder / artefact.TARGET).read_bytes()

    @cached_property
    def stream(self) -> Stream:
        """The instruction stream; CompileError FX431 in the bfpsim profile."""
        self._check_maps()
        if self.folder is not None:
            return read_stream(self.folder / artefact.STREAM)
        # Imported here: a loaded program needs no emitter.
        from flexc.backends.stream.emit import emit_stream

        return emit_stream(self.graph, self.target)

    @cached_property
    def schedule(self) -> Schedule:
        """What runs when on the target's clock; CompileError FX431 in the bfpsim profile."""
        self._check_maps()
        if self.folder is not None:
            path = self.folder / artefact.SCHEDULE
            return Schedule.from_json(path.read_text(encoding="utf-8"), str(path))
        return schedule_of(self.graph, self.stream, self.target)

    @cached_property
    def _executable(self) -> Executable:
        if self.folder is None:
            return Executable(self.emitted.text, f"<executor of {self.source.path}>", weights_of(self.graph))
        path = self.folder / artefact.EXECUTOR
        return Executable(path.read_text(encoding="utf-8"), str(path))

    def run(
        self, inputs: Mapping[str, Array], engine: Engine = "executor", *, keep: Keep | None = None
    ) -> dict[str, Array]:
        """The outputs by name; ``keep(name=value, ...)`` is handed the executor's intermediates.

        Raises CompileError for inputs that do not fit (FX501 to FX504) and for a NaN or an infinity that
        reaches quantized arithmetic (FX601); :class:`DisagreementError` if ``engine`` is "both" and they
        differ, which is a bug.
        """
        check_inputs(self.inputs, inputs, self.source.path)
        if engine == "executor":
            return self._execute(inputs, keep)
        result = self.run_engine(inputs, engine)
        if result.agreement is not None and result.agreement.difference is not None:
            raise DisagreementError(result.agreement.difference)
        return result.outputs

    def run_engine(self, inputs: Mapping[str, Array], engine: Engine, *, tensors: bool = False) -> EngineRun:
        """A run with all there is to know of it; ``tensors`` asks for the intermediates by name."""
        if engine != "executor":
            self._check_maps()
        check_inputs(self.inputs, inputs, self.source.path)
        kept = Kept()
        if engine == "executor":
            return EngineRun(self._execute(inputs, kept if tensors else None), kept.arrays, None)
        if engine == "stream":
            try:
                return EngineRun(*self._simulate(inputs, tensors), None)
            except StreamFault:
                # A NaN in the inputs stops the machine, too; the executor's message names the node.
                self._execute(inputs, None)
                raise
        expected = self._execute(inputs, kept)
        outputs, simulated = self._simulate(inputs, True)
        if any(isinstance(op, nn.CONTRACTIONS) for op in self.graph.main.body.block.ops):
            agreement = follow_both(self.graph, inputs, (kept.arrays, expected), (simulated, outputs))
        else:
            agreement = compare(kept.arrays, simulated).then(compare(expected, outputs))
        return EngineRun(expected, kept.arrays, agreement)

    def _execute(self, inputs: Mapping[str, Array], keep: Keep | None) -> dict[str, Array]:
        try:
            return self._executable.run(inputs, keep)
        except NonFiniteError as failure:
            line = self._executable.line_of(failure)
            step = None if line is None else self.emitted.step_at(line)
            raise explain(failure, step, self.source.path) from failure

    def _simulate(
        self, inputs: Mapping[str, Array], tensors: bool
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Outputs and intermediates of the stream, simulated in a process of its own."""
        if self.folder is not None:
            return simulate_file(self.folder / artefact.STREAM, inputs, tensors=tensors)
        with tempfile.TemporaryDirectory(prefix="flexc-") as name:
            path = Path(name) / artefact.STREAM
            path.write_bytes(encode(self.stream))
            return simulate_file(path, inputs, tensors=tensors)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the artefact, whole or not at all; an artefact that is there is replaced.

        Raises CompileError: FX510 for a path that holds something else, FX511 where the disk refuses.
        """
        path = Path(folder)
        relative = Source(os.path.relpath(self.source.path, path.resolve()), self.source.sha256)

        def manifest(files: dict[str, str]) -> Manifest:
            return Manifest(relative, self.options, self.inputs, self.outputs, files)

        artefact.write_artefact(path, self._files(), manifest)

    def _check_maps(self) -> None:
        if self.options.profile is Profile.BFPSIM:
            raise error(
                "FX431",
                "the bfpsim profile has no mapping, no instruction stream and no schedule",
                place=Place(self.source.path),
                hint="it runs on the executor; the flexblock profile is that of the machine",
            )

    def _files(self) -> dict[str, Callable[[Path], object]]:
        """What writes each file of the artefact but the manifest."""
        graph = f"{self.graph.module!s}\n".encode()
        executor: dict[str, Callable[[Path], object]] = {
            artefact.GRAPH: lambda file: file.write_bytes(graph),
            artefact.WEIGHTS: self.graph.weights.save,
            artefact.EXECUTOR: lambda file: file.write_bytes(self.emitted.text.encode()),
        }
        return executor if self.options.profile is Profile.BFPSIM else executor | self._stream_files()

    def _stream_files(self) -> dict[str, Callable[[Path], object]]:
        binary = encode(self.stream)
        listing, initial = disassemble(self.stream), initial_bytes(self.stream)
        target = self._target_content
        return {
            artefact.STREAM: lambda file: file.write_bytes(binary),
            artefact.STREAM_TEXT: lambda file: file.write_bytes(listing.encode()),
            artefact.STREAM_DATA: lambda file: file.write_bytes(initial),
            artefact.TARGET: lambda file: file.write_bytes(target),
            artefact.SCHEDULE: lambda file: file.write_bytes(self.schedule.to_json().encode()),
        }


def load(folder: str | os.PathLike[str]) -> Program:
    """The program in an artefact's folder.

    Raises :class:`~flexc.diagnostics.CompileError` where there is none, where it has another version, and
    where its files are damaged (FX512 to FX515).
    """
    return Program.of_folder(Path(folder))
