"""Pipelines as text: ``canonicalize,fuse-lightnorm{rounding=truncate},insert-quantize{seed=3}``."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Sequence
from dataclasses import fields
from enum import StrEnum
from typing import Any, get_args, get_type_hints

from flexc.diagnostics import CompileError, error
from flexc.passes.base import Pass
from flexc.passes.registry import pass_class

_TOKEN = re.compile(r'\s*(?:(?P<word>[\w.+/-]+)|(?P<string>"(?:[^"\\]|\\.)*")|(?P<mark>[{}=,]))')


def pipeline_text(passes: Sequence[Pass]) -> str:
    """The text that :func:`parse_pipeline` reads back as ``passes``."""
    return ",".join(str(one) for one in passes)


def parse_pipeline(text: str) -> tuple[Pass, ...]:
    """The passes of a pipeline.

    Raises CompileError: FX301 an unknown pass, FX302 an unknown or repeated option, FX303 a value that the
    option does not take, FX304 text that is not a pipeline.
    """
    reader = _Reader(text)
    passes: list[Pass] = []
    while not reader.at_end():
        if passes:
            reader.expect(",")
        passes.append(_parse_pass(reader))
    return tuple(passes)


class _Reader:
    """Tokens of a pipeline, one at a time."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    def at_end(self) -> bool:
        return not self._text[self._position :].strip()

    def accept(self, mark: str) -> bool:
        found = _TOKEN.match(self._text, self._position)
        if found is None or found["mark"] != mark:
            return False
        self._position = found.end()
        return True

    def expect(self, mark: str) -> None:
        if not self.accept(mark):
            raise self.failure(f"expected '{mark}'")

    def word(self, what: str) -> str:
        found = _TOKEN.match(self._text, self._position)
        if found is None or found["mark"] is not None:
            raise self.failure(f"expected {what}")
        self._position = found.end()
        if found["string"] is not None:
            return re.sub(r"\\(.)", r"\1", found["string"][1:-1])
        return found["word"]

    def failure(self, message: str) -> CompileError:
        rest = self._text[self._position :].strip()
        return error(
            "FX304",
            f"the pipeline does not parse: {message} " + (f"before '{rest}'" if rest else "at the end"),
            hint="a pipeline is written name,name{option=value option=value},...",
        )


def _parse_pass(reader: _Reader) -> Pass:
    found = pass_class(reader.word("the name of a pass"))
    options: dict[str, Any] = {}
    if reader.accept("{"):
        while not reader.accept("}"):
            key = reader.word("the name of an option or '}'")
            reader.expect("=")
            value = reader.word(f"a value of '{key}'")
            field = _field_of(found, key)
            if field in options:
                raise error("FX302", f"pass '{found.name}' is given the option '{key}' twice")
            options[field] = _convert(found, key, get_type_hints(found)[field], value)
    return found(**options)


def _field_of(found: type[Pass], key: str) -> str:
    known = [field.name.replace("_", "-") for field in fields(found)]
    if key in known:
        return key.replace("-", "_")
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        hint = f"did you mean '{near[0]}'?"
    else:
        hint = f"its options are {', '.join(known)}" if known else "it has no options"
    raise error("FX302", f"pass '{found.name}' has no option '{key}'", hint=hint)


def _convert(found: type[Pass], key: str, hint: Any, value: str) -> object:
    if isinstance(hint, types.UnionType):
        (hint,) = (one for one in get_args(hint) if one is not types.NoneType)
    if hint is bool:
        choices = {"true": True, "false": False}
        if value in choices:
            return choices[value]
        expected = "true or false"
    elif issubclass(hint, StrEnum):
        if value in list(hint):
            return hint(value)
        expected = ", ".join(hint)
    elif hint in (int, float):
        try:
            return hint(value)
        except ValueError:
            expected = "an integer" if hint is int else "a number"
    else:
        return value
    message = f"option '{key}' of pass '{found.name}' cannot be '{value}'"
    raise error("FX303", message, hint=f"it takes {expected}")
