"""A model inside the compiler: one function of IR and the arrays its constants name.

The module holds ``func.func @main``; its attributes ``inputs`` and ``outputs`` name the model's values.

A training step is such a function too. Its attributes ``parameters`` (trained weights) and ``state`` (what
optimizer and batch norms remember) name those inputs that the outputs of the same name replace in the next
step; the weight store holds their first values.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, Builtin, ModuleOp, StringAttr
from xdsl.dialects.func import Func, FuncOp

from flexc.ir.bfp import BFP
from flexc.ir.flexblock import FLEXBLOCK
from flexc.ir.lightnorm import LIGHTNORM
from flexc.ir.nn import NN
from flexc.ir.parser import TextParser
from flexc.ir.train import TRAIN
from flexc.ir.weight_store import WeightStore

INPUTS = "inputs"
OUTPUTS = "outputs"
PARAMETERS = "parameters"
STATE = "state"


@dataclass
class Graph:
    """IR, weights and the file they came from (for messages)."""

    module: ModuleOp
    weights: WeightStore = field(default_factory=WeightStore)
    file: str = ""

    @property
    def main(self) -> FuncOp:
        """The model's function; ValueError if the module has none."""
        for op in self.module.ops:
            if isinstance(op, FuncOp) and op.sym_name.data == "main":
                return op
        raise ValueError("the module has no func.func @main")

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the model's inputs, in order."""
        return names_of(self.main, INPUTS)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the model's outputs, in order."""
        return names_of(self.main, OUTPUTS)

    def copy(self) -> Graph:
        """A graph of its own with the same weights."""
        return Graph(self.module.clone(), self.weights.copy(), self.file)


def carried_names(function: FuncOp) -> tuple[str, ...]:
    """The inputs of a training step that it gives new values: parameters, then state."""
    return names_of(function, PARAMETERS) + names_of(function, STATE)


def names_of(function: FuncOp, attribute: str) -> tuple[str, ...]:
    """The string array attribute of a function as Python strings (empty without one)."""
    found = function.attributes.get(attribute)
    if not isinstance(found, ArrayAttr):
        return ()
    return tuple(name.data for name in found if isinstance(name, StringAttr))


def name_array(names: tuple[str, ...]) -> ArrayAttr[StringAttr]:
    """The attribute that :func:`names_of` reads."""
    return ArrayAttr([StringAttr(name) for name in names])


def make_context() -> Context:
    """A context in which all of flexc's dialects parse."""
    context = Context()
    for dialect in (Builtin, Func, NN, BFP, LIGHTNORM, TRAIN, FLEXBLOCK):
        context.load_dialect(dialect)
    return context


def parse_module(text: str, name: str = "<text>") -> ModuleOp:
    """The module written in ``text``; xDSL's ParseError where it is not IR."""
    return TextParser(make_context(), text, name).parse_module()
