"""What ``flexc run`` says about a run: tables for people, JSON for programs (docs/schemas/run.json)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flexc.analysis.compare import Distance
from flexc.analysis.layers import LayerDistance
from flexc.backends.agreement import Agreement
from flexc.cli.text_table import table_lines
from flexc.versioned_json import finite_or_none, versioned_json

SCHEMA = "flexc.run"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class RunReport:
    """One run: the engine, whether both engines agree, and the distances that were asked for."""

    engine: str
    agreement: Agreement | None
    outputs: Sequence[Distance] | None
    layers: Sequence[LayerDistance] | None

    def to_json(self) -> str:
        """The document's text; ``sqnr_db`` is null where tensors are equal or the reference is zero."""
        found = {
            "engine": self.engine,
            "agreement": None if self.agreement is None else _agreement(self.agreement),
            "outputs": None if self.outputs is None else [_distance(entry) for entry in self.outputs],
            "layers": None if self.layers is None else [_layer(entry) for entry in self.layers],
        }
        return versioned_json(SCHEMA, SCHEMA_VERSION, found)

    def lines(self) -> list[str]:
        """The same for a reader, without trailing newlines."""
        found: list[str] = []
        if self.agreement is not None:
            found.append(_agreement_line(self.agreement))
        if self.outputs is not None:
            rows = [[entry.name, _shape(entry), *_numbers(entry)] for entry in self.outputs]
            found += ["", "outputs against onnxruntime", *_table(("output", "shape"), rows)]
        if self.layers is not None:
            layer_rows = [
                [
                    str(one.layer.node_index),
                    one.layer.node_name,
                    _op_type(one),
                    _shape(one.distance),
                    *_numbers(one.distance),
                ]
                for one in self.layers
            ]
            found += [
                "",
                "layers against the fp32 profile",
                *_table(("node", "name", "op", "shape"), layer_rows),
            ]
        return found


_COLUMNS = ("max error", "SQNR dB", "cosine")


def _agreement(found: Agreement) -> dict[str, Any]:
    difference = None
    if found.difference is not None:
        values = (found.difference.executor_value, found.difference.stream_value)
        difference = {
            **asdict(found.difference),
            "executor_value": finite_or_none(values[0]),
            "stream_value": finite_or_none(values[1]),
        }
    return {
        "exact": found.exact,
        "compared": list(found.compared),
        "bounded": list(found.bounded),
        "not_compared": list(found.uncompared),
        "difference": difference,
    }


def _agreement_line(found: Agreement) -> str:
    if found.difference is not None:
        return f"executor and stream differ: {found.difference}"
    if found.exact:
        return f"executor and stream agree: {len(found.compared)} tensors equal in bytes"
    return (
        f"executor and stream agree: every byte: {len(found.compared)} tensors, "
        f"within the bound of fp32 sums: {len(found.bounded)}, not compared: {len(found.uncompared)}"
    )


def _distance(found: Distance) -> dict[str, Any]:
    return {
        "name": found.name,
        "shape": list(found.shape),
        "equal": found.max_error == 0.0,
        "max_error": finite_or_none(found.max_error),
        "sqnr_db": finite_or_none(found.sqnr_db),
        "cosine": finite_or_none(found.cosine),
    }


def _layer(found: LayerDistance) -> dict[str, Any]:
    layer = found.layer
    return {
        "node_index": layer.node_index,
        "node_name": layer.node_name,
        "op_type": layer.op_type,
        "fused_activation": layer.activation or None,
        **_distance(found.distance),
    }


def _op_type(found: LayerDistance) -> str:
    return found.layer.op_type + (f" + {found.layer.activation}" if found.layer.activation else "")


def _shape(found: Distance) -> str:
    return "x".join(map(str, found.shape)) or "scalar"


def _numbers(found: Distance) -> list[str]:
    sqnr = "-" if found.sqnr_db is None else f"{found.sqnr_db:.1f}"
    cosine = "-" if found.cosine is None else f"{found.cosine:.6f}"
    return [f"{found.max_error:.3g}", sqnr, cosine]


def _table(names: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    return table_lines((*names, *_COLUMNS), rows, numbers=len(_COLUMNS))
