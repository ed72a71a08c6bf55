"""One form for what models write in several ways; constants folded; nothing dead.

    %b = nn.reshape %a : ... -> tensor<1x512xf32>
    %c = nn.reshape %b                               ->  %c = nn.reshape %a
    %d = nn.pad %c {pads = all 0}                        (its uses read %c)
    %e = nn.mul %x, %sixth_of_clip_of_x_plus_3       ->  %e = nn.hard_swish %x

The rewrites are in :mod:`flexc.passes.canonicalization`. All but hard_swish keep every bit, signed zeros
included: ``x + 0`` stays, because it turns -0 into +0, ``x - 0`` goes. Arrays that no constant names any more
leave the weight store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexc.ir import nn
from flexc.ir.kernel_calls import KERNEL_CALLS
from flexc.ir.program import Graph
from flexc.passes.base import Pass
from flexc.passes.canonicalization import activations, constants, contractions, identities, movement
from flexc.passes.dead_code import drop_unused_weights
from flexc.passes.sweep import RewriteTable, sweep_until_stable

REWRITES: RewriteTable = {
    nn.AbsOp: (identities.idempotent,),
    nn.AddOp: (identities.add_negative_zero, movement.drop_expand, contractions.add_bias),
    nn.CastOp: (movement.same_type,),
    nn.ClipOp: (identities.clip_of_relu, identities.clip_to_relu, activations.hard_swish_by_clip),
    nn.ConcatOp: (movement.concat_of_one,),
    nn.ConvOp: (contractions.conv_of_pad,),
    nn.DivOp: (identities.by_one, movement.drop_expand),
    nn.ExpandOp: (movement.same_type, movement.expand_of_expand, movement.expand_to_reshape),
    nn.HardSigmoidOp: (activations.hard_swish_by_hard_sigmoid,),
    nn.MaximumOp: (movement.drop_expand,),
    nn.MinimumOp: (movement.drop_expand,),
    nn.MulOp: (identities.by_one, movement.drop_expand),
    nn.NegOp: (identities.double_negation,),
    nn.PadOp: (movement.no_padding,),
    nn.PowOp: (movement.drop_expand,),
    nn.ReluOp: (identities.idempotent, identities.relu_of_clip),
    nn.ReshapeOp: (movement.same_type, movement.reshape_of_reshape),
    nn.SliceOp: (movement.whole_slice, movement.slice_of_slice),
    nn.SubOp: (identities.subtract_zero, movement.drop_expand),
    nn.TransposeOp: (
        movement.identity_transpose,
        movement.transpose_of_transpose,
        movement.transpose_to_reshape,
    ),
}


@dataclass(frozen=True)
class Canonicalize(Pass):
    """No options."""

    name: ClassVar[str] = "canonicalize"

    def run(self, graph: Graph) -> bool:
        """Rewrites to a fixed point."""
        changed = sweep_until_stable(graph, _TABLE)
        drop_unused_weights(graph)
        return changed


_TABLE: RewriteTable = {
    op_class: (
        *((constants.fold,) if op_class in constants.FOLDED_OPS else ()),
        *REWRITES.get(op_class, ()),
    )
    for op_class in KERNEL_CALLS
}
