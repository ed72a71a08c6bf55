"""Which runs the tables are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.training_results.broken_quantizers import Fault
from benchmarks.training_results.data import VALIDATION_LINES
from benchmarks.training_results.experiments import Engine, Experiment, Method, Network, Task

SEEDS = (0, 1, 2)
DIGITS = Task(Network.RESNET, "digits", 10)
MNIST = Task(Network.RESNET, "mnist", 3)
MOBILENET_DIGITS = Task(Network.MOBILENET, "digits", 10)
MOBILENET_MNIST = Task(Network.MOBILENET, "mnist", 3)
LONGER_MNIST = Task(Network.RESNET, "mnist", 10)
LONGER_MOBILENET_MNIST = Task(Network.MOBILENET, "mnist", 10)
RESULT_TASKS = (
    DIGITS,
    MNIST,
    LONGER_MNIST,
    MOBILENET_DIGITS,
    MOBILENET_MNIST,
    LONGER_MOBILENET_MNIST,
)
LONGER_DIGITS = Task(Network.RESNET, "digits", 30)
OTHER_RATES = tuple(Task(Network.RESNET, "digits", 10, learning_rate=rate) for rate in (0.02, 0.1))
USUAL_TASKS = tuple(
    Task(network, data, 30, learning_rate=0.1, weight_decay=5e-4)
    for network in (Network.RESNET, Network.MOBILENET)
    for data in ("digits", "mnist")
)
"""The recipe that small networks are usually trained by, chosen before its runs were seen."""
USUAL_VARIANTS = tuple(
    replace(task, epochs=epochs, learning_rate=rate)
    for epochs, rate in ((30, 0.2), (60, 0.1))
    for task in USUAL_TASKS
    if task.data == "digits"
)
"""Variants that were chosen with it, on one seed."""
CHOICES = tuple(
    Task(Network.CLASSIFIER, VALIDATION_LINES, epochs, batch=20, learning_rate=rate)
    for epochs, rate in ((4, 0.003), (4, 0.01), (4, 0.03), (8, 0.01))
)
"""Settings among which those of fine-tuning are chosen."""
CHOSEN = {
    "FB12LG16WG16": Task(Network.CLASSIFIER, "text-direction", 8, batch=20, learning_rate=0.01),
    "FB12": Task(Network.CLASSIFIER, "text-direction", 4, batch=20, learning_rate=0.01),
}
"""Of each policy the settings of :data:`CHOICES` with the best accuracy on the lines to choose by."""

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
"""What is trained for longer, and at other learning rates, to see where losses end."""


USUAL = {
    "fp32, exact batch norm": Method(exact=True),
    "fp32, LightNorm": Method(),
    "FB16": EVERYWHERE["FB16"],
    "FB12LG16WG16": EVERYWHERE["FB12LG16WG16"],
}
"""What is trained by the usual recipe over three seeds."""
USUAL_ENDS = ("fp32, exact batch norm", "FB12LG16WG16")
"""Of these what the variants are trained with."""
USUAL_ONCE = {name: EVERYWHERE[name] for name in ("FB24", "FB12")}
"""The same with one seed, on digits."""
INDEPENDENT = {
    "fp32, exact batch norm, PyTorch": REFERENCES["fp32, exact batch norm, PyTorch"],
    "FB12LG16WG16, exact batch norm": PARTS["FB12LG16WG16, exact batch norm"],
    "FB12LG16WG16, exact batch norm, PyTorch": Method(
        "FB12LG16WG16", everywhere=True, batchnorm="fp32", engine=Engine.TORCH
    ),
}
"""What four bits cost by themselves, in flexc and in an emulation that shares no code with it."""
INDEPENDENT_TASKS = (
    *(DIGITS, MOBILENET_DIGITS),
    *(task for task in USUAL_TASKS if task.data == "digits"),
)
CORE = {name: EVERYWHERE[name] for name in ("FB24", "FB16", "FB12LG16WG16", "FB12", "dynamic")}
"""What the expectations are about."""


def experiments() -> Iterator[Experiment]:
    """All runs, in the order in which they are started; none twice."""
    found: dict[Experiment, None] = {}
    for task, groups, seeds in (
        (DIGITS, (REFERENCES, EVERYWHERE, AS_NAMED, BROKEN, PARTS), SEEDS),
        (MNIST, (REFERENCES, EVERYWHERE, AS_NAMED), SEEDS),
        *(
            (task, (REFERENCES, CORE), (seed,))
            for seed in SEEDS
            for task in (LONGER_MOBILENET_MNIST, LONGER_MNIST)
        ),
        (MOBILENET_DIGITS, (REFERENCES, EVERYWHERE, AS_NAMED, PARTS), SEEDS),
        (MOBILENET_MNIST, (REFERENCES, CORE), SEEDS),
        *((task, (FINE_TUNED,), SEEDS[:1]) for task in CHOICES),
        *((task, ({name: FINE_TUNED[name]},), SEEDS) for name, task in CHOSEN.items()),
        *((task, (LOSSES,), SEEDS[:1]) for task in (LONGER_DIGITS, *OTHER_RATES)),
        *((task, (USUAL,), SEEDS) for task in USUAL_TASKS),
        *((task, (USUAL_ONCE,), SEEDS[:1]) for task in USUAL_TASKS if task.data == "digits"),
        *((task, ({name: USUAL[name] for name in USUAL_ENDS},), SEEDS[:1]) for task in USUAL_VARIANTS),
        *((task, (INDEPENDENT,), SEEDS) for task in INDEPENDENT_TASKS),
    ):
        for seed in seeds:
            for group in groups:
                methods = (_on(task, method) for method in group.values())
                found |= dict.fromkeys(Experiment(task, method, seed) for method in methods)
    yield from found


def _on(task: Task, method: Method) -> Method:
    """Statistics are compared on digits alone, for they take as long as half a run."""
    return method if task == DIGITS else replace(method, statistics=False)
