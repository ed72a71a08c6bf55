"""Transformer base encoder-decoder block pair (Vaswani et al., 2017), BERT-like encoder (Devlin 2018).

The first takes embedded sequences, the second tokens. `seq2seq` is a small encoder and decoder with dropout,
from two sequences of tokens to scores of the next one at each position.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import onnx
from onnx import TensorProto

from models.graph_builder import OPEN_BATCH, GraphBuilder, batch_option, save_and_report


class _Blocks:
    """Attention and feed-forward layers of width ``width`` with ``heads`` heads, post-norm.

    A batch that has a name is open. ``dropout`` is the ratio behind each sublayer.
    """

    def __init__(
        self, builder: GraphBuilder, batch: int | str, width: int, heads: int, dropout: float = 0.0
    ) -> None:
        self.builder = builder
        # In the shape of a Reshape, 0 is the extent of what is reshaped.
        self.batch = batch if isinstance(batch, int) else 0
        self.width, self.heads = width, heads
        self.dropout = dropout

    def linear(self, x: str, features: tuple[int, int], name: str) -> str:
        inside, outside = features
        y = self.builder.node(
            "MatMul", [x, self.builder.normal(f"{name}.weight", features, inside, 1.0)], name
        )
        bias = (0.02 * self.builder.rng.standard_normal(outside)).astype(np.float32)
        return self.builder.node("Add", [y, self.builder.weight(f"{name}.bias", bias)])

    def layer_norm(self, x: str, name: str) -> str:
        gamma = self.builder.rng.uniform(0.8, 1.2, self.width).astype(np.float32)
        beta = (0.1 * self.builder.rng.standard_normal(self.width)).astype(np.float32)
        names = [self.builder.weight(f"{name}.weight", gamma), self.builder.weight(f"{name}.bias", beta)]
        return self.builder.node("LayerNormalization", [x, *names], name, axis=-1, epsilon=1e-5)

    def split_heads(self, x: str, length: int, name: str, permutation: list[int]) -> str:
        shape = self.builder.constant(
            f"{name}.shape", (self.batch, length, self.heads, self.width // self.heads)
        )
        return self.builder.node("Transpose", [self.builder.node("Reshape", [x, shape])], perm=permutation)

    def attention(self, x: str, memory: str, lengths: tuple[int, int], name: str, mask: str = "") -> str:
        size = (self.width, self.width)
        q = self.split_heads(self.linear(x, size, f"{name}.q"), lengths[0], f"{name}.q", [0, 2, 1, 3])
        k = self.split_heads(self.linear(memory, size, f"{name}.k"), lengths[1], f"{name}.k", [0, 2, 3, 1])
        v = self.split_heads(self.linear(memory, size, f"{name}.v"), lengths[1], f"{name}.v", [0, 2, 1, 3])
        scores = self.builder.node("MatMul", [q, k], f"{name}.scores")
        root = self.builder.scalar(f"{name}.root", float(np.sqrt(self.width // self.heads)))
        scores = self.builder.node("Div", [scores, root])
        if mask:
            scores = self.builder.node("Add", [scores, mask])
        context = self.builder.node(
            "MatMul", [self.builder.node("Softmax", [scores], axis=-1), v], f"{name}.context"
        )
        context = self.builder.node("Transpose", [context], perm=[0, 2, 1, 3])
        shape = self.builder.constant(f"{name}.merged", (self.batch, lengths[0], self.width))
        return self.linear(self.builder.node("Reshape", [context, shape]), size, f"{name}.out")

    def dropped(self, x: str, name: str) -> str:
        if not self.dropout:
            return x
        ratio = self.builder.scalar(f"{name}.ratio", self.dropout)
        return self.builder.node("Dropout", [x, ratio], f"{name}.dropout")

    def residual(self, x: str, y: str, name: str) -> str:
        y = self.dropped(y, name)
        return self.layer_norm(self.builder.node("Add", [x, y]), name)

    def gelu(self, x: str, name: str) -> str:
        inner = self.builder.node("Div", [x, self.builder.scalar(f"{name}.sqrt2", float(np.sqrt(2)))])
        erf = self.builder.node(
            "Add", [self.builder.node("Erf", [inner]), self.builder.scalar(f"{name}.one", 1.0)]
        )
        return self.builder.node(
            "Mul", [self.builder.node("Mul", [x, erf]), self.builder.scalar(f"{name}.half", 0.5)]
        )

    def feed_forward(self, x: str, hidden: int, name: str, gelu: bool) -> str:
        y = self.linear(x, (self.width, hidden), f"{name}.1")
        y = self.gelu(y, name) if gelu else self.builder.node("Relu", [y])
        return self.linear(y, (hidden, self.width), f"{name}.2")

    def encoder(self, x: str, length: int, hidden: int, name: str, gelu: bool) -> str:
        x = self.residual(x, self.attention(x, x, (length, length), f"{name}.self"), f"{name}.norm1")
        return self.residual(x, self.feed_forward(x, hidden, f"{name}.ffn", gelu), f"{name}.norm2")


def make_transformer(
    *,
    batch: int | str = 1,
    source_length: int = 64,
    target_length: int = 48,
    width: int = 512,
    heads: int = 8,
    hidden: int = 2048,
    seed: int = 0,
) -> onnx.ModelProto:
    """One encoder and one decoder block, with a causal mask, on embedded sequences."""
    builder = GraphBuilder("transformer", seed)
    blocks = _Blocks(builder, batch, width, heads)
    source = builder.input("source", (batch, source_length, width))
    target = builder.input("target", (batch, target_length, width))
    memory = blocks.encoder(source, source_length, hidden, "encoder", gelu=False)
    causal = np.triu(np.full((target_length, target_length), -1e4, np.float32), 1)
    mask = builder.weight("decoder.mask", causal)
    x = target
    y = blocks.attention(x, x, (target_length, target_length), "decoder.self", mask)
    x = blocks.residual(x, y, "decoder.norm1")
    y = blocks.attention(x, memory, (target_length, source_length), "decoder.cross")
    x = blocks.residual(x, y, "decoder.norm2")
    x = blocks.residual(x, blocks.feed_forward(x, hidden, "decoder.ffn", gelu=False), "decoder.norm3")
    return builder.model({x: (batch, target_length, width)})


def make_bert(
    *,
    batch: int | str = 1,
    length: int = 64,
    layers: int = 2,
    width: int = 256,
    heads: int = 4,
    vocabulary: int = 1000,
    classes: int = 2,
    seed: int = 0,
) -> onnx.ModelProto:
    """Token and position embeddings, ``layers`` encoder blocks with GELU, a classifier on the first token."""
    builder = GraphBuilder("bert", seed)
    blocks = _Blocks(builder, batch, width, heads)
    tokens = builder.input("tokens", (batch, length), TensorProto.INT64)
    table = builder.normal("embedding.weight", (vocabulary, width), 1, 1.0)
    positions = builder.normal("position.weight", (1, length, width), 1, 0.1)
    x = builder.node("Add", [builder.node("Gather", [table, tokens], "embedding", axis=0), positions])
    x = blocks.layer_norm(x, "embedding.norm")
    for layer in range(layers):
        x = blocks.encoder(x, length, 4 * width, f"layer{layer}", gelu=True)
    first = builder.weight("first", np.asarray(0, np.int64))
    pooled = builder.node(
        "Tanh", [builder.linear(builder.node("Gather", [x, first], axis=1), (width, width), "pool")]
    )
    logits = builder.linear(pooled, (width, classes), "classifier")
    return builder.model({logits: (batch, classes)})


def make_seq2seq(
    *,
    batch: int | str = OPEN_BATCH,
    source_length: int = 8,
    target_length: int = 8,
    width: int = 32,
    heads: int = 2,
    vocabulary: int = 16,
    dropout: float = 0.1,
    seed: int = 0,
) -> onnx.ModelProto:
    """Tokens ``source`` and ``target`` [batch, length] to scores [batch, length, vocabulary].

    One table for both embeds the tokens; the decoder's mask is causal.
    """
    builder = GraphBuilder("seq2seq", seed)
    blocks = _Blocks(builder, batch, width, heads, dropout)
    lengths = {"source": source_length, "target": target_length}
    names = {
        name: builder.input(name, (batch, length), TensorProto.INT64) for name, length in lengths.items()
    }
    table = builder.normal("embedding.weight", (vocabulary, width), 1, 1.0)

    def embedded(name: str) -> str:
        positions = builder.normal(f"{name}.position.weight", (lengths[name], width), 1, 0.1)
        tokens = builder.node("Gather", [table, names[name]], f"{name}.embedding", axis=0)
        return blocks.dropped(builder.node("Add", [tokens, positions]), f"{name}.embedded")

    memory = blocks.encoder(embedded("source"), source_length, 2 * width, "encoder", gelu=True)
    mask = builder.weight("decoder.mask", np.triu(np.full((target_length,) * 2, -1e4, np.float32), 1))
    x = embedded("target")
    y = blocks.attention(x, x, (target_length, target_length), "decoder.self", mask)
    x = blocks.residual(x, y, "decoder.norm1")
    y = blocks.attention(x, memory, (target_length, source_length), "decoder.cross")
    x = blocks.residual(x, y, "decoder.norm2")
    x = blocks.residual(x, blocks.feed_forward(x, 2 * width, "decoder.ffn", gelu=True), "decoder.norm3")
    return builder.model({blocks.linear(x, (width, vocabulary), "head"): (batch, target_length, vocabulary)})


MAKERS: dict[str, Callable[..., onnx.ModelProto]] = {
    "transformer": make_transformer,
    "bert": make_bert,
    "seq2seq": make_seq2seq,
}


@click.command(help=__doc__)
@click.argument("name", type=click.Choice(list(MAKERS)))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@batch_option
@click.option("--seed", default=0, show_default=True)
def main(name: str, output: Path, batch: int | str, seed: int) -> None:
    save_and_report(MAKERS[name](batch=batch, seed=seed), output)


if __name__ == "__main__":
    main()
