"""The arguments and results of a training step, by name (docs/passes.md, "Training steps")."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import FunctionType
from xdsl.dialects.func import ReturnOp
from xdsl.ir import SSAValue

from flexc.diagnostics import CompileError, Place, error
from flexc.ir.program import INPUTS, OUTPUTS, PARAMETERS, STATE, Graph, name_array
from flexc.ir.shapes import TensorSpec
from flexc.ir.tensor_op import spec_of, tensor_type

LABELS = "labels"
TARGETS = "targets"
LEARNING_RATE = "learning_rate"
STEP = "step"
LOSS = "loss"
CORRECT = "correct"


class Signature:
    """Grows the arguments of ``@main``, and gives it its results in the end."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._inputs = list(graph.input_names)
        self._parameters: list[str] = []
        self._state: list[str] = []
        self._results: dict[str, SSAValue] = {}

    def argument(self, name: str, spec: TensorSpec) -> SSAValue:
        """A new argument behind the others.

        Raises CompileError FX343 where the model has an input or a weight of that name.
        """
        if name in self._inputs:
            raise self._taken(name)
        self._inputs.append(name)
        block = self._graph.main.body.block
        made = block.insert_arg(tensor_type(spec), len(block.args))
        made.name_hint = hint_of(name)
        return made

    def parameter(self, key: str, constant: SSAValue) -> SSAValue:
        """The argument that stands for a weight, whose first value is the store's.

        Raises CompileError FX343 where the step has an argument or a result of that name.
        """
        self._parameters.append(key)
        return self._standing_for(key, constant)

    def statistic(self, key: str, constant: SSAValue) -> SSAValue:
        """The argument that stands for running statistics, whose first value is the store's."""
        self._state.append(key)
        return self._standing_for(key, constant)

    def memory(self, key: str, like: SSAValue) -> SSAValue:
        """An argument of the type of ``like`` that is zero in the first step.

        Raises CompileError FX343 where the model has a weight of that name, if only a frozen one.
        """
        if key in self._graph.weights:
            raise self._taken(key)
        spec = spec_of(like.type)
        zeros: NDArray[np.float32] = np.zeros(spec.shape, np.float32)
        self._graph.weights.add(key, zeros)
        self._state.append(key)
        return self.argument(key, spec)

    def result(self, name: str, value: SSAValue) -> None:
        """A result of the step; under the name of a parameter or state, its next value."""
        self._results[name] = value

    def finish(self, end: ReturnOp) -> None:
        """Puts the results in the place of those of ``end``: loss and metrics, parameters, state.

        Parameters that get no next value are arguments alone.
        """
        carried = self._parameters + self._state
        names = [name for name in self._results if name not in carried]
        names += [name for name in carried if name in self._results]
        end.operands = [self._results[name] for name in names]
        self._graph.main.attributes[OUTPUTS] = name_array(tuple(names))
        self._describe(end)

    def drop_unread(self) -> None:
        """Takes away the arguments that nothing reads."""
        block = self._graph.main.body.block
        for name, argument in tuple(zip(self._inputs, block.args, strict=True)):
            if argument.first_use is None:
                block.erase_arg(argument)
                for names in (self._inputs, self._parameters, self._state):
                    if name in names:
                        names.remove(name)
        end = block.last_op
        assert isinstance(end, ReturnOp)
        self._describe(end)

    def _describe(self, end: ReturnOp) -> None:
        main = self._graph.main
        main.function_type = FunctionType.from_lists(main.body.block.arg_types, end.operand_types)
        named: tuple[tuple[str, Sequence[str]], ...] = (
            (INPUTS, self._inputs),
            (PARAMETERS, self._parameters),
            (STATE, self._state),
        )
        for attribute, values in named:
            main.attributes[attribute] = name_array(tuple(values))

    def _taken(self, name: str) -> CompileError:
        return error(
            "FX343",
            f"the training step has '{name}' of its own, and so has the model",
            place=Place(self._graph.file),
            hint="rename the model's input or weight",
        )

    def _standing_for(self, key: str, constant: SSAValue) -> SSAValue:
        if key in self._results:
            raise self._taken(key)
        made = self.argument(key, spec_of(constant.type))
        made.name_hint = constant.name_hint or hint_of(key)
        constant.replace_all_uses_with(made)
        return made


def hint_of(name: str) -> str:
    """``name`` as values of the IR can be called."""
    return re.sub(r"[^0-9A-Za-z_]", "_", name)
