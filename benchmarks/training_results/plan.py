"""Which runs the tables are made of, the most telling first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.training_results.broken_quantizers import Fault
from benchmarks.training_results.data import VALIDATION_LINES
from benchmarks.training_results.experiments import Engine, Experiment, Method, Network, Task

SEEDS = (0, 1, 2)
DIGITS = Task(Network.RESNET, "digits", 10)
MNIST = Task(Network.RESNET, "mnist", 5)
MOBILENET_DIGITS = Task(Network.MOBILENET, "digits", 10)
MOBILENET_MNIST = Task(Network.MOBILENET, "mnist", 5)
LONGER_DIGITS = Task(Network.RESNET, "digits", 30)
GENTLE_DIGITS = Task(Network.RESNET, "digits", 10, learning_rate=0.01)
CHOICES = tuple(
    Task(Network.CLASSIFIER, VALIDATION_LINES, epochs=4, batch=20, learning_rate=rate)
    for rate in (0.003, 0.01, 0.03)
)
"""Settings among which those of fine-tuning are chosen."""

REFERENCES: dict[str, Method] = {
    "fp32, exact batch norm, PyTorch": Method(engine=Engine.TORCH, exact=True),
    "fp32, exact batch norm": Method(exact=True, statistics=True),
    "fp32, LightNorm": Method(statistics=True),
}
EVERYWHERE: dict[str, Method] = {
    "FB24": Method("FB24", everywhere=True),
    "FB16": Method("FB16", everywhere=True, statistics=True),
    "FB12LG16WG16": Method("FB12LG16WG16", everywhere=True),
    "FB12": Method("FB12", everywhere=True),
    "FB12, truncate": Method("FB12", everywhere=True, rounding="truncate"),
    "FB12, stochastic": Method("FB12", everywhere=True, rounding="stochastic"),
    "FB12LG16": Method("FB12LG16", everywhere=True),
    "FB12LG24": Method("FB12LG24", everywhere=True),
    "FB12WG16": Method("FB12WG16", everywhere=True),
    "FB12WG24": Method("FB12WG24", everywhere=True),
    "FB16LG24": Method("FB16LG24", everywhere=True),
    "dynamic": Method("dynamic"),
}
AS_NAMED: dict[str, Method] = {
    "FB12LG16WG16": Method("FB12LG16WG16"),
    "FB12": Method("FB12"),
    "FB12, truncate": Method("FB12", rounding="truncate"),
    "FB12, stochastic": Method("FB12", rounding="stochastic"),
    "FB12LG16": Method("FB12LG16"),
    "FB12LG24": Method("FB12LG24"),
    "FB12WG16": Method("FB12WG16"),
    "FB12WG24": Method("FB12WG24"),
}
BROKEN: dict[str, Method] = {
    "FB16, exponent one low": Method("FB16", everywhere=True, broken=Fault.EXPONENT_ONE_LOW),
    "FB16, floor": Method("FB16", everywhere=True, broken=Fault.FLOOR),
    "FB16, exponent of the next group": Method("FB16", everywhere=True, broken=Fault.NEXT_EXPONENT),
    "FB12LG16WG16, exponent one low": Method("FB12LG16WG16", everywhere=True, broken=Fault.EXPONENT_ONE_LOW),
    "FB12LG16WG16, floor": Method("FB12LG16WG16", everywhere=True, broken=Fault.FLOOR),
}
PARTS: dict[str, Method] = {
    "FB12-activations": Method("FB12-activations", everywhere=True),
    "FB12-weights": Method("FB12-weights", everywhere=True),
    "FB16-FB12-gradients": Method("FB16-FB12-gradients", everywhere=True),
    "FB12-stochastic-gradients": Method("FB12-stochastic-gradients", everywhere=True),
    "FB12LG16WG16, stochastic": Method("FB12LG16WG16", everywhere=True, rounding="stochastic"),
    "FB12LG16WG16, exact batch norm": Method("FB12LG16WG16", everywhere=True, batchnorm="fp32"),
    "FB16, exact batch norm": Method("FB16", everywhere=True, batchnorm="fp32"),
}
"""What makes the difference between FB16 and FB12."""

FINE_TUNED = {name: AS_NAMED[name] for name in ("FB12LG16WG16", "FB12")}
LOSSES = {
    "fp32, exact batch norm": Method(exact=True),
    "fp32, LightNorm": Method(),
    "FB16": Method("FB16", everywhere=True),
    "FB12LG16WG16": EVERYWHERE["FB12LG16WG16"],
}
"""What is trained for longer, and more gently, to see where losses end."""


CORE = {name: EVERYWHERE[name] for name in ("FB24", "FB16", "FB12LG16WG16", "FB12", "dynamic")}
"""What the expectations are about."""


def experiments() -> Iterator[Experiment]:
    """All runs, in the order in which they are started; none twice."""
    found: dict[Experiment, None] = {}
    for task, groups, seeds in (
        (DIGITS, (REFERENCES, EVERYWHERE), SEEDS),
        (DIGITS, (BROKEN,), SEEDS[:1]),
        (CHOICES[1], (FINE_TUNED,), SEEDS[:1]),
        (MNIST, (REFERENCES, CORE), SEEDS),
        *((task, (FINE_TUNED,), SEEDS[:1]) for task in CHOICES),
        (MOBILENET_DIGITS, (REFERENCES, CORE), SEEDS),
        (LONGER_DIGITS, (LOSSES,), SEEDS[:1]),
        (GENTLE_DIGITS, (LOSSES,), SEEDS[:1]),
        (DIGITS, (PARTS, AS_NAMED), SEEDS),
        (DIGITS, (BROKEN,), SEEDS),
        (MNIST, (EVERYWHERE, AS_NAMED), SEEDS),
        (MOBILENET_DIGITS, (EVERYWHERE,), SEEDS),
        (MOBILENET_MNIST, (REFERENCES, CORE), SEEDS),
    ):
        for seed in seeds:
            for group in groups:
                methods = (_on(task, method) for method in group.values())
                found |= dict.fromkeys(Experiment(task, method, seed) for method in methods)
    yield from found


def _on(task: Task, method: Method) -> Method:
    """Statistics are compared on digits alone, for they take as long as half a run."""
    return method if task == DIGITS else replace(method, statistics=False)
