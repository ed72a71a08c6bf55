"""From an ONNX file to a graph: every check, every node, all problems in one report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import onnx

from flexc.diagnostics import Diagnostic, Place, error
from flexc.importer.graph_builder import GraphBuilder
from flexc.importer.graph_inputs import declared_inputs, resolve_shapes
from flexc.importer.model_file import read_model
from flexc.importer.node import Node
from flexc.importer.operators import find_importer
from flexc.importer.opset import model_opset
from flexc.importer.problems import Problems
from flexc.importer.tensors import NARROWED, decode, decode_shape
from flexc.importer.topology import node_place, sort_nodes
from flexc.importer.values import Value
from flexc.ir.program import Graph
from flexc.ir.shapes import TensorSpec


def load_model(
    path: Path | str,
    *,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    batch: int | None = None,
    training: bool = False,
    remark: Callable[[Diagnostic], None] | None = None,
    weights: bool = True,
) -> Graph:
    """The graph of an ONNX model with all shapes known.

    ``input_shapes`` gives whole shapes by input name, ``batch`` the first dimension of every input that has
    a dynamic one; either also settles other dimensions of the same symbol. ``training`` imports the model for
    a training step: dropouts are kept, batch norms may be in training mode. ``remark`` receives notes that
    are no errors. Without ``weights``, floating-point initializers of more than one element are not read, be
    they inside or outside the file: a placeholder of their shape stands for them.

    Raises CompileError with every problem of the model: codes FX1xx for the file, FX2xx for
    its ops (docs/errors.md). Reads the model and its external data, writes nothing.
    """
    file = Path(path)
    model = read_model(file)
    importer = _Importer(model, file, remark, training=training, weights=weights)
    return importer.run(input_shapes or {}, batch)


class _Importer:
    """The state of one import: what each value's name stands for, None where an error has made it unknown."""

    def __init__(
        self,
        model: onnx.ModelProto,
        file: Path,
        remark: Callable[[Diagnostic], None] | None,
        *,
        training: bool,
        weights: bool,
    ) -> None:
        self._graph = model.graph
        self._file = str(file)
        self._folder = file.parent
        self._remark = remark
        self._training = training
        self._decode = decode if weights else decode_shape
        self._problems = Problems()
        self._values: dict[str, Value | None] = {}
        self._opset = model_opset(model, Place(self._file))

    def run(self, input_shapes: Mapping[str, tuple[int, ...]], batch: int | None) -> Graph:
        place = Place(self._file)
        if not self._graph.output:
            self._problems.add(error("FX113", "the model has no outputs", place=place))
        topology = sort_nodes(self._graph, self._file, self._problems)
        self._values.update(dict.fromkeys(topology.undefined))
        self._decode_initializers(place)
        builder = GraphBuilder(self._file, self._settle_inputs(input_shapes, batch, place))
        self._values.update(builder.inputs)
        for index in topology.order:
            self._import_node(index, builder)
        self._problems.raise_any()
        return builder.finish({output.name: self._known(output.name) for output in self._graph.output})

    def _settle_inputs(
        self, input_shapes: Mapping[str, tuple[int, ...]], batch: int | None, place: Place
    ) -> dict[str, TensorSpec]:
        declared = declared_inputs(self._graph, place, self._problems)
        self._values.update(
            (entry.name, None) for entry in self._graph.input if entry.name not in self._values
        )
        for entry in declared:
            if entry.narrowed:
                self._note(f"input '{entry.name}' is taken as f32")
        return resolve_shapes(declared, input_shapes, batch, place, self._problems)

    def _decode_initializers(self, place: Place) -> None:
        for sparse in self._graph.sparse_initializer:
            name = sparse.values.name
            self._values[name] = None
            self._problems.add(
                error("FX207", f"tensor '{name}' is sparse", place=place, hint="store it densely")
            )
        narrowed = 0
        for tensor in self._graph.initializer:
            if tensor.name in self._values:
                continue
            self._values[tensor.name] = None
            with self._problems.collect():
                array = self._decode(tensor, self._folder, place)
                self._values[tensor.name] = Value.constant(tensor.name, array, is_checked=array.size > 1)
            narrowed += tensor.data_type in NARROWED
        if narrowed:
            self._note(f"{narrowed} weights of other floating types are taken as f32")

    def _import_node(self, index: int, builder: GraphBuilder) -> None:
        proto = self._graph.node[index]
        place = node_place(proto, index, self._file)
        outputs = [name for name in proto.output if name]
        self._values.update((name, None) for name in outputs if name not in self._values)
        with self._problems.collect():
            importer = find_importer(proto, self._opset, place)
            if any(self._values.get(name) is None for name in proto.input if name):
                return
            operands = [self._known(name) if name else None for name in proto.input]
            node = Node(proto, operands, builder, place, self._opset, self._folder, training=self._training)
            results = importer(node)
            node.require_all_read()
            self._bind(proto, results, node)

    def _bind(self, proto: onnx.NodeProto, results: tuple[Value, ...], node: Node) -> None:
        for position, name in enumerate(proto.output):
            if not name:
                continue
            if position < len(results):
                self._values[name] = results[position]
            elif self._is_used(name):
                raise node.error(
                    "FX205",
                    f"output {position} ('{name}') is used, but the compiler does not compute it",
                    hint=f"of {proto.op_type}, the first {len(results)} outputs are supported",
                )

    def _is_used(self, name: str) -> bool:
        return any(name in node.input for node in self._graph.node) or any(
            name == output.name for output in self._graph.output
        )

    def _known(self, name: str) -> Value:
        found = self._values[name]
        assert found is not None, f"value '{name}' is unknown without a problem that says why"
        return found

    def _note(self, message: str) -> None:
        if self._remark is not None:
            self._remark(Diagnostic("FX100", message, Place(self._file), severity="remark"))
