"""Policies as strict TOML: every key is known, every needed key is there, every choice is from a closed set.

The grammar of a file is in docs/policies.md.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import TypeAlias, TypeVar

from flexc.diagnostics import CompileError, Place, error
from flexc.numerics.block_float import FB12, FB16, FB24, GROUP_LENGTH, BlockFormat, Rounding, Sign
from flexc.precision.layers import LayerKind
from flexc.precision.policy import (
    OPERANDS_OF_PASS,
    POINTS,
    NamedFormat,
    Operand,
    Override,
    Policy,
    Setting,
    TrainingPass,
)

BUILT_IN_FORMATS: dict[str, NamedFormat] = {
    "fp32": NamedFormat("fp32", None, 0),
    **{
        name: NamedFormat(name, block, GROUP_LENGTH[block.mantissa_bits])
        for name, block in (("FB12", FB12), ("FB16", FB16), ("FB24", FB24))
    },
}
_SETTING_KEYS = ("format", "rounding", "group_length")
_RULE_KEYS = (*_SETTING_KEYS, *Operand, *TrainingPass, *POINTS)
_CONDITION_KEYS = ("node", "first", "last", "kind")

Choice = TypeVar("Choice", bound=StrEnum)
Formats: TypeAlias = Mapping[str, NamedFormat]


def parse_policy(text: str, file: str) -> Policy:
    """The policy that ``text`` holds; ``file`` names it in messages.

    Raises CompileError: FX321 text that is not TOML (duplicate keys too), FX322 an unknown key, FX323 a
    missing key, FX324 a value of the wrong type or outside its set, FX325 an operand without a format, an
    override that says nothing, or an operand that a rule sets under two names.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise error("FX321", f"the policy is not TOML: {problem}", place=Place(file)) from problem
    root = _Table(content, "", file)
    root.allow(("name", "description", "formats", "default", "override"))
    formats = {**BUILT_IN_FORMATS, **_formats(root)}
    policy = Policy(
        root.require_string("name"),
        root.require_string("description"),
        tuple(_rule(root.require_table("default"), formats)),
        tuple(_override(table, formats) for table in root.tables("override")),
    )
    _check_default(policy, root)
    return policy


class _Table:
    """A TOML table, read with types checked; ``path`` is where it stands in the file."""

    def __init__(self, content: Mapping[str, object], path: str, file: str) -> None:
        self._content = content
        self.path = path
        self._file = file

    def __contains__(self, key: str) -> bool:
        return key in self._content

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def failure(self, code: str, message: str, hint: str = "") -> CompileError:
        where = f"[{self.path}]: " if self.path else ""
        return error(code, f"{where}{message}", place=Place(self._file), hint=hint)

    def allow(self, known: Iterable[str]) -> None:
        names = [str(name) for name in known]
        for key in self._content:
            if key not in names:
                near = difflib.get_close_matches(key, names, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(names)}"
                raise self.failure("FX322", f"unknown key '{key}'", hint)

    def _typed(self, key: str, expected: type | tuple[type, ...], what: str) -> object:
        value = self._content[key]
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            raise self.failure("FX324", f"'{key}' must be {what}, not {value!r}")
        return value

    def require_string(self, key: str) -> str:
        self.require(key)
        return str(self._typed(key, str, "a string"))

    def require_count(self, key: str) -> int:
        self.require(key)
        value = self._typed(key, int, "an integer")
        assert isinstance(value, int)
        if value < 1:
            raise self.failure("FX324", f"'{key}' must be at least 1, not {value}")
        return value

    def require(self, key: str) -> None:
        if key not in self._content:
            raise self.failure("FX323", f"the key '{key}' is missing")

    def require_table(self, key: str) -> _Table:
        self.require(key)
        value = self._typed(key, dict, "a table")
        assert isinstance(value, dict)
        return _Table(value, f"{self.path}.{key}".lstrip("."), self._file)

    def tables(self, key: str) -> Iterator[_Table]:
        if key not in self._content:
            return
        value = self._typed(key, list, "an array of tables")
        assert isinstance(value, list)
        for number, one in enumerate(value, start=1):
            if not isinstance(one, dict):
                raise self.failure("FX324", f"'{key}' must be an array of tables")
            yield _Table(one, f"{key} {number}", self._file)

    def optional_string(self, key: str) -> str | None:
        return self.require_string(key) if key in self._content else None

    def optional_flag(self, key: str) -> bool | None:
        return bool(self._typed(key, bool, "true or false")) if key in self._content else None

    def optional_count(self, key: str) -> int | None:
        return self.require_count(key) if key in self._content else None

    def optional_choice(self, key: str, choices: type[Choice]) -> Choice | None:
        text = self.optional_string(key)
        if text is None:
            return None
        if text not in list(choices):
            raise self.failure("FX324", f"'{key}' cannot be '{text}'", f"it is one of {', '.join(choices)}")
        return choices(text)

    def optional_extents(self, key: str) -> tuple[int, ...] | None:
        if key not in self._content:
            return None
        value = self._typed(key, list, "an array of integers")
        assert isinstance(value, list)
        if not value or not all(type(one) is int and one >= 1 for one in value):
            raise self.failure("FX324", f"'{key}' must be an array of integers from 1 on, not {value!r}")
        return tuple(value)


