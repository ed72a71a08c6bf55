"""The importers of all operators: one file a family, one table of versions an operator."""

from __future__ import annotations

from collections import ChainMap
from difflib import get_close_matches

import onnx

from flexc.diagnostics import Place, error
from flexc.importer.operators.activations import ACTIVATIONS
from flexc.importer.operators.arithmetic import ARITHMETIC
from flexc.importer.operators.comparison import COMPARISON
from flexc.importer.operators.constants import CONSTANTS
from flexc.importer.operators.contractions import CONTRACTIONS
from flexc.importer.operators.dropout import DROPOUT
from flexc.importer.operators.layout import LAYOUT
from flexc.importer.operators.losses import LOSSES
from flexc.importer.operators.normalization import NORMALIZATION
from flexc.importer.operators.pooling import POOLING
from flexc.importer.operators.reductions import REDUCTIONS
from flexc.importer.operators.registry import Family, Importer, Versions
from flexc.importer.operators.resampling import RESAMPLING
from flexc.importer.operators.selection import SELECTION
from flexc.importer.opset import ONNX_DOMAINS

FAMILIES: tuple[Family, ...] = (
    ACTIVATIONS,
    ARITHMETIC,
    COMPARISON,
    CONSTANTS,
    CONTRACTIONS,
    DROPOUT,
    LAYOUT,
    LOSSES,
    NORMALIZATION,
    POOLING,
    REDUCTIONS,
    RESAMPLING,
    SELECTION,
)
OPERATORS: ChainMap[str, Versions] = ChainMap(*(dict(family) for family in FAMILIES))


def find_importer(node: onnx.NodeProto, opset: int, place: Place) -> Importer:
    """The importer of a node's operator in an opset; CompileError FX201 (operator) or FX209 (version)."""
    if node.domain not in ONNX_DOMAINS:
        raise error(
            "FX201",
            f"operator {node.op_type} of domain '{node.domain}' is not supported",
            place=place,
            hint="export the model with the operators of ONNX alone",
        )
    versions = OPERATORS.get(node.op_type)
    if versions is None:
        close = get_close_matches(node.op_type, OPERATORS, n=1, cutoff=0.75)
        hint = f"the nearest that is supported is {close[0]}" if close else ""
        raise error("FX201", f"operator {node.op_type} is not supported", place=place, hint=hint)
    first = max((since for since in versions if since <= opset), default=None)
    if first is None:
        raise error(
            "FX209",
            f"operator {node.op_type} is supported from opset {min(versions)} on, the model declares {opset}",
            place=place,
            hint=f"convert the model to opset {max(9, min(versions))} or newer",
        )
    found = versions[first]
    if found is None:
        raise error(
            "FX209",
            f"operator {node.op_type} was removed in opset {first}, the model declares {opset}",
            place=place,
            hint="declare the opset that the model was written for",
        )
    return found
