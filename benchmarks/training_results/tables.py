"""The tables of docs/training_results.md, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from benchmarks.training_results import plan
from benchmarks.training_results.experiments import Engine, Method, Task
from benchmarks.training_results.statistics_of_seeds import Runs
from benchmarks.training_results.summary import RunSummary

EXACT = plan.REFERENCES["fp32, exact batch norm"]
LIGHTNORM = plan.REFERENCES["fp32, LightNorm"]
MOST_LOSS = 2.0
"""How many times the loss of exact fp32 a method of the expectations may end with."""
MOST_POINTS = {"FB24": 1.0, "FB16": 1.0, "FB12LG16WG16": 1.5}
"""How many points of accuracy a policy may be below exact fp32, with every layer quantized."""
ABSENT = ""
LAG_EPOCHS = (1, 2, 3, 5, 10)


def options_of(method: Method) -> str:
    """What ``flexc train`` is told, or who else trains."""
    if method.engine is Engine.TORCH:
        return "PyTorch"
    if method.exact:
        return "`--profile fp32 --batchnorm fp32`"
    words = [f"--policy {method.policy}"]
    words += ["--everywhere"] if method.everywhere else []
    words += [f"--rounding {method.rounding}"] if method.rounding else []
    words += ["--batchnorm fp32"] if method.batchnorm == "fp32" else []
    text = f"`{' '.join(words)}`"
    return text if method.broken is None else f"{text}, {method.broken}"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, with a newline at its end."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def results_table(runs: Runs, task: Task) -> str:
    """Accuracy, loss and zero-setting errors of every method that has a run on ``task``."""
    groups = (plan.REFERENCES, plan.EVERYWHERE, plan.AS_NAMED)
    methods = dict.fromkeys(method for group in groups for method in group.values())
    rows = [_result_row(runs, task, method) for method in methods if runs.of(task, method)]
    titles = ("options", "seeds", "test accuracy, % (range)", "loss", "by fp32's", "ZSE a, w, g, %")
    return table(titles, rows)


def _result_row(runs: Runs, task: Task, method: Method) -> list[str]:
    accuracy = runs.spread(task, method, lambda one: one.test_accuracy)
    assert accuracy is not None
    return [
        options_of(method),
        str(len(accuracy.values)),
        accuracy.percent(),
        _loss(runs, task, method, lambda one: one.train_loss),
        _ratio_text(runs, task, method),
        _errors(runs.of(task, method)),
    ]


def _loss(runs: Runs, task: Task, method: Method, value: Callable[[RunSummary], float | None]) -> str:
    found = runs.spread(task, method, value)
    return ABSENT if found is None else f"{found.mean:.4f}"


def loss_ratio(runs: Runs, task: Task, method: Method, reference: Method = EXACT) -> float | None:
    """The mean over seeds of the last training loss by that of ``reference`` with the same seed."""
    losses = {one.experiment.seed: one.train_loss for one in runs.of(task, reference)}
    ratios = [
        one.train_loss / loss
        for one in runs.of(task, method)
        if one.train_loss is not None and (loss := losses.get(one.experiment.seed)) is not None
    ]
    return sum(ratios) / len(ratios) if ratios else None


def accuracy_difference(runs: Runs, task: Task, method: Method) -> float | None:
    """The mean test accuracy less that of exact fp32, over the seeds that both have."""
    exact = {one.experiment.seed: one.test_accuracy for one in runs.of(task, EXACT)}
    differences = [
        one.test_accuracy - accuracy
        for one in runs.of(task, method)
        if one.test_accuracy is not None and (accuracy := exact.get(one.experiment.seed)) is not None
    ]
    return sum(differences) / len(differences) if differences else None


def _ratio_text(runs: Runs, task: Task, method: Method) -> str:
    ratio = loss_ratio(runs, task, method)
    return ABSENT if ratio is None else f"{ratio:.2f}x"


def _errors(found: Sequence[RunSummary]) -> str:
    errors = [one.errors for one in found if one.errors is not None]
    if not errors:
        return ABSENT
    return ", ".join(f"{100 * sum(column) / len(column):.1f}" for column in zip(*errors, strict=True))


def expectations_table(runs: Runs, tasks: Iterable[Task]) -> str:
    """Each expectation on each task, the missed ones first.

    Accuracies and losses are compared over common seeds, losses with those of fp32 by exact batch norm and by
    LightNorm.
    """
    expected = [
        ("PyTorch", plan.REFERENCES["fp32, exact batch norm, PyTorch"], 1.0),
        ("LightNorm in fp32", LIGHTNORM, 1.0),
        *((f"{name}, every layer", plan.EVERYWHERE[name], points) for name, points in MOST_POINTS.items()),
    ]
    rows = []
    for task in tasks:
        for name, method, points in expected:
            points_less = accuracy_difference(runs, task, method)
            ratio, of_lightnorm = (loss_ratio(runs, task, method, one) for one in (EXACT, LIGHTNORM))
            if points_less is None or ratio is None or of_lightnorm is None:
                continue
            difference = 100 * points_less
            misses = (difference < -points) + (ratio > MOST_LOSS)
            row = [
                name_of(task),
                name,
                f"{difference:+.2f} (at least {-points:.1f}){_verdict(difference >= -points)}",
                f"{ratio:.2f}x (at most {MOST_LOSS:.0f}x){_verdict(ratio <= MOST_LOSS)}",
                f"{of_lightnorm:.2f}x",
            ]
            rows.append((-misses, row))
    titles = ("task", "method", "accuracy less fp32's, points", "loss by fp32's", "loss by fp32 LightNorm's")
    return table(titles, [row for _, row in sorted(rows, key=lambda pair: pair[0])])


def name_of(task: Task) -> str:
    """Like ``small ResNet, digits, 10 epochs``."""
    decay = f", weight decay {task.weight_decay:g}" if task.weight_decay else ""
    return f"{task.network}, {task.data}, {task.epochs} epochs{decay}"


def _verdict(met: bool) -> str:
    return "" if met else " **missed**"


def broken_table(runs: Runs) -> str:
    """Broken quantizers beside the right ones."""
    rows = []
    for method in (plan.EVERYWHERE["FB16"], plan.EVERYWHERE["FB12LG16WG16"], *plan.BROKEN.values()):
        accuracy = runs.spread(plan.DIGITS, method, lambda one: one.test_accuracy)
        in_fp32 = runs.spread(plan.DIGITS, method, lambda one: one.test_accuracy_fp32)
        if accuracy is None or in_fp32 is None:
            continue
        loss = _loss(runs, plan.DIGITS, method, lambda one: one.train_loss)
        ratio = _ratio_text(runs, plan.DIGITS, method)
        seeds = str(len(accuracy.values))
        rows.append([options_of(method), seeds, accuracy.percent(), loss, ratio, in_fp32.percent()])
    titles = ("options", "seeds", "test accuracy, %", "loss", "by fp32's", "tested in fp32, %")
    return table(titles, rows)


def parts_table(runs: Runs, task: Task) -> str:
    """What makes the difference between FB16 and FB12, and where losses come from."""
    names = ("FB16", "FB12LG16WG16", "FB12LG16", "FB12WG16", "FB12", "FB12, stochastic", "FB12, truncate")
    methods = [LIGHTNORM, *(plan.EVERYWHERE[name] for name in names), *plan.PARTS.values()]
    rows = []
    for method in methods:
        accuracy = runs.spread(task, method, lambda one: one.test_accuracy)
        if accuracy is None:
            continue
        losses = [
            _loss(runs, task, method, value)
            for value in (
                lambda one: one.train_loss,
                lambda one: one.final_train_loss,
                lambda one: one.final_train_loss_fp32,
            )
        ]
        nearest = runs.spread(task, method, lambda one: one.test_accuracy_nearest)
        seeds, to_nearest = str(len(accuracy.values)), ABSENT if nearest is None else nearest.percent()
        rows.append([options_of(method), seeds, accuracy.percent(), to_nearest, *losses])
    titles = (
        "options", "seeds", "test accuracy, %", "to nearest", "loss of last epoch", "behind it", "in fp32"
    )  # fmt: skip
    return table(titles, rows)


def losses_table(runs: Runs) -> str:
    """Last losses after more epochs, and at another learning rate."""
    rows = []
    for task in (plan.DIGITS, plan.LONGER_DIGITS, *plan.OTHER_RATES):
        for name, method in plan.LOSSES.items():
            # One seed, so that rows of one table are of the same runs.
            of_seed = [one for one in runs.of(task, method) if one.experiment.seed == plan.SEEDS[0]]
            exact = [one for one in runs.of(task, EXACT) if one.experiment.seed == plan.SEEDS[0]]
            if not of_seed or not exact:
                continue
            loss, reference = of_seed[0].train_loss, exact[0].train_loss
            assert loss is not None
            assert reference is not None
            assert of_seed[0].test_accuracy is not None
            rows.append(
                [
                    f"{task.epochs}, {task.learning_rate}",
                    name,
                    f"{100 * of_seed[0].test_accuracy:.2f}",
                    f"{loss:.4f}",
                    f"{loss / reference:.2f}x",
                ]
            )
    return table(("epochs, learning rate", "method", "test accuracy, %", "loss", "by fp32's"), rows)


def variants_table(runs: Runs) -> str:
    """FB12LG16WG16 against fp32 in the usual recipe and its variants, with the seed that all have."""
    rows = []
    for task in (*plan.USUAL_TASKS, *plan.USUAL_VARIANTS):
        found = [_first_seed(runs, task, plan.USUAL[name]) for name in plan.USUAL_ENDS]
        if task.data != "digits" or None in found:
            continue
        accuracies, losses = zip(*filter(None, found), strict=True)
        rows.append(
            [
                task.network,
                f"{task.epochs}, {task.learning_rate}",
                ", ".join(f"{100 * accuracy:.2f}" for accuracy in accuracies),
                ", ".join(f"{loss:.4f}" for loss in losses),
                f"{losses[1] / losses[0]:.2f}x",
            ]
        )
    titles = (
        "network",
        "epochs, learning rate",
        "test accuracy, % (fp32, FB12LG16WG16)",
        "loss",
        "by fp32's",
    )
    return table(titles, rows)


def independent_table(runs: Runs) -> str:
    """FB12LG16WG16 with exact batch norms in flexc and in PyTorch, each beside fp32 in the same engine."""
    pairs = [
        (EXACT, plan.INDEPENDENT["FB12LG16WG16, exact batch norm"]),
        (
            plan.INDEPENDENT["fp32, exact batch norm, PyTorch"],
            plan.INDEPENDENT["FB12LG16WG16, exact batch norm, PyTorch"],
        ),
    ]
    rows = []
    for task in plan.INDEPENDENT_TASKS:
        row = [name_of(task)]
        for exact, narrow in pairs:
            accuracy = runs.spread(task, narrow, lambda one: one.test_accuracy)
            ratio = loss_ratio(runs, task, narrow, exact)
            row += [
                ABSENT if accuracy is None else accuracy.percent(),
                _loss(runs, task, narrow, lambda one: one.train_loss),
                ABSENT if ratio is None else f"{ratio:.2f}x",
            ]
        rows.append(row)
    titles = [
        f"{what}, {engine}"
        for engine in ("flexc", "PyTorch")
        for what in ("test accuracy, % (range)", "loss", "by fp32's")
    ]
    return table(["task", *titles], rows)


def _first_seed(runs: Runs, task: Task, method: Method) -> tuple[float, float] | None:
    """Test accuracy and last training loss of the run with the first seed, if there is one."""
    for one in runs.of(task, method):
        if one.experiment.seed == plan.SEEDS[0]:
            assert one.test_accuracy is not None
            assert one.train_loss is not None
            return one.test_accuracy, one.train_loss
    return None


def lag_table(runs: Runs) -> str:
    """Running statistics against those of batches, by epoch: means over seeds."""
    rows = []
    for name, method in (
        ("exact", EXACT),
        ("LightNorm, fp32", LIGHTNORM),
        ("LightNorm, FB16", plan.EVERYWHERE["FB16"]),
    ):
        lags = [one.lags for one in runs.of(plan.DIGITS, method) if one.lags]
        for epoch, found in enumerate(zip(*lags, strict=True), start=1):
            if epoch not in LAG_EPOCHS:
                continue
            count = len(found)
            scores = [
                sum(lag[kind][what] for lag in found) / count
                for what in ("accuracy", "loss")
                for kind in ("running", "batch")
            ]
            spreads = [
                sum(lag[f"training_{what}"] for lag in found) / count for what in ("difference", "bias")
            ]
            rows.append(
                [
                    name,
                    str(epoch),
                    f"{100 * scores[0]:.2f}, {100 * scores[1]:.2f}",
                    f"{scores[2]:.4f}, {scores[3]:.4f}",
                    f"{100 * spreads[0]:.1f}",
                    f"{100 * spreads[1]:+.1f}",
                ]
            )
    titles = (
        "batch norm",
        "epoch",
        "test accuracy, % (running, batch)",
        "test loss (running, batch)",
        "spread differs by, %",
        "of that bias, %",
    )
    return table(titles, rows)


def fine_tuning_table(runs: Runs, chosen: Iterable[tuple[Task, Method]]) -> str:
    """Accuracy of the text-direction classifier as it comes and fine-tuned, a row a run."""
    rows = []
    for task, method in chosen:
        for one in runs.of(task, method):
            assert one.test_accuracy is not None
            assert one.test_accuracy_before is not None
            rows.append(
                [
                    options_of(method),
                    f"{task.epochs}, {task.learning_rate}",
                    str(one.experiment.seed),
                    f"{100 * one.test_accuracy_before:.1f}",
                    f"{100 * one.test_accuracy:.1f}",
                    f"{one.seconds:.0f}",
                ]
            )
    titles = ("options", "epochs, learning rate", "seed", "as it comes, %", "fine-tuned, %", "s")
    return table(titles, rows)


def tables(summaries: Iterable[RunSummary]) -> dict[str, str]:
    """Every table by its name in the document."""
    runs = Runs(summaries)
    return {
        "expectations": expectations_table(runs, plan.RESULT_TASKS),
        "expectations, usual recipe": expectations_table(runs, plan.USUAL_TASKS),
        "usual recipe, variants": variants_table(runs),
        "independent": independent_table(runs),
        **{name_of(task): results_table(runs, task) for task in (*plan.RESULT_TASKS, *plan.USUAL_TASKS)},
        "broken": broken_table(runs),
        **{
            f"parts, {task.network}": parts_table(runs, task) for task in (plan.DIGITS, plan.MOBILENET_DIGITS)
        },
        "losses": losses_table(runs),
        "lag": lag_table(runs),
        "fine-tuning, choice": fine_tuning_table(
            runs, [(task, method) for task in plan.CHOICES for method in plan.FINE_TUNED.values()]
        ),
        "fine-tuning": fine_tuning_table(
            runs, [(task, plan.FINE_TUNED[name]) for name, task in plan.CHOSEN.items()]
        ),
    }
