"""From fp32 graphs back to ONNX files."""
