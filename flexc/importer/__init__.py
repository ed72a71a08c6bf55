"""From ONNX files to graphs: :func:`load_model`."""

from flexc.importer.load import load_model

__all__ = ["load_model"]
