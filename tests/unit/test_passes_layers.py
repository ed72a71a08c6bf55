"""What policies are told of a layer: kinds, first and last, and shortcuts, found from the graph alone."""

from __future__ import annotations

from xdsl.dialects.builtin import TensorType, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, Region, SSAValue

from flexc.ir import nn
from flexc.ir.attributes import boolean, integer, integers, real, source
from flexc.passes.building import shape_of
from flexc.precision.layers import Layer, LayerKind, layers_of


class Network:
    """A function under construction; convs keep height and width."""

    def __init__(self, channels: int = 8) -> None:
        self.block = Block(arg_types=[TensorType(f32, [1, channels, 8, 8])])
        self.x: SSAValue = self.block.args[0]

    def op(self, made: Operation) -> SSAValue:
        self.block.add_op(made)
        return made.results[0]

    def constant(self, *shape: int) -> SSAValue:
        return self.op(nn.ConstantOp.create(result_types=[TensorType(f32, shape)]))

    def conv(self, name: str, x: SSAValue, outputs: int = 8, kernel: int = 3, group: int = 1) -> SSAValue:
        weight = self.constant(outputs, shape_of(x)[1] // group, kernel, kernel)
        attributes = {
            "stride": integers([1, 1]),
            "pads": integers([kernel // 2] * 4),
            "dilation": integers([1, 1]),
            "group": integer(group),
            "source": source(name, "Conv", 0),
        }
        result = TensorType(f32, [1, outputs, *shape_of(x)[2:]])
        return self.op(nn.ConvOp.create(operands=[x, weight], result_types=[result], attributes=attributes))

    def norm(self, x: SSAValue) -> SSAValue:
        parameters = [self.constant(shape_of(x)[1]) for _ in range(4)]
        attributes = {"eps": real(1e-5)}
        return self.op(
            nn.BatchNormOp.create(operands=[x, *parameters], result_types=[x.type], attributes=attributes)
        )

    def relu(self, x: SSAValue) -> SSAValue:
        return self.op(nn.ReluOp.create(operands=[x], result_types=[x.type]))

    def add(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.op(nn.AddOp.create(operands=[x, y], result_types=[x.type]))

    def mean(self, x: SSAValue) -> SSAValue:
        attributes = {"axes": integers([2, 3]), "keepdims": boolean(False)}
        result = TensorType(f32, shape_of(x)[:2])
        return self.op(nn.ReduceMeanOp.create(operands=[x], result_types=[result], attributes=attributes))

    def matmul(self, name: str, x: SSAValue, weight: SSAValue) -> SSAValue:
        result = TensorType(f32, [*shape_of(x)[:-1], shape_of(weight)[-1]])
        attributes = {"source": source(name, "MatMul", 0)}
        return self.op(nn.MatMulOp.create(operands=[x, weight], result_types=[result], attributes=attributes))

    def layers(self, *results: SSAValue) -> dict[str, Layer]:
        self.block.add_op(ReturnOp(*results))
        types = ([argument.type for argument in self.block.args], [value.type for value in results])
        found = layers_of(FuncOp("main", types, Region([self.block])))
        return {layer.name: layer for layer in found.values()}


def shortcuts(layers: dict[str, Layer]) -> set[str]:
    return {name for name, layer in layers.items() if LayerKind.SHORTCUT in layer.kinds}


def firsts(layers: dict[str, Layer]) -> set[str]:
    return {name for name, layer in layers.items() if layer.first}


def lasts(layers: dict[str, Layer]) -> set[str]:
    return {name for name, layer in layers.items() if layer.last}


def test_residual_network() -> None:
    net = Network(3)
    stem = net.relu(net.norm(net.conv("stem", net.x)))
    main = net.norm(net.conv("b", net.relu(net.conv("a", stem))))
    joined = net.relu(net.add(main, net.norm(net.conv("down", stem, kernel=1))))
    again = net.relu(net.add(net.conv("d", net.conv("c", joined)), joined))
    layers = net.layers(net.matmul("fc", net.mean(again), net.constant(8, 10)))
    assert shortcuts(layers) == {"down"}
    assert firsts(layers) == {"stem"}
    assert lasts(layers) == {"fc"}
    assert layers["fc"].kinds == {LayerKind.LINEAR}
    assert layers["down"].kinds == {LayerKind.CONV, LayerKind.POINTWISE, LayerKind.SHORTCUT}


def test_bottleneck_and_its_last_pointwise_conv() -> None:
    net = Network()
    reduced = net.relu(net.conv("reduce", net.x, 4, kernel=1))
    main = net.norm(net.conv("expand", net.relu(net.conv("middle", reduced, 4)), kernel=1))
    layers = net.layers(net.add(net.norm(net.conv("down", net.x, kernel=1)), main))
    assert shortcuts(layers) == {"down"}
    assert firsts(layers) == {"reduce", "down"}


def test_shortcut_behind_its_own_pooling_and_the_stream_behind_relu() -> None:
    net = Network()
    stem = net.conv("stem", net.x)
    active = net.relu(net.norm(stem))
    main = net.conv("b", net.conv("a", active))
    layers = net.layers(net.add(main, net.conv("down", net.relu(active), kernel=1)))
    assert shortcuts(layers) == {"down"}


def test_inverted_bottleneck_has_no_shortcut_conv() -> None:
    net = Network()
    wide = net.relu(net.conv("expand", net.x, 48, kernel=1))
    deep = net.relu(net.conv("depthwise", wide, 48, group=48))
    layers = net.layers(net.add(net.norm(net.conv("project", deep, 8, kernel=1)), net.x))
    assert shortcuts(layers) == set()
    assert layers["depthwise"].kinds == {LayerKind.CONV, LayerKind.DEPTHWISE}
    assert layers["project"].kinds == {LayerKind.CONV, LayerKind.POINTWISE}
    assert lasts(layers) == {"project"}


def test_the_conv_before_an_identity_shortcut_is_none() -> None:
    net = Network()
    projected = net.norm(net.conv("project", net.conv("a", net.x, 48), kernel=1))
    wide = net.relu(net.conv("expand", projected, 48, kernel=1))
    deep = net.relu(net.conv("depthwise", wide, 48, group=48))
    layers = net.layers(net.add(net.norm(net.conv("again", deep, kernel=1)), projected))
    assert shortcuts(layers) == set()


def test_two_parallel_branches_are_no_shortcut() -> None:
    net = Network()
    stem = net.conv("stem", net.x)
    layers = net.layers(net.add(net.conv("left", stem, kernel=1), net.conv("right", stem, kernel=3)))
    assert shortcuts(layers) == set()


def test_only_pointwise_convs_of_one_group_are_shortcuts() -> None:
    net = Network()
    main = net.conv("b", net.conv("a", net.x))
    first = net.add(main, net.conv("wide", net.x))
    layers = net.layers(
        net.add(net.conv("d", net.conv("c", first)), net.conv("grouped", first, kernel=1, group=2))
    )
    assert shortcuts(layers) == set()


def test_a_conv_on_the_input_of_a_later_layer_is_not_first() -> None:
    net = Network()
    mixed = net.add(net.conv("stem", net.x), net.x)
    layers = net.layers(net.conv("second", mixed))
    assert firsts(layers) == {"stem"}
    assert lasts(layers) == set()


def test_layers_on_constants_alone_are_not_first() -> None:
    net = Network()
    net.conv("of_constant", net.constant(1, 8, 8, 8))
    assert firsts(net.layers(net.conv("stem", net.x))) == {"stem"}


def test_matmul_of_activations_and_several_heads() -> None:
    net = Network()
    stem = net.conv("stem", net.x)
    tokens = net.op(nn.ReshapeOp.create(operands=[stem], result_types=[TensorType(f32, [8, 8, 8])]))
    scores = net.matmul("attention", tokens, tokens)
    heads = [net.matmul(f"head{i}", scores, net.constant(8, 2)) for i in range(2)]
    layers = net.layers(*heads)
    assert layers["attention"].kinds == {LayerKind.MATMUL}
    assert lasts(layers) == {"head0", "head1"}


def test_names_without_a_source() -> None:
    net = Network()
    out = net.conv("", net.x)
    assert isinstance(out.owner, Operation)
    del out.owner.attributes["source"]
    out.name_hint = "features"
    assert list(net.layers(out)) == ["features"]
