"""A policy in the numerics of the published emulator (numerics specification, section 6, ``bfpsim``)."""

from __future__ import annotations

from dataclasses import replace

from flexc.numerics.block_float import BlockFormat, Rounding, Sign
from flexc.precision.policy import NamedFormat, Policy, Setting


def as_emulated(policy: Policy) -> Policy:
    """``policy`` with the sign beside the mantissa bits, and truncation, everywhere."""
    overrides = (replace(one, settings=_sign_apart(one.settings)) for one in policy.overrides)
    changed = replace(policy, default=_sign_apart(policy.default), overrides=tuple(overrides))
    return changed.with_settings((Setting(rounding=Rounding.TRUNCATE),))


def _sign_apart(settings: tuple[Setting, ...]) -> tuple[Setting, ...]:
    return tuple(
        one if one.format is None else replace(one, format=_with_sign_apart(one.format)) for one in settings
    )


def _with_sign_apart(found: NamedFormat) -> NamedFormat:
    if found.block is None:
        return found
    return replace(found, block=BlockFormat(found.block.mantissa_bits, Sign.SEPARATE))
