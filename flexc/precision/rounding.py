"""Roundings in place of a policy's own: one for everything, or one for each pass or point.

``stochastic``, or ``forward=nearest,local_grad=stochastic,bwg=truncate``.
"""

from __future__ import annotations

import difflib
from typing import NoReturn

from flexc.diagnostics import error
from flexc.numerics.block_float import Rounding
from flexc.precision.policy import POINTS, Setting, TrainingPass

_TARGETS = (*TrainingPass, *POINTS)


def parse_roundings(text: str) -> tuple[Setting, ...]:
    """The settings that ``text`` asks for, from wide to narrow.

    Raises CompileError FX310 for a rounding, a pass or a point that does not exist, or one given twice.
    """
    if "=" not in text:
        return (Setting(rounding=_rounding(text)),)
    found: dict[str, Setting] = {}
    for part in text.split(","):
        target, _, rounding = (word.strip() for word in part.partition("="))
        if target not in _TARGETS:
            _refuse(f"no pass or point '{target}'", target, _TARGETS)
        if target in found:
            raise error("FX310", f"the rounding of '{target}' is given twice")
        pass_, operand = POINTS[target] if target in POINTS else (TrainingPass(target), None)
        found[target] = Setting(pass_, operand, rounding=_rounding(rounding))
    return tuple(sorted(found.values(), key=lambda one: one.operand is not None))


def _rounding(text: str) -> Rounding:
    if text not in list(Rounding):
        _refuse(f"no rounding '{text}'", text, tuple(Rounding))
    return Rounding(text)


def _refuse(message: str, word: str, known: tuple[str, ...]) -> NoReturn:
    near = difflib.get_close_matches(word, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"one of {', '.join(known)}"
    raise error("FX310", message, hint=hint)
