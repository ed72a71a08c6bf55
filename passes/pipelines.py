"""The order of the passes, and why."""

from __future__ import annotations

from flexc.options import BatchNorm, CompileOptions, Profile, TrainingOptions
from flexc.passes.allocate import Allocate
from flexc.passes.base import Pass
from flexc.passes.canonicalize import Canonicalize
from flexc.passes.cse import EliminateCommonSubexpressions
from flexc.passes.differentiate import Differentiate
from flexc.passes.differentiation.loss import Loss
from flexc.passes.differentiation.optimizer import OptimizerName
from flexc.passes.differentiation.parts import Part
from flexc.passes.expand_batch_norm import ExpandBatchNorm
from flexc.passes.expand_dropout import ExpandDropout
from flexc.passes.fold_quantized_weights import FoldQuantizedWeights
from flexc.passes.fuse_lightnorm import FuseLightNorm
from flexc.passes.insert_quantize import InsertQuantize
from flexc.passes.map_contractions import MapContractions
from flexc.passes.rebuild_normalization import RebuildNormalization
from flexc.passes.schedule import Schedule


def inference_pipeline(options: CompileOptions) -> tuple[Pass, ...]:
    """The passes from an imported model to one that the executor and the stream emitter take."""
    machine = () if options.profile is Profile.BFPSIM else machine_pipeline(options.target)
    return (*rebuilding_pipeline(), *precision_pipeline(options), *machine)


def training_pipeline(options: CompileOptions, differentiate: Differentiate) -> tuple[Pass, ...]:
    """The passes from an imported model to a training step that the executor takes."""
    return (
        *rebuilding_pipeline(),
        # On fp32 ops: gradients are those of the function, not of the formats that it is computed in.
        differentiate,
        # What gradient rules leave to be simplified: a sum of zero terms, a reshape back and forth.
        Canonicalize(),
        # What forward and backward pass compute alike.
        EliminateCommonSubexpressions(),
        *precision_pipeline(options),
    )


def differentiation_of(options: TrainingOptions) -> Differentiate:
    """The pass that makes the training step with ``options``."""
    return Differentiate(
        loss=Loss(options.loss),
        output=options.output,
        optimizer=OptimizerName(options.optimizer),
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        beta1=options.beta1,
        beta2=options.beta2,
        epsilon=options.epsilon,
        statistics_momentum=options.statistics_momentum,
        train=options.train,
        freeze=options.freeze,
        seed=options.seed,
        part=Part(options.part),
        micro_batches=options.micro_batches,
    )


def rebuilding_pipeline() -> tuple[Pass, ...]:
    """One spelling for everything that exporters write in several; fp32 in, fp32 out."""
    return (
        # Patterns below match one form of each op, with constants folded and nothing dead holding uses.
        Canonicalize(),
        # A chain's mean subtracted twice is one value to the patterns of rebuild-normalization.
        EliminateCommonSubexpressions(),
        RebuildNormalization(),
        # Folds the statistics that rebuilding computes from the chain's constants, and drops those.
        Canonicalize(),
    )


def precision_pipeline(options: CompileOptions) -> tuple[Pass, ...]:
    """From fp32 to the number formats of the profile: none in fp32."""
    if options.profile is Profile.FP32:
        return ()
    emulated = options.profile is Profile.BFPSIM
    seed = 0 if options.training is None else options.training.seed
    # The emulator leaves batch norms in fp32.
    lightnorm = (FuseLightNorm(),) if options.batchnorm is BatchNorm.LIGHTNORM and not emulated else ()
    return (
        # Before insert-quantize: LightNorm's result, not the value before the activation, is what gets
        # quantized, and both want the network's shape as the model has it.
        *lightnorm,
        InsertQuantize(options.policy, options.everywhere, options.rounding, seed, emulated),
        # One quantize node for equal values that reached insert-quantize under two names.
        EliminateCommonSubexpressions(),
        # Last: until here a weight is one fp32 constant, however many formats it is wanted in.
        FoldQuantizedWeights(),
    )


def machine_pipeline(target: str) -> tuple[Pass, ...]:
    """Where and when everything runs on the machine ``target`` (a name or a .toml file)."""
    return (
        # Before all else: the machine has no op for batch norms that are not LightNorm's.
        ExpandBatchNorm(),
        # Likewise: the machine draws random bits where it quantizes, and nowhere else.
        ExpandDropout(),
        # A mapping decides what can be fused with a contraction, and so what the schedule's groups are.
        MapContractions(target),
        # A tensor lives from the group that makes it to the last that reads it: allocate needs the order.
        Schedule(target),
        Allocate(target),
    )
