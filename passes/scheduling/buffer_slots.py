"""Slots of the on-chip buffers for one tile program, and the error where they do not fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from flexc.diagnostics import CompileError, Place, error
from flexc.target.machine import Target

BufferName: TypeAlias = Literal["operand", "held", "psum"]
BUFFERS: tuple[BufferName, ...] = ("operand", "held", "psum")


@dataclass(frozen=True)
class BufferSlot:
    """A ring of ``depth`` buffers of ``size_bytes``, in each core or (striped) shared over the cores."""

    label: str
    buffer: BufferName
    address_bytes: int
    size_bytes: int
    depth: int
    per_core: bool


@dataclass(frozen=True)
class Overflow:
    """The slots of a tile program take more than a core's buffer has; demands in bytes of one core."""

    buffer: BufferName
    capacity_bytes: int
    demands: tuple[tuple[str, int], ...]

    def error(self, place: Place, hint: str) -> CompileError:
        """The user's error: every slot's demand, the capacity, and what would help."""
        total = sum(size for _, size in self.demands)
        parts = ", ".join(f"{label} {size}" for label, size in self.demands)
        return error(
            "FX421",
            f"its tiles need {total} bytes of a core's {self.buffer} buffer, which has {self.capacity_bytes} "
            f"({total - self.capacity_bytes} too many)",
            place=place,
            detail=f"bytes a core: {parts}",
            hint=hint,
        )


@dataclass
class BufferPlan:
    """The slots of one tile program; each buffer is filled from its start."""

    target: Target
    slots: list[BufferSlot] = field(default_factory=list)
    _used: dict[BufferName, int] = field(default_factory=lambda: dict.fromkeys(BUFFERS, 0))

    def capacity_bytes(self, buffer: BufferName) -> int:
        """Bytes of one core's buffer."""
        if buffer == "operand":
            return self.target.operand_buffer_bytes
        return self.target.held_buffer_bytes if buffer == "held" else self.target.psum_buffer_bytes

    def used_bytes(self, buffer: BufferName) -> int:
        """Bytes of one core's buffer that slots take so far."""
        return self._used[buffer]

    def copy(self) -> BufferPlan:
        """Another plan with the same slots."""
        return BufferPlan(self.target, list(self.slots), dict(self._used))

    def take(
        self, label: str, buffer: BufferName, size_bytes: int, *, depth: int, per_core: bool
    ) -> BufferSlot:
        """A new slot behind the others of its buffer, whether it fits or not."""
        slot = BufferSlot(label, buffer, self.used_bytes(buffer), size_bytes, depth, per_core)
        self.slots.append(slot)
        self._used[buffer] += self._share(slot)
        return slot

    def take_striped(
        self, label: str, size_bytes: int, *, depths: tuple[int, ...], buffers: tuple[BufferName, ...]
    ) -> BufferSlot:
        """A striped slot, as deep as possible in the first of ``buffers`` with room (else in the first)."""
        share = -(-size_bytes // self.target.cores)
        used = self._used
        for depth in depths:
            for buffer in buffers:
                if used[buffer] + share * depth <= self.capacity_bytes(buffer):
                    return self.take(label, buffer, size_bytes, depth=depth, per_core=False)
        return self.take(label, buffers[0], size_bytes, depth=depths[-1], per_core=False)

    @property
    def overflow(self) -> Overflow | None:
        """The first buffer whose slots do not fit it."""
        for buffer in BUFFERS:
            capacity = self.capacity_bytes(buffer)
            if self.used_bytes(buffer) > capacity:
                demands = tuple(
                    (slot.label, self._share(slot)) for slot in self.slots if slot.buffer == buffer
                )
                return Overflow(buffer, capacity, demands)
        return None

    def _share(self, slot: BufferSlot) -> int:
        """Bytes a slot takes in each core's buffer."""
        size = slot.size_bytes if slot.per_core else -(-slot.size_bytes // self.target.cores)
        return size * slot.depth
