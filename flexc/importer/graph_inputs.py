"""Shapes of a model's inputs: what it declares, with dynamic dimensions set by the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import onnx

from flexc.diagnostics import CompileError, Place, error
from flexc.importer.limits import require_tensor_fits
from flexc.importer.problems import Problems
from flexc.importer.tensors import NARROWED, element_of
from flexc.ir.shapes import Element, Shape, TensorSpec


@dataclass(frozen=True)
class GraphInput:
    """A declared input. A dimension is an extent, the name of a symbol, or None where nothing is known.

    ``dims`` is None where not even the rank is declared. ``narrowed`` tells of elements that become f32.
    """

    name: str
    element: Element
    dims: tuple[int | str | None, ...] | None
    narrowed: bool

    def describe(self) -> str:
        """The declared shape, ``?`` for an unnamed dynamic dimension."""
        if self.dims is None:
            return "of unknown rank"
        return "[" + ", ".join("?" if dim is None else str(dim) for dim in self.dims) + "]"


def declared_inputs(graph: onnx.GraphProto, place: Place, problems: Problems) -> list[GraphInput]:
    """Inputs that no initializer fills; FX113 and FX207 for types that are no tensors we have."""
    filled = {entry.name for entry in graph.initializer}
    found: dict[str, GraphInput] = {}
    for entry in graph.input:
        if entry.name in filled or entry.name in found:
            continue
        with problems.collect():
            found[entry.name] = _declared(entry, place)
    return list(found.values())


def _declared(entry: onnx.ValueInfoProto, place: Place) -> GraphInput:
    kind = entry.type.WhichOneof("value")
    if kind != "tensor_type":
        what = "without a type" if kind is None else f"a {kind.removesuffix('_type')}"
        raise error(
            "FX113", f"input '{entry.name}' is {what}", place=place, hint="inputs must be dense tensors"
        )
    tensor = entry.type.tensor_type
    element = element_of(tensor.elem_type, f"input '{entry.name}'", place)
    dims = tuple(_dimension(dim) for dim in tensor.shape.dim) if tensor.HasField("shape") else None
    return GraphInput(entry.name, element, dims, tensor.elem_type in NARROWED)


def _dimension(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    # Some exporters write 0 or -1 for a dimension that is open.
    if dim.HasField("dim_value") and dim.dim_value > 0:
        return int(dim.dim_value)
    # Exporters write "?" for dimensions that have nothing to do with each other.
    return dim.dim_param if dim.dim_param not in ("", "?") else None


def resolve_shapes(
    inputs: Sequence[GraphInput],
    given: Mapping[str, Shape],
    batch: int | None,
    place: Place,
    problems: Problems,
) -> dict[str, TensorSpec]:
    """The type of each input whose shape is settled; FX111 and FX112 for the others go to ``problems``."""
    _check_given(inputs, given, place, problems)
    usable = {entry.name: given[entry.name] for entry in inputs if entry.name in given}
    symbols: dict[str, int] = {}
    for entry in inputs:
        if entry.name in usable:
            with problems.collect():
                _bind_given(entry, usable[entry.name], symbols, place)
    with problems.collect():
        _bind_batch(inputs, usable, batch, symbols, place)
    resolved: dict[str, TensorSpec] = {}
    for entry in inputs:
        with problems.collect():
            shape = _resolve(entry, usable.get(entry.name), batch, symbols, place)
            require_tensor_fits(shape, place, f"input '{entry.name}'")
            resolved[entry.name] = TensorSpec(shape, entry.element)
    return resolved


def _check_given(
    inputs: Sequence[GraphInput], given: Mapping[str, Shape], place: Place, problems: Problems
) -> None:
    names = [entry.name for entry in inputs]
    for name in sorted(set(given).difference(names)):
        close = get_close_matches(name, names, n=1)
        listed = ", ".join(f"'{each}'" for each in names) or "none"
        hint = f"did you mean '{close[0]}'?" if close else f"the inputs are: {listed}"
        problems.add(error("FX112", f"the model has no input '{name}'", place=place, hint=hint))


def _bind_given(entry: GraphInput, shape: Shape, symbols: dict[str, int], place: Place) -> None:
    if any(extent < 1 for extent in shape):
        raise _contradiction(entry, f"is given the shape {list(shape)}", place, "extents are 1 or more")
    if entry.dims is None:
        return
    if len(shape) != len(entry.dims):
        raise _contradiction(
            entry,
            f"is given the shape {list(shape)} of rank {len(shape)}, but has rank {len(entry.dims)}",
            place,
            "give one extent a dimension",
        )
    for position, (declared, extent) in enumerate(zip(entry.dims, shape, strict=True)):
        bound = symbols.setdefault(declared, extent) if isinstance(declared, str) else declared
        if bound is not None and bound != extent:
            raise _contradiction(
                entry,
                f"is given {extent} for dimension {position}, which is {bound} in the model",
                place,
                "only dynamic dimensions can be set, and each name of one to a single extent",
            )


def _bind_batch(
    inputs: Sequence[GraphInput],
    given: Mapping[str, Shape],
    batch: int | None,
    symbols: dict[str, int],
    place: Place,
) -> None:
    if batch is None:
        return
    if batch < 1:
        raise error("FX112", f"a batch of {batch}", place=place, hint="the batch is 1 or more")
    leading = [(entry, entry.dims[0]) for entry in inputs if entry.dims]
    for entry, dim in leading:
        wanted = (
            given[entry.name][0]
            if entry.name in given
            else symbols.get(dim)
            if isinstance(dim, str)
            else None
        )
        if not isinstance(dim, int) and wanted not in (None, batch):
            raise _contradiction(
                entry,
                f"is given {wanted} for dimension 0, and a batch of {batch}",
                place,
                "give only one of them",
            )
        if isinstance(dim, str):
            symbols[dim] = batch
    if leading and all(isinstance(dim, int) and dim != batch for _, dim in leading):
        entry, dim = leading[0]
        raise _contradiction(
            entry,
            f"has {dim} for dimension 0 in the model, and a batch of {batch} was asked for",
            place,
            "the batch of this model is fixed; export it with a dynamic first dimension",
        )


def _resolve(
    entry: GraphInput, given: Shape | None, batch: int | None, symbols: Mapping[str, int], place: Place
) -> Shape:
    if given is not None:
        return given
    shape = []
    for position, dim in enumerate(entry.dims or ()):
        if isinstance(dim, int):
            shape.append(dim)
        elif isinstance(dim, str) and dim in symbols:
            shape.append(symbols[dim])
        elif position == 0 and batch is not None:
            shape.append(batch)
        else:
            break
    if entry.dims is not None and len(shape) == len(entry.dims):
        return tuple(shape)
    example = ",".join(str(dim) if isinstance(dim, int) else "N" for dim in entry.dims or (None, None))
    only_batch = bool(entry.dims) and all(isinstance(dim, int) for dim in (entry.dims or ())[1:])
    raise error(
        "FX111",
        f"input '{entry.name}' has dynamic dimensions",
        place=place,
        detail=f"shape {entry.describe()}",
        hint=("set --batch N, or " if only_batch else "set ") + f"--input-shape {entry.name}={example}",
    )


def _contradiction(entry: GraphInput, problem: str, place: Place, hint: str) -> CompileError:
    return error(
        "FX112",
        f"input '{entry.name}' {problem}",
        place=place,
        detail=f"declared {entry.describe()}",
        hint=hint,
    )
