"""Quantized graphs as ONNX: kernels spelled as model-local functions of standard operators."""
