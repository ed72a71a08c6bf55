"""LightNorm's training passes: statistics or sums over all positions, then every position with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from flexc.backends.stream.emit_lightnorm_gradient import BackwardEmission
from flexc.backends.stream.emit_program import Program
from flexc.backends.stream.emit_statistics import RESULTS, StatisticsPlace, emit_summary, emit_tile
from flexc.backends.stream.isa import Opcode
from flexc.backends.stream.lightnorm_emission import LightNormEmission
from flexc.backends.stream.record_builder import Dim
from flexc.ir import lightnorm
from flexc.passes.scheduling.lightnorm_plan import POSITION, LightNormPlan
from flexc.passes.scheduling.riding_statistics import CHANNEL, CHUNK, VECTORS


def emit_lightnorm(program: Program, plan: LightNormPlan) -> None:
    """The records of a forward or backward pass; its DRAM slots are declared already."""
    emission: type[LightNormEmission] = BackwardEmission
    if isinstance(plan.op, lightnorm.ForwardOp):
        emission = _Forward
    elif isinstance(plan.op, lightnorm.NormalizeOp):
        emission = _Normalize
    emission(program, plan).emit()


class _Normalizing(LightNormEmission, ABC):
    """A program that ends with xhat and y."""

    @property
    @abstractmethod
    def holds_x(self) -> bool:
        """Whether all of x is on chip before the second pass."""

    def second_pass(self) -> None:
        """xhat where it is kept, and y."""
        op = self.plan.op
        assert isinstance(op, lightnorm.ForwardOp | lightnorm.NormalizeOp)
        keys = (CHUNK, POSITION, CHANNEL)
        mean, scale, gamma_q, beta = (self.at(name, keys) for name in ("mean", "scale", "gamma_q", "beta"))
        x = self.position_box("x")
        for chunk in self.chunk_tiles():
            with self.position_tiles(chunk) as box:
                if not self.holds_x:
                    self.load_x(box)
                for name, value, parameters in (
                    ("xhat", op.xhat, (mean, scale)),
                    ("y", op.y, (mean, scale, gamma_q, beta)),
                ):
                    if value in self.program.placements:
                        self.renew(name)
                        made = self.position_box(name)
                        self.lightnorm(Opcode.NORM, box, (made, x, *parameters), 2)
                        self.program.store(box, self.tensor_box(value), made)

    def load_x(self, box: Sequence[Dim]) -> None:
        """Loads a tile of x."""
        self.renew("x")
        self.program.load(box, self.position_box("x"), self.tensor_box(self.plan.op.operands[0]))


class _Forward(_Normalizing):
    """Statistics; then xhat and y."""

    @property
    def holds_x(self) -> bool:
        """Whether the statistics left all of x on chip."""
        return self.plan.keeps_tensor

    def first_pass(self) -> None:
        """The state of all chunks, and what follows from it."""
        plan, op = self.plan, self.plan.op
        assert isinstance(op, lightnorm.ForwardOp)
        self.renew("gamma", "beta", "state")
        self.load_tile("gamma", op.gamma)
        self.load_tile("beta", op.beta)
        names = ("state", *VECTORS)
        place = StatisticsPlace(
            op,
            {name: self.register(name) for name in names},
            plan.held["state"].tile,
            self.channel,
            plan.chunks,
            plan.chunk_positions,
        )
        for chunk in self.chunk_tiles():
            chunks = Dim(min(plan.tile[0], plan.chunks - chunk), start=chunk, limit=plan.chunks)
            with self.position_tiles(chunk) as box:
                self.load_x(box)
                emit_tile(
                    self.program,
                    place,
                    box,
                    self.position_box("x"),
                    (plan.chunk_positions, 1),
                    chunks,
                    init_loops=1 << self.inner_level if plan.position_trips > 1 else 0,
                )
        self.renew(*RESULTS)
        emit_summary(self.program, place)


class _Normalize(_Normalizing):
    """xhat and y by statistics that are there."""

    @property
    def holds_x(self) -> bool:
        """Nothing has been read of x."""
        return False

    def first_pass(self) -> None:
        """What every position is normalized with."""
        op = self.plan.op
        assert isinstance(op, lightnorm.NormalizeOp)
        vectors = {"mean": op.mean, "scale": op.scale, "gamma_q": op.gamma_q, "beta": op.beta}
        self.renew(*vectors)
        for name, value in vectors.items():
            self.load_tile(name, value)
