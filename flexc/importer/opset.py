"""The opset that a model declares."""

from __future__ import annotations

import onnx

from flexc.diagnostics import Place, error

NEWEST_OPSET = 28
ONNX_DOMAINS = frozenset({"", "ai.onnx"})


def model_opset(model: onnx.ModelProto, place: Place) -> int:
    """The version of the ONNX operators; CompileError FX103 where there is none, two, or one too new.

    Versions below 9 are accepted: each operator says whether it knows the form it had then.
    """
    versions = {entry.version for entry in model.opset_import if entry.domain in ONNX_DOMAINS}
    if len(versions) != 1:
        found = ", ".join(str(version) for version in sorted(versions)) or "none"
        raise error("FX103", f"one opset version of the ONNX operators is needed, found {found}", place=place)
    (version,) = versions
    if version > NEWEST_OPSET:
        raise error(
            "FX103",
            f"opset {version} is newer than {NEWEST_OPSET}, the newest that is supported",
            place=place,
            hint=f"export the model with opset {NEWEST_OPSET} or older",
        )
    if version < 1:
        raise error("FX103", f"opset {version} does not exist", place=place)
    return int(version)
