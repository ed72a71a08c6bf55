"""Policies as the text of a policy file, which reads back as the same policy."""

from __future__ import annotations

from collections.abc import Iterator

from flexc.precision.policy import POINTS, NamedFormat, Override, Policy, Setting
from flexc.precision.policy_file import BUILT_IN_FORMATS

_POINT_OF = {point: name for name, point in POINTS.items()}


def policy_text(policy: Policy) -> str:
    """The TOML text of ``policy``. Its rules have one setting for the same operands, the wide ones first."""
    lines = [f"name = {_string(policy.name)}", f"description = {_string(policy.description)}"]
    for one in _own_formats(policy):
        assert one.block is not None
        lines += [
            "",
            f"[formats.{_string(one.name)}]",
            f"mantissa_bits = {one.block.mantissa_bits}",
            f"sign = {_string(one.block.sign)}",
            f"group_length = {one.group_length}",
        ]
    lines += ["", "[default]", *_rule(policy.default)]
    for override in policy.overrides:
        lines += ["", "[[override]]", *_conditions(override), *_rule(override.settings)]
    return "\n".join(lines) + "\n"


def _own_formats(policy: Policy) -> list[NamedFormat]:
    rules = (policy.default, *(override.settings for override in policy.overrides))
    used = {one.format.name: one.format for rule in rules for one in rule if one.format is not None}
    return [one for name, one in used.items() if name not in BUILT_IN_FORMATS]


def _conditions(override: Override) -> Iterator[str]:
    if override.node is not None:
        yield f"node = {_string(override.node)}"
    for key, flag in (("first", override.first), ("last", override.last)):
        if flag is not None:
            yield f"{key} = {str(flag).lower()}"
    if override.kind is not None:
        yield f"kind = {_string(override.kind)}"


def _rule(settings: tuple[Setting, ...]) -> Iterator[str]:
    for setting in settings:
        pairs = list(_pairs(setting))
        if setting.pass_ is None and setting.operand is None:
            yield from pairs
        elif setting.pass_ is None:
            yield f"{setting.operand} = {{ {', '.join(pairs)} }}"
        elif setting.operand is None:
            yield f"{setting.pass_} = {{ {', '.join(pairs)} }}"
        else:
            yield f"{_POINT_OF[setting.pass_, setting.operand]} = {{ {', '.join(pairs)} }}"


def _pairs(setting: Setting) -> Iterator[str]:
    if setting.format is not None:
        yield f"format = {_string(setting.format.name)}"
    if setting.rounding is not None:
        yield f"rounding = {_string(setting.rounding)}"
    if setting.group_length is not None:
        yield f"group_length = {setting.group_length}"
    if setting.tile is not None:
        yield f"tile = {list(setting.tile)}"


def _string(text: str) -> str:
    escaped = "".join(
        f"\\u{ord(c):04x}" if ord(c) < 0x20 or ord(c) == 0x7F else f"\\{c}" if c in '"\\' else c for c in text
    )
    return f'"{escaped}"'
