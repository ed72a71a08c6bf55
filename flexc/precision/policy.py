"""Precision policies: which format, tile and rounding each operand of each contraction gets.

A policy is a default and overrides. Each is a rule: settings for all operands, or for the operands of one
training pass, or for one operand, the narrower wins. Overrides apply in order to the layers they match; what
a later one sets replaces what came before. The results of contractions stay fp32 unless a setting names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase

from flexc.numerics.block_float import BlockFormat, Rounding
from flexc.precision.layers import Layer, LayerKind


class Operand(StrEnum):
    """What a tensor is to a contraction: one of its two operands, or its result."""

    ACTIVATION = "activation"
    WEIGHT = "weight"
    GRADIENT = "gradient"
    RESULT = "result"


class TrainingPass(StrEnum):
    """Which of a layer's three contractions is meant."""

    FORWARD = "forward"
    LOCAL_GRAD = "local_grad"
    WEIGHT_GRAD = "weight_grad"


OPERANDS_OF_PASS: dict[TrainingPass, tuple[Operand, Operand]] = {
    TrainingPass.FORWARD: (Operand.ACTIVATION, Operand.WEIGHT),
    TrainingPass.LOCAL_GRAD: (Operand.GRADIENT, Operand.WEIGHT),
    TrainingPass.WEIGHT_GRAD: (Operand.GRADIENT, Operand.ACTIVATION),
}

POINTS: Mapping[str, tuple[TrainingPass, Operand]] = {
    "fi": (TrainingPass.FORWARD, Operand.ACTIVATION),
    "fw": (TrainingPass.FORWARD, Operand.WEIGHT),
    "fo": (TrainingPass.FORWARD, Operand.RESULT),
    "bio": (TrainingPass.LOCAL_GRAD, Operand.GRADIENT),
    "biw": (TrainingPass.LOCAL_GRAD, Operand.WEIGHT),
    "big": (TrainingPass.LOCAL_GRAD, Operand.RESULT),
    "bwo": (TrainingPass.WEIGHT_GRAD, Operand.GRADIENT),
    "bwi": (TrainingPass.WEIGHT_GRAD, Operand.ACTIVATION),
    "bwg": (TrainingPass.WEIGHT_GRAD, Operand.RESULT),
}
"""The nine tensors of a layer's three contractions, by the names of the FlexBlock authors' emulator."""


@dataclass(frozen=True)
class NamedFormat:
    """A format under the name that policies call it by; ``block`` is None for fp32, which has no groups."""

    name: str
    block: BlockFormat | None
    group_length: int


@dataclass(frozen=True)
class Setting:
    """What one table of a policy file sets, for the operands it is about; None where it is silent.

    A format brings its group length and the tile of the layer's kind with it, so that it also ends what
    earlier rules said about them.
    """

    pass_: TrainingPass | None = None
    operand: Operand | None = None
    format: NamedFormat | None = None
    rounding: Rounding | None = None
    group_length: int | None = None
    tile: tuple[int, ...] | None = None

    def concerns(self, pass_: TrainingPass, operand: Operand) -> bool:
        """Whether the setting is about ``operand`` in ``pass_``.

        Of a product of two activations the local gradient multiplies by an activation in the weight's place:
        what is set for the weight there, and there alone, is about it.
        """
        if self.pass_ not in (None, pass_):
            return False
        if self.pass_ is TrainingPass.LOCAL_GRAD and operand is Operand.ACTIVATION:
            operand = Operand.WEIGHT
        return self.operand in (None, operand)

    @property
    def points(self) -> tuple[str, ...]:
        """The points, by name, of which the setting says anything."""
        return tuple(
            point
            for point, (pass_, operand) in POINTS.items()
            if self.concerns(pass_, operand) and self.on(operand) != Setting()
        )

    def on(self, operand: Operand) -> Setting:
        """What the setting says of ``operand``: of a result that it does not name, the rounding alone."""
        if operand is Operand.RESULT and self.operand is None:
            return Setting(rounding=self.rounding)
        return self


@dataclass(frozen=True)
class Override:
    """Settings for the layers that meet every condition given; settings are ordered from wide to narrow."""

    settings: tuple[Setting, ...]
    node: str | None = None
    first: bool | None = None
    last: bool | None = None
    kind: LayerKind | None = None

    def matches(self, layer: Layer) -> bool:
        """Whether ``layer`` meets the conditions; ``node`` is a glob over the name of its ONNX node."""
        return (
            (self.node is None or fnmatchcase(layer.name, self.node))
            and (self.first is None or layer.first == self.first)
            and (self.last is None or layer.last == self.last)
            and (self.kind is None or self.kind in layer.kinds)
        )


@dataclass(frozen=True)
class OperandFormat:
    """How one operand is quantized; ``tile`` is None for the layer's own tile with ``group_length``."""

    block: BlockFormat
    group_length: int
    rounding: Rounding
    tile: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Policy:
    """A named policy. The default's settings together give a format for both operands of every pass."""

    name: str
    description: str
    default: tuple[Setting, ...]
    overrides: tuple[Override, ...] = ()

    def operand(
        self, layer: Layer, operand: Operand, pass_: TrainingPass = TrainingPass.FORWARD
    ) -> OperandFormat | None:
        """The format of one operand, or of the result, of ``layer`` in ``pass_``; None if it stays fp32."""
        resolved = Setting(rounding=Rounding.NEAREST)
        for setting in self._settings(layer):
            if setting.concerns(pass_, operand):
                resolved = _narrowed(resolved, setting.on(operand))
        assert resolved.rounding is not None
        if resolved.format is None or resolved.format.block is None:
            assert resolved.format is not None or operand is Operand.RESULT
            return None
        length = resolved.group_length or resolved.format.group_length
        return OperandFormat(resolved.format.block, length, resolved.rounding, resolved.tile)

    def everywhere(self) -> Policy:
        """The default for every layer, without the overrides."""
        return replace(self, overrides=())

    def with_settings(self, settings: tuple[Setting, ...]) -> Policy:
        """The policy with ``settings``, from wide to narrow, for every layer and above all else."""
        return replace(self, overrides=(*self.overrides, Override(settings))) if settings else self

    def _settings(self, layer: Layer) -> Iterator[Setting]:
        yield from self.default
        for override in self.overrides:
            if override.matches(layer):
                yield from override.settings


def _narrowed(wide: Setting, narrow: Setting) -> Setting:
    if narrow.format is not None:
        wide = replace(wide, format=narrow.format, group_length=None, tile=None)
    return replace(
        wide,
        rounding=narrow.rounding or wide.rounding,
        group_length=narrow.group_length or wide.group_length,
        tile=narrow.tile or wide.tile,
    )
