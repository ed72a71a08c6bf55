"""What policy files do to the quantize nodes of a model, and what they cannot ask of a layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from xdsl.ir import Operation

from flexc.diagnostics import CompileError
from flexc.ir import bfp, nn
from flexc.ir.attributes import place_of
from flexc.ir.program import Graph, parse_module
from flexc.numerics.block_float import Sign
from flexc.passes import insert_quantize
from flexc.passes.insert_quantize import InsertQuantize

TEXT = """
func.func @main(%x: tensor<2x6xf32>) -> tensor<2x2xf32> {
  %w = nn.constant "w" : tensor<6x6xf32>
  %a = nn.matmul %x, %w {source = #nn.source<"fc1", "Gemm", 0>} : tensor<2x6xf32>, tensor<6x6xf32> -> tensor<2x6xf32>
  %t = nn.transpose %a {permutation = array<i64: 1, 0>} : tensor<2x6xf32> -> tensor<6x2xf32>
  %y = nn.matmul %a, %t {source = #nn.source<"scores", "MatMul", 2>} : tensor<2x6xf32>, tensor<6x2xf32> -> tensor<2x2xf32>
  func.return %y : tensor<2x2xf32>
}
"""  # noqa: E501
Quantize = Callable[[str], Graph]


@pytest.fixture
def quantize(tmp_path: Path) -> Quantize:
    """Runs the pass with a policy whose default is FB16 and the text given."""

    def run(rules: str) -> Graph:
        path = tmp_path / "policy.toml"
        path.write_text(f'name = "p"\ndescription = "d"\n[default]\nformat = "FB16"\n{rules}')
        graph = Graph(parse_module(TEXT), file="model.onnx")
        InsertQuantize(str(path)).run(graph)
        graph.module.verify()
        return graph

    return run


def types(graph: Graph) -> list[bfp.BlockTensorType]:
    found = [op.out.type for op in graph.main.body.block.ops if isinstance(op, bfp.QuantizeOp)]
    return [one for one in found if isinstance(one, bfp.BlockTensorType)]


def test_layers_in_fp32_stay(quantize: Quantize) -> None:
    graph = quantize('[[override]]\nkind = "matmul"\nformat = "fp32"\n')
    assert len(types(graph)) == 2
    kinds = [type(op) for op in graph.main.body.block.ops if isinstance(op, (nn.MatMulOp, bfp.MatMulOp))]
    assert kinds == [bfp.MatMulOp, nn.MatMulOp]


def test_tiles_signs_and_roundings_of_a_policy(quantize: Quantize) -> None:
    graph = quantize("""rounding = "truncate"
[[override]]
node = "fc1"
activation = { tile = [2, 3] }
weight = { format = "W4S" }
[formats.W4S]
mantissa_bits = 4
sign = "separate"
group_length = 5
""")
    x, w, a, t = types(graph)
    assert x.get_tile() == (2, 3)
    assert (w.format.mantissa_bits, w.format.sign, w.get_tile()) == (4, Sign.SEPARATE, (5, 1))
    assert (a.get_tile(), t.get_tile()) == ((1, 6), (6, 1))
    assert str(graph.module).count('rounding = "truncate"') == 4


def test_half_a_layer_in_fp32_is_an_error(quantize: Quantize) -> None:
    with pytest.raises(CompileError) as caught:
        quantize('[[override]]\nnode = "fc1"\nweight.format = "fp32"\n')
    assert "error[FX331]: 'fc1' (Gemm, node 0): policy 'p' keeps its weight in fp32" in str(caught.value)
    assert "model.onnx" in str(caught.value)


def test_a_tile_of_another_rank_is_an_error(quantize: Quantize) -> None:
    with pytest.raises(CompileError) as caught:
        quantize('[[override]]\nnode = "scores"\nactivation.tile = [1, 8, 1, 1]\n')
    assert "error[FX332]: 'scores' (MatMul, node 2)" in str(caught.value)
    assert "tile [1, 8, 1, 1] for a tensor of shape [2, 6]" in str(caught.value)


def test_results_are_stored_in_the_format_of_the_policy(quantize: Quantize) -> None:
    graph = quantize(
        'fo = { format = "FB12", tile = [2, 3] }\n[[override]]\nnode = "scores"\nformat = "fp32"\n'
    )
    ops = list(graph.main.body.block.ops)
    stored = [op for op in ops if isinstance(op, bfp.QuantizeOp) and bfp.OF_RESULT in op.attributes]
    assert [type(op.x.owner) for op in stored] == [bfp.MatMulOp, nn.MatMulOp]
    for op in stored:
        assert isinstance(op.out.type, bfp.BlockTensorType)
        assert op.out.type.mantissa_bits.data == 4
        assert op.out.type.get_tile() == (2, min(3, op.out.type.get_shape()[1]))
        assert [use.operation for use in op.x.uses] == [op]
        (read,) = (use.operation for use in op.out.uses)
        assert isinstance(read, bfp.DequantizeOp)
        assert isinstance(op.x.owner, Operation)
        assert place_of(read) == place_of(op) == place_of(op.x.owner)
    assert "of_result" in str(graph.module)
    assert str(parse_module(str(graph.module))) == str(graph.module)


def test_a_result_of_another_rank_than_its_tile_is_an_error(quantize: Quantize) -> None:
    with pytest.raises(CompileError, match=r"FX332.*'fc1'"):
        quantize('fo = { format = "FB12", tile = [2, 3, 1] }\n')


def test_streams_of_random_bits_run_out(quantize: Quantize, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insert_quantize, "MAX_NODES", 3)
    quantize("")
    with pytest.raises(CompileError, match="FX333"):
        quantize('rounding = "stochastic"\n')
