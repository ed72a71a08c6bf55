"""The functions of the vector unit, by the code that a record has for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class FunctionSpec:
    """A function of the vector unit: the kernel of flexc.numerics that defines it.

    ``kind``: elementwise; row (result has the shape of the operand; the last dimensions are one row);
    reduce (the last dimensions vanish); window (as reduce, in row-major order instead of lanes, the first
    source of ``window_add`` being what the sum starts from).
    """

    name: str
    sources: int
    immediates: tuple[str, ...] = ()
    kind: Literal["elementwise", "row", "reduce", "window"] = "elementwise"


FUNCTIONS: tuple[FunctionSpec, ...] = (
    FunctionSpec("copy", 1),
    FunctionSpec("add", 2),
    FunctionSpec("sub", 2),
    FunctionSpec("mul", 2),
    FunctionSpec("div", 2),
    FunctionSpec("power", 2),
    FunctionSpec("minimum", 2),
    FunctionSpec("maximum", 2),
    FunctionSpec("equal", 2),
    FunctionSpec("less", 2),
    FunctionSpec("greater", 2),
    FunctionSpec("where", 3),
    FunctionSpec("relu", 1),
    FunctionSpec("clip", 1, ("minimum", "maximum")),
    FunctionSpec("leaky_relu", 1, ("alpha",)),
    FunctionSpec("hard_sigmoid", 1, ("alpha", "beta")),
    FunctionSpec("hard_swish", 1),
    FunctionSpec("sigmoid", 1),
    FunctionSpec("tanh", 1),
    FunctionSpec("erf", 1),
    FunctionSpec("gelu", 1),
    FunctionSpec("gelu_tanh", 1),
    FunctionSpec("exp", 1),
    FunctionSpec("log", 1),
    FunctionSpec("sqrt", 1),
    FunctionSpec("neg", 1),
    FunctionSpec("absolute", 1),
    FunctionSpec("reciprocal", 1),
    FunctionSpec("floor", 1),
    FunctionSpec("cast", 1),
    FunctionSpec("batch_norm", 5, ("eps",)),
    FunctionSpec("softmax", 1, (), "row"),
    FunctionSpec("log_softmax", 1, (), "row"),
    FunctionSpec("layer_norm", 3, ("eps",), "row"),
    FunctionSpec("reduce_sum", 1, (), "reduce"),
    FunctionSpec("reduce_mean", 1, (), "reduce"),
    FunctionSpec("reduce_max", 1, (), "reduce"),
    FunctionSpec("window_max", 1, (), "window"),
    FunctionSpec("window_sum", 1, (), "window"),
    FunctionSpec("window_add", 2, (), "window"),
    FunctionSpec("window_argmax", 1, (), "window"),
    FunctionSpec("add_from_tap", 3, ("tap",)),
    FunctionSpec("reduce_max_grad", 2, (), "row"),
)

FUNCTION_CODES: dict[str, int] = {spec.name: code for code, spec in enumerate(FUNCTIONS)}
