"""Weights kept outside the model file, read under our own rules.

A location is a relative path below the model's folder and stays there, links included; the file is regular;
offset and length lie inside it and match the tensor's shape. Nothing else is opened.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx

from flexc.diagnostics import CompileError, Place, error

_KEYS = frozenset({"location", "offset", "length", "checksum"})


def read_external(tensor: onnx.TensorProto, folder: Path, byte_count: int, place: Place) -> bytes:
    """The ``byte_count`` bytes of an external tensor. CompileError FX104 (location) or FX105 (extent)."""
    entries = _entries(tensor, place)
    path = _resolve(entries.get("location", ""), folder, tensor.name, place)
    offset = _count(entries.get("offset", "0"), "offset", tensor.name, place)
    length = _count(entries.get("length", str(byte_count)), "length", tensor.name, place)
    if length != byte_count:
        raise _wrong_extent(tensor.name, f"declares {length} bytes, but its shape needs {byte_count}", place)
    try:
        return _read(path, offset, byte_count, tensor.name, place)
    except OSError as failure:
        raise _refused(
            tensor.name, f"cannot be read: {failure.strerror}", entries["location"], place
        ) from failure


def _read(path: Path, offset: int, byte_count: int, name: str, place: Place) -> bytes:
    # Neither waits for a writer if the file turned into a pipe, nor follows a link put in its place.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _refused(name, "is not a regular file", path.name, place)
        if offset + byte_count > status.st_size:
            raise _wrong_extent(
                name,
                f"lies at bytes {offset} to {offset + byte_count}, but '{path.name}' has {status.st_size}",
                place,
            )
        file.seek(offset)
        content = file.read(byte_count)
    if len(content) != byte_count:
        raise _wrong_extent(name, f"ends after {len(content)} of {byte_count} bytes", place)
    return content


def _entries(tensor: onnx.TensorProto, place: Place) -> dict[str, str]:
    entries: dict[str, str] = {}
    for entry in tensor.external_data:
        if entry.key in entries:
            raise _refused(tensor.name, f"gives '{entry.key}' twice", entry.value, place)
        if entry.key in _KEYS:
            entries[entry.key] = entry.value
    return entries


def _resolve(location: str, folder: Path, name: str, place: Place) -> Path:
    if not location or "\0" in location:
        raise _refused(name, "has no usable location", location, place)
    windows, posix = PureWindowsPath(location), PurePosixPath(location)
    if posix.is_absolute() or windows.is_absolute() or windows.drive or windows.root:
        raise _refused(name, "has an absolute location", location, place)
    if ".." in windows.parts or ".." in posix.parts:
        raise _refused(name, "has a location with '..'", location, place)
    root = folder.resolve()
    try:
        resolved = (root / location).resolve(strict=True)
    except (OSError, RuntimeError) as failure:
        raise _refused(name, "has a location that does not exist", location, place) from failure
    if not resolved.is_relative_to(root):
        raise _refused(name, "has a location that links out of the model's folder", location, place)
    if not resolved.is_file():
        raise _refused(name, "is not in a regular file", location, place)
    return resolved


def _count(text: str, key: str, name: str, place: Place) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise _wrong_extent(name, f"has the {key} '{text}'", place)
    return int(text)


def _refused(name: str, problem: str, location: str, place: Place) -> CompileError:
    return error(
        "FX104",
        f"external data of '{name}' {problem}",
        place=place,
        detail=f"location '{location}'",
        hint="external data are regular files below the model's folder, named by relative paths",
    )


def _wrong_extent(name: str, problem: str, place: Place) -> CompileError:
    return error(
        "FX105",
        f"external data of '{name}' {problem}",
        place=place,
        hint="the weights file does not belong to this model, or was cut short",
    )
