"""The assembler: a listing (see ``listing``) and its data files in, a stream out."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.isa import OPCODES, RECORD, Format
from flexc.backends.stream.program import (
    SYMBOL_KINDS,
    GroupRange,
    InitialData,
    MachineLimits,
    Stream,
    Symbol,
    SymbolPlane,
)
from flexc.backends.stream.record_text import RecordTextError, parse_record
from flexc.diagnostics import CompileError, Place, error

_WORDS = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')
_MNEMONICS = frozenset(opcode.name.lower() for opcode in OPCODES) | {"raw"}


class _LineError(ValueError):
    """What is wrong with a line."""


def assemble(text: str, base_dir: Path, file: str = "") -> Stream:
    """The stream of a listing; ``.incbin`` files are looked for in ``base_dir``; ``file`` is for errors.

    Raises CompileError: FX534 a line that says nothing, FX535 a data file that is missing or has changed.
    """
    return _Assembler(base_dir, file).run(text.split("\n"))


class _Assembler:
    def __init__(self, base_dir: Path, file: str) -> None:
        self.base_dir = base_dir
        self.file = file
        self.machine: MachineLimits | None = None
        self.initial: list[InitialData] = []
        self.symbols: list[Symbol] = []
        self.groups: list[GroupRange] = []
        self.records: list[Any] = []
        self.contents: dict[str, NDArray[np.uint8]] = {}
        self.directives = {
            ".machine": self._machine,
            ".incbin": self._incbin,
            ".symbol": self._symbol,
            ".plane": self._plane,
            ".group": self._group,
        }

    def run(self, lines: list[str]) -> Stream:
        numbered = [(number, line.strip()) for number, line in enumerate(lines, 1)]
        numbered = [(number, line) for number, line in numbered if line and not line.startswith(";")]
        position = 0
        while position < len(numbered):
            number, line = numbered[position]
            position += 1
            if line.startswith("."):
                self._directive(number, line)
                continue
            block = [line]
            while position < len(numbered) and _continues(numbered[position][1]):
                block.append(numbered[position][1])
                position += 1
            try:
                self.records.append(parse_record(block))
            except RecordTextError as cause:
                raise self._wrong(numbered[position - len(block) + cause.line][0], str(cause)) from None
        if self.machine is None:
            raise self._wrong(len(lines), "there is no .machine line")
        records = np.array(self.records, RECORD) if self.records else np.zeros(0, RECORD)
        return Stream(records, tuple(self.symbols), tuple(self.initial), self.machine, tuple(self.groups))

    def _wrong(self, number: int, message: str) -> CompileError:
        return error("FX534", f"line {number}: {message}", place=Place(self.file))

    def _directive(self, number: int, line: str) -> None:
        name, *words = _WORDS.findall(line)
        if name not in self.directives:
            raise self._wrong(number, f"no directive is called '{name}'")
        try:
            self.directives[name](words)
        except ValueError as cause:
            raise self._wrong(number, f"{name}: {cause}") from None

    def _machine(self, words: list[str]) -> None:
        name, fields = words[0], _fields(words[1:], "cores", "operand", "held", "psum", "dram")
        self.machine = MachineLimits(_string(name), *(_natural(value) for value in fields))

    def _incbin(self, words: list[str]) -> None:
        name = _string(words[0])
        at, offset, size, digest = _fields(words[1:], "at", "offset", "size", "sha256")
        if name not in self.contents:
            try:
                self.contents[name] = np.fromfile(self.base_dir / name, np.uint8)
            except OSError as cause:
                raise error(
                    "FX535", f"cannot read the initial data: {cause.strerror}", place=Place(name)
                ) from cause
        content = self.contents[name][_natural(offset) : _natural(offset) + _natural(size)]
        if content.size != int(size) or hashlib.sha256(content.tobytes()).hexdigest() != digest:
            message = f"{size} bytes from {offset} on are not those of the listing"
            raise error("FX535", message, place=Place(name))
        self.initial.append(InitialData(_natural(at), content))

    def _symbol(self, words: list[str]) -> None:
        name, kind_text, shape, *rest = words
        kind = next((kind for kind in SYMBOL_KINDS if kind == kind_text), None)
        if kind is None:
            raise ValueError(f"no kind is called '{kind_text}'")
        tile: tuple[int, ...] | None = None
        mantissa_bits: int | None = None
        if len(rest) == 1:
            (complete,) = _fields(rest, "complete_at")
        else:
            complete, tile_text, bits = _fields(rest, "complete_at", "tile", "mantissa_bits")
            tile, mantissa_bits = _integers(tile_text), _natural(bits)
        self.symbols.append(
            Symbol(_string(name), kind, _integers(shape), (), _natural(complete), tile, mantissa_bits)
        )

    def _plane(self, words: list[str]) -> None:
        if not self.symbols:
            raise ValueError("there is no symbol before it")
        name, shape, *rest = words
        if name.upper() not in Format.__members__:
            raise ValueError(f"no format is called '{name}'")
        stride, at, size = _fields(rest, "stride", "at", "size")
        plane = SymbolPlane(
            Format[name.upper()], _natural(at), _natural(size), _integers(shape), _integers(stride)
        )
        last = self.symbols[-1]
        self.symbols[-1] = Symbol(
            last.name,
            last.kind,
            last.shape,
            (*last.planes, plane),
            last.complete_at,
            last.tile,
            last.mantissa_bits,
        )

    def _group(self, words: list[str]) -> None:
        index, label, first, end = words
        self.groups.append(GroupRange(_natural(index), _string(label), _natural(first), _natural(end)))


def _continues(line: str) -> bool:
    """Whether a line belongs to the record of the line before."""
    return not line.startswith(".") and line.split(maxsplit=1)[0] not in _MNEMONICS


def _fields(words: list[str], *names: str) -> list[str]:
    """The values of ``name=value`` words, which have to be exactly these."""
    pairs = dict(word.partition("=")[::2] for word in words)
    if len(pairs) != len(words) or set(pairs) != set(names):
        raise ValueError(f"wants {', '.join(names)}, not {' '.join(words)}")
    return [pairs[name] for name in names]


def _string(word: str) -> str:
    value = json.loads(word)
    if not isinstance(value, str):
        raise ValueError(f"{word} is no text in quotes")
    return value


def _natural(word: str) -> int:
    if not word.isdecimal():
        raise ValueError(f"{word} is no natural number")
    return int(word)


def _integers(word: str) -> tuple[int, ...]:
    value = json.loads(word)
    if not isinstance(value, list) or not all(type(number) is int for number in value):
        raise ValueError(f"{word} is no list of integers")
    return tuple(value)
