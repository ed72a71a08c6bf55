"""Which runs the tables are made of, the most telling first."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.training_results.broken_quantizers import Fault
from benchmarks.training_results.experiments import Engine, Experiment, Method, Network, Task

SEEDS = (0, 1, 2)
DIGITS = Task(Network.RESNET, "digits", 10)
MNIST = Task(Network.RESNET, "mnist", 5)
MOBILENET_DIGITS = Task(Network.MOBILENET, "digits", 10)
MOBILENET_MNIST = Task(Network.MOBILENET, "mnist", 5)
NOISY_MNIST = Task(Network.RESNET, "noisy-mnist", 5)

REFERENCES: dict[str, Method] = {
    "fp32, exact batch norm, PyTorch": Method(engine=Engine.TORCH, exact=True),
    "fp32, exact batch norm": Method(exact=True, statistics=True),
    "fp32, LightNorm": Method(statistics=True),
}
EVERYWHERE: dict[str, Method] = {
    "FB24": Method("FB24", everywhere=True),
    "FB16": Method("FB16", everywhere=True, statistics=True),
    "FB12LG16WG16": Method("FB12LG16WG16", everywhere=True),
    "FB12": Method("FB12", everywhere=True, statistics=True),
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
    "FB12LG16WG16, exact batch norm": Method("FB12LG16WG16", everywhere=True, batchnorm="fp32"),
    "FB16, exact batch norm": Method("FB16", everywhere=True, batchnorm="fp32"),
}
"""What makes the difference between FB16 and FB12."""

METHODS = (REFERENCES, EVERYWHERE, AS_NAMED, BROKEN, PARTS)


def experiments() -> Iterator[Experiment]:
    """All runs, in the order in which they are started; none twice."""
    found: dict[Experiment, None] = {}
    for task, groups in (
        (DIGITS, METHODS),
        (MNIST, (REFERENCES, EVERYWHERE)),
        (MOBILENET_DIGITS, (REFERENCES, EVERYWHERE)),
        (MNIST, (AS_NAMED,)),
        (MOBILENET_MNIST, (REFERENCES, EVERYWHERE)),
    ):
        for seed in SEEDS:
            for group in groups:
                found |= dict.fromkeys(Experiment(task, method, seed) for method in group.values())
    yield from found
