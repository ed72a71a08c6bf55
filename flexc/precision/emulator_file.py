"""Configurations of BFPSim, the emulator that the FlexBlock authors published, read as policies.

    {
      "default": {"fi_bit": 4, "fi_dim": [1, 216, 1, 1], "fw_bit": 4, "fw_dim": [1, 216, 1, 1], ...},
      "layer1.0.conv1": {"bio_bit": 8, "bio_dim": [1, 108, 1, 1]}
    }

Of each of the nine points (fi fw fo, bio biw big, bwo bwi bwg) a file may give the bits of a mantissa, its
sign apart, and the box of elements that share an exponent. A layer takes from ``default`` what its own entry
does not say; a point without bits and box stays fp32. The emulator truncates. Nothing else is known here, and
nothing is guessed: what a file has beyond that is an error.
"""

from __future__ import annotations

import difflib
import glob
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from flexc.diagnostics import CompileError, Diagnostic, Place
from flexc.numerics.block_float import MAX_MAGNITUDE_BITS, BlockFormat, Rounding, Sign
from flexc.precision.policy import POINTS, NamedFormat, Override, Policy, Setting
from flexc.precision.policy_file import BUILT_IN_FORMATS

DEFAULT = "default"
MANTISSA_BITS_OF_A_GROUP = 864
"""What a group's length follows from where a policy has no box for a tensor; here all points have one."""
SLIPS = {(1, 612, 3, 3): "[1, 216, 3, 3] with digits exchanged"}
"""Boxes that stand in published files by mistake, and what they look like."""

Word: TypeAlias = Literal["bit", "dim"]
WORDS: tuple[Word, Word] = ("bit", "dim")
_KEYS: Mapping[str, tuple[str, Word]] = {
    f"{point}_{word}": (point, word) for point in POINTS for word in WORDS
}


@dataclass(frozen=True)
class _Object:
    """A JSON object with its keys as often as the file gives them."""

    pairs: tuple[tuple[str, _Json], ...]


_Json: TypeAlias = "_Object | list[_Json] | str | int | float | bool | None"


@dataclass
class _Entry:
    """What the file says of a layer; ``given`` has the keys whose values are of no use, too."""

    bits: dict[str, int] = field(default_factory=dict)
    boxes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    given: set[tuple[str, Word]] = field(default_factory=set)

    @property
    def points(self) -> tuple[str, ...]:
        """The points that the entry speaks of."""
        return tuple(point for point in POINTS if any((point, word) in self.given for word in WORDS))

    def over(self, default: _Entry) -> _Entry:
        """The entry with what ``default`` says where it is silent."""
        boxes = {**default.boxes, **self.boxes}
        return _Entry({**default.bits, **self.bits}, boxes, default.given | self.given)


def parse_emulator_file(text: str, file: str, name: str) -> Policy:
    """The policy ``name`` that the configuration ``text`` describes; ``file`` names it in messages.

    Raises CompileError with all that is wrong: FX326 text that is no object of objects in JSON, FX327 an
    unknown key or one given twice, FX328 a value that a key does not take, FX329 a file without ``default``
    or a point with bits and no box, or the reverse.
    """
    reader = _Reader(file)
    entries = reader.read(text)
    if reader.problems:
        raise CompileError(reader.problems)
    default = entries.pop(DEFAULT)
    base = Setting(format=BUILT_IN_FORMATS["fp32"], rounding=Rounding.TRUNCATE)
    overrides = (
        Override(tuple(_settings(entry, default)), node=glob.escape(layer))
        for layer, entry in entries.items()
        if entry.points
    )
    return Policy(name, f"Imported from {file}.", (base, *_settings(default, default)), tuple(overrides))


def _settings(entry: _Entry, default: _Entry) -> Iterator[Setting]:
    whole = entry.over(default)
    for point in entry.points:
        bits = whole.bits[point]
        length = max(MANTISSA_BITS_OF_A_GROUP // bits, 1)
        block = BlockFormat(bits, Sign.SEPARATE)
        yield Setting(*POINTS[point], NamedFormat(f"M{bits}", block, length), tile=whole.boxes[point])


class _Reader:
    """Reads a file to its end and notes what is wrong on the way."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.problems: list[Diagnostic] = []

    def read(self, text: str) -> dict[str, _Entry]:
        """The entries by layer, whole where there are no problems."""
        try:
            found: _Json = json.loads(text, object_pairs_hook=lambda pairs: _Object(tuple(pairs)))
        except (json.JSONDecodeError, RecursionError) as problem:
            self._note("FX326", "", f"the configuration is not JSON: {problem}")
            return {}
        entries = {layer: self._entry(layer, content) for layer, content in self._items(found, "")}
        if isinstance(found, _Object) and DEFAULT not in entries:
            self._note("FX329", "", f"there is no '{DEFAULT}'", "it holds for layers without an entry")
        default = entries.get(DEFAULT, _Entry())
        for layer, entry in entries.items():
            given = entry.over(default).given
            for point, word in ((point, word) for point in entry.points for word in WORDS):
                if (point, word) not in given:
                    self._note("FX329", layer, f"the key '{point}_{word}' is missing")
        return entries

    def _items(self, found: _Json, path: str) -> Iterator[tuple[str, _Json]]:
        if not isinstance(found, _Object):
            self._note("FX326", path, f"{_described(found)} stands where an object should")
            return
        seen = set()
        for key, value in found.pairs:
            if key in seen:
                self._note("FX327", path, f"the key '{key}' is given twice")
            else:
                seen.add(key)
                yield key, value

    def _entry(self, layer: str, content: _Json) -> _Entry:
        entry = _Entry()
        for key, value in self._items(content, layer):
            if key not in _KEYS:
                near = difflib.get_close_matches(key, _KEYS, n=1)
                known = f"known are {', '.join(POINTS)}, each with _bit and _dim"
                self._note(
                    "FX327", layer, f"unknown key '{key}'", f"did you mean '{near[0]}'?" if near else known
                )
                continue
            point, word = _KEYS[key]
            entry.given.add((point, word))
            if word == "bit":
                if type(value) is int and 1 <= value <= MAX_MAGNITUDE_BITS:
                    entry.bits[point] = value
                else:
                    self._refuse(layer, key, value, f"an integer from 1 to {MAX_MAGNITUDE_BITS}")
            elif isinstance(value, list) and value and all(type(one) is int and one >= 1 for one in value):
                entry.boxes[point] = self._without_slip(layer, key, value)
            else:
                self._refuse(layer, key, value, "a list of integers from 1 on")
        return entry

    def _without_slip(self, layer: str, key: str, value: list[_Json]) -> tuple[int, ...]:
        box = tuple(one for one in value if isinstance(one, int))
        if box in SLIPS:
            message = f"'{key}' is {list(box)}, which looks like {SLIPS[box]}"
            self._note("FX328", layer, message, "write the box that is meant")
        return box

    def _refuse(self, layer: str, key: str, value: _Json, expected: str) -> None:
        self._note("FX328", layer, f"'{key}' must be {expected}, not {_described(value)}")

    def _note(self, code: str, path: str, message: str, hint: str = "") -> None:
        where = f"[{path}]: " if path else ""
        self.problems.append(Diagnostic(code, f"{where}{message}", Place(self._file), hint=hint))


def _described(value: _Json) -> str:
    return "an object" if isinstance(value, _Object) else json.dumps(value, default=lambda _: {})