def _formats(root: _Table) -> dict[str, NamedFormat]:
    if "formats" not in root:
        return {}
    found: dict[str, NamedFormat] = {}
    tables = root.require_table("formats")
    for name in tables:
        table = tables.require_table(name)
        if name in BUILT_IN_FORMATS:
            raise table.failure("FX324", f"'{name}' is a format already", "give the format a name of its own")
        table.allow(("mantissa_bits", "sign", "group_length"))
        sign = table.optional_choice("sign", Sign) or Sign.INCLUDED
        try:
            block = BlockFormat(table.require_count("mantissa_bits"), sign)
        except ValueError as problem:
            raise table.failure("FX324", str(problem)) from problem
        found[name] = NamedFormat(name, block, table.require_count("group_length"))
    return found


def _override(table: _Table, formats: Formats) -> Override:
    override = Override(
        tuple(_rule(table, formats, _CONDITION_KEYS)),
        node=table.optional_string("node"),
        first=table.optional_flag("first"),
        last=table.optional_flag("last"),
        kind=table.optional_choice("kind", LayerKind),
    )
    if not any(key in table for key in _CONDITION_KEYS):
        hint = f"choose layers by {', '.join(_CONDITION_KEYS)}, or use [default]"
        raise table.failure("FX325", "the override has no condition", hint)
    if not override.settings:
        raise table.failure("FX325", "the override sets nothing", f"it may set {', '.join(_RULE_KEYS)}")
    return override


def _rule(table: _Table, formats: Formats, conditions: tuple[str, ...] = ()) -> Iterator[Setting]:
    """The settings of a rule, from wide to narrow: all operands, an operand, a pass, an operand of a pass."""
    table.allow((*conditions, *_RULE_KEYS))
    yield from _setting(table, formats, None, None)
    for operand in Operand:
        yield from _operand_setting(table, formats, operand, None, operand)
    for pass_ in TrainingPass:
        if pass_ in table:
            of_pass = table.require_table(pass_)
            of_pass.allow((*_SETTING_KEYS, *OPERANDS_OF_PASS[pass_], Operand.RESULT))
            yield from _setting(of_pass, formats, pass_, None)
    for point, (pass_, operand) in POINTS.items():
        yield from _operand_setting(table, formats, point, pass_, operand)
        if pass_ in table and operand in table.require_table(pass_):
            if point in table:
                twice = f"'{point}' and '{pass_}.{operand}' are the same"
                raise table.failure("FX325", twice, "give one of them")
            yield from _operand_setting(table.require_table(pass_), formats, operand, pass_, operand)


def _operand_setting(
    table: _Table, formats: Formats, key: str, pass_: TrainingPass | None, operand: Operand
) -> Iterator[Setting]:
    if key in table:
        of_operand = table.require_table(key)
        of_operand.allow((*_SETTING_KEYS, "tile"))
        yield from _setting(of_operand, formats, pass_, operand)


def _setting(
    table: _Table, formats: Formats, pass_: TrainingPass | None, operand: Operand | None
) -> Iterator[Setting]:
    name = table.optional_string("format")
    if name is not None and name not in formats:
        raise table.failure("FX324", f"there is no format '{name}'", f"the formats are {', '.join(formats)}")
    setting = Setting(
        pass_,
        operand,
        None if name is None else formats[name],
        table.optional_choice("rounding", Rounding),
        table.optional_count("group_length"),
        table.optional_extents("tile"),
    )
    if setting != Setting(pass_, operand):
        yield setting


def _check_default(policy: Policy, root: _Table) -> None:
    operands = [(pass_, operand) for pass_, both in OPERANDS_OF_PASS.items() for operand in both]
    # In products of two activations.
    operands.append((TrainingPass.LOCAL_GRAD, Operand.ACTIVATION))
    for pass_, operand in operands:
        if not any(one.format is not None and one.concerns(pass_, operand) for one in policy.default):
            raise root.failure(
                "FX325",
                f"[default] gives no format for {operand} in {pass_}",
                "set 'format' in [default] itself",
            )
