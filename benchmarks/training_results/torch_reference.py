"""The same training in PyTorch: first weights, order of examples, learning rates and optimizer of flexc."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.training_results.evaluation import Score, score_of_logits
from flexc.datasets.arrays import DataSet, Examples
from flexc.training.order import order_of_epoch
from flexc.training.settings import RunSettings

Tensor = Any
STATISTICS = (".mean", ".var")


class TorchRun:
    """A model in fp32 on one thread; batch norms in PyTorch's own way (running variances are unbiased)."""

    def __init__(self, settings: RunSettings, data: DataSet) -> None:
        self._torch: Any = importlib.import_module("torch")
        self._torch.set_num_threads(1)
        self._settings, self._data = settings, data
        self._ops = _OPS
        self._nodes = list(onnx.load(Path(settings.model)).graph.node)
        weights = onnx.load(Path(settings.model)).graph.initializer
        self._weights = {one.name: self._torch.tensor(numpy_helper.to_array(one)) for one in weights}
        learnt = [value for name, value in self._weights.items() if not name.endswith(STATISTICS)]
        for value in learnt:
            value.requires_grad_()
        options = settings.training
        self._optimizer = self._torch.optim.SGD(
            learnt, lr=0.0, momentum=options.momentum, weight_decay=options.weight_decay
        )

    def epochs(self) -> Iterator[tuple[float, Score]]:
        """Trains; the mean loss of each epoch, before updates, and the score on the test set behind it."""
        functional = self._torch.nn.functional
        settings, train = self._settings, self._data.train
        steps = len(train) // settings.batch
        for epoch in range(settings.epochs):
            order = order_of_epoch(len(train), seed=settings.seed, epoch=epoch)
            total = 0.0
            for position in range(steps):
                part = train.take(order[position * settings.batch : (position + 1) * settings.batch])
                rate = settings.learning_rate.at(
                    epoch * steps + position, steps_per_epoch=steps, epochs=settings.epochs
                )
                for group in self._optimizer.param_groups:
                    group["lr"] = rate
                logits = self._forward(part, training=True)
                loss = functional.cross_entropy(logits, self._torch.tensor(part.class_labels))
                self._optimizer.zero_grad()
                loss.backward()
                self._optimizer.step()
                total += loss.item()
            yield total / steps, self.score(self._data.test)

    def score(self, examples: Examples) -> Score:
        """With running statistics."""
        with self._torch.no_grad():
            logits = self._forward(examples, training=False).numpy()
        return score_of_logits(np.asarray(logits), examples.class_labels)

    def _forward(self, examples: Examples, *, training: bool) -> Tensor:
        known = {"input": self._torch.tensor(examples.images), **self._weights}
        for node in self._nodes:
            attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
            operands = [known[name] for name in node.input]
            if node.op_type == "BatchNormalization":
                made = self._batch_norm(attributes, operands, training)
            else:
                made = self._ops[node.op_type](self._torch, attributes, *operands)
            known[node.output[0]] = made
        return known[self._nodes[-1].output[0]]

    def _batch_norm(self, attributes: Mapping[str, Any], operands: list[Tensor], training: bool) -> Tensor:
        x, gamma, beta, mean, variance = operands
        forgotten = 1 - self._settings.training.statistics_momentum
        return self._torch.nn.functional.batch_norm(
            x, mean, variance, gamma, beta, training, forgotten, attributes["epsilon"]
        )


_OPS: Mapping[str, Callable[..., Tensor]] = {
    "Add": lambda torch, attributes, x, y: x + y,
    "Conv": lambda torch, attributes, x, w: torch.nn.functional.conv2d(
        x, w, None, attributes["strides"], attributes["pads"][:2], groups=attributes["group"]
    ),
    "Flatten": lambda torch, attributes, x: x.flatten(1),
    "Gemm": lambda torch, attributes, x, w, bias: x @ w.T + bias,
    "GlobalAveragePool": lambda torch, attributes, x: x.mean((2, 3), keepdim=True),
    "Relu": lambda torch, attributes, x: torch.relu(x),
}
