"""Reading the bytes of a model file and parsing them as ONNX."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from flexc.diagnostics import Place, error
from flexc.importer.limits import MODEL_FILE_BYTES


def read_model(path: Path) -> onnx.ModelProto:
    """The model in a file, structure unchecked. CompileError FX101 (file) or FX102 (not ONNX)."""
    place = Place(str(path))
    content = _read_bytes(path, place)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as failure:
        raise error(
            "FX102",
            "not an ONNX model, or cut short: the bytes do not parse",
            place=place,
            detail=f"{len(content)} bytes",
            hint="check that the file was written by an ONNX exporter and copied whole",
        ) from failure
    if not model.HasField("graph") or not model.opset_import:
        missing = "graph" if not model.HasField("graph") else "opset version"
        raise error(
            "FX102",
            f"not an ONNX model, or cut short: it has no {missing}",
            place=place,
            detail=f"{len(content)} bytes",
            hint="check that the file was written by an ONNX exporter and copied whole",
        )
    for text in _texts(model.graph):
        # The parser hands out strings that are no UTF-8 as bytes.
        if isinstance(text, bytes):
            raise error(
                "FX102", "not an ONNX model: a name in it is not UTF-8", place=place, detail=repr(text)[1:]
            )
    return model


def _texts(graph: onnx.GraphProto) -> Iterator[str | bytes]:
    """Every string of a graph that names something."""
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    for tensor in graph.initializer:
        yield tensor.name
        for entry in tensor.external_data:
            yield from (entry.key, entry.value)
    for sparse in graph.sparse_initializer:
        yield sparse.values.name
    for value in (*graph.input, *graph.output):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)


def _read_bytes(path: Path, place: Place) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise error("FX101", "not a regular file", place=place, hint="give the path of an .onnx file")
        if status.st_size > MODEL_FILE_BYTES:
            raise error(
                "FX101",
                f"the file has {status.st_size} bytes; an ONNX file holds at most {MODEL_FILE_BYTES}",
                place=place,
                hint="save the weights as external data",
            )
        return path.read_bytes()
    except OSError as failure:
        raise error("FX101", f"cannot be read: {failure.strerror}", place=place) from failure
