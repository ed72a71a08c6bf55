"""The timing simulation as plainly as it can be said: one record after the other (see ``timing``)."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from flexc.backends.stream.decode import DecodedRecord, decode_records
from flexc.backends.stream.isa import (
    ENGINES,
    LOOP_LEVELS,
    NO_SLOT,
    OPCODES,
    Opcode,
    Space,
)
from flexc.backends.stream.loops import Loop, Node, loop_tree, trips_of_records
from flexc.backends.stream.operand_roles import WRITTEN
from flexc.backends.stream.program import Stream
from flexc.backends.stream.record_costs import Cost, RecordCost
from flexc.backends.stream.timeline import EngineUse, GroupTiming, Observer, Timeline
from flexc.backends.stream.verify import verify
from flexc.target.machine import Target


class _Buffer:
    """When a buffer's content is there (``written``) and no longer read (``read``)."""

    __slots__ = ("read", "written")

    def __init__(self, written: int, read: int) -> None:
        self.written = written
        self.read = read


class _Slot:
    """The ring of buffers in a register."""

    __slots__ = ("buffers", "current", "position")

    def __init__(self) -> None:
        self.buffers: list[_Buffer] = []
        self.position = 0
        self.current = _Buffer(0, 0)

    def next(self) -> None:
        self.position = (self.position + 1) % len(self.buffers)
        self.current = self.buffers[self.position]


class _Statistics:
    """Sums over the records of one group."""

    def __init__(self) -> None:
        self.first = [-1] * len(ENGINES)
        self.last = [0] * len(ENGINES)
        self.busy = [0] * len(ENGINES)
        self.lane_cycles = [0] * len(ENGINES)
        self.macs = self.read_bytes = self.written_bytes = self.instructions = 0


class _Step:
    """A record with an engine, made ready for many executions."""

    __slots__ = ("_costs", "_record_cost", "_strides", "constant", "engine", "moved_bytes", "reads", "writes")

    def __init__(
        self, record: DecodedRecord, trips: tuple[int, ...], record_cost: RecordCost, slots: list[_Slot]
    ) -> None:
        opcode = Opcode(int(record["opcode"]))
        self._record_cost = record_cost
        self.engine = ENGINES.index(self._record_cost.engine)
        names = OPCODES[opcode].operands
        registers = record["operand"]["slot"][: len(names)]
        operands = [(name, slots[r]) for name, r in zip(names, registers, strict=True) if r != NO_SLOT]
        self.writes = tuple(slot for name, slot in operands if name in WRITTEN[opcode])
        self.reads = tuple({id(s): s for name, s in operands if name not in WRITTEN[opcode]}.values())
        strides = []
        size = 1
        for level in self._record_cost.levels:
            strides.append((level, size))
            size *= trips[level]
        self._strides = tuple(strides)
        self.moved_bytes = 0
        self._costs: dict[int, Cost] = {}
        self.constant = None if strides else self._record_cost.cost([0] * LOOP_LEVELS)

    def cost(self, counters: list[int]) -> Cost:
        """The cost in this iteration."""
        key = 0
        for level, stride in self._strides:
            key += counters[level] * stride
        found = self._costs.get(key)
        if found is None:
            found = self._costs[key] = self._record_cost.cost(counters)
        return found


def _without_addresses(records: NDArray[Any]) -> NDArray[Any]:
    """The records without what their cost does not depend on: where their operands lie."""
    alike = records.copy()
    for name in ("slot", "offset"):
        alike["operand"][name] = 0
    return alike


class _Simulation:
    def __init__(self, stream: Stream, target: Target, observe: Observer | None) -> None:
        self.stream = stream
        self.observe = observe
        self.tree = loop_tree(stream.records)
        self.records = decode_records(stream.records)
        verify(stream.records, stream.machine.cores)
        self.slots = [_Slot() for _ in range(1 + int(stream.records["slot"].max(initial=0)))]
        self.in_use: dict[Space, list[tuple[int, int, _Buffer]]] = {space: [] for space in Space}
        self.free = [0] * len(ENGINES)
        self.counters = [0] * LOOP_LEVELS
        self.actions: dict[int, _Step | _Slot] = {}
        costs: dict[tuple[bytes, tuple[int, ...]], RecordCost] = {}
        alike = _without_addresses(stream.records)
        for index, trips in trips_of_records(self.tree):
            record = self.records[index]
            if record["opcode"] == Opcode.NEXT:
                self.actions[index] = self.slots[record["slot"]]
            elif record["opcode"] != Opcode.SLOT:
                key = (alike[index].tobytes(), trips)
                if key not in costs:
                    costs[key] = RecordCost(record, trips, target)
                self.actions[index] = _Step(record, trips, costs[key], self.slots)

    def declare(self, record: DecodedRecord) -> None:
        """A new slot, whose buffers wait for those whose memory they take."""
        space = Space(int(record["space"]))
        size, depth = int(record["size_bytes"]), int(record["depth"])
        if space is not Space.DRAM and not record["per_core"]:
            size = -(-size // self.stream.machine.cores)
        start = int(record["address_bytes"])
        slot = self.slots[int(record["slot"])]
        slot.buffers = []
        kept = self.in_use[space]
        for low in range(start, start + depth * size, size):
            high = low + size
            under = [buffer for first, end, buffer in kept if first < high and low < end]
            slot.buffers.append(
                _Buffer(max((b.written for b in under), default=0), max((b.read for b in under), default=0))
            )
        end = start + depth * size
        kept = [entry for entry in kept if not (start <= entry[0] and entry[1] <= end)]
        kept += [(start + i * size, start + (i + 1) * size, buffer) for i, buffer in enumerate(slot.buffers)]
        self.in_use[space] = kept
        slot.position = 0
        slot.current = slot.buffers[0]

    def run(self, nodes: list[Node], level: int, statistics: _Statistics) -> None:
        """Execute nodes once, in the present iteration of the loops around them."""
        counters, free, observe = self.counters, self.free, self.observe
        for node in nodes:
            if isinstance(node, Loop):
                for iteration in range(node.count):
                    counters[level] = iteration
                    self.run(node.body, level + 1, statistics)
                continue
            action = self.actions.get(node)
            if observe is not None and not isinstance(action, _Step):
                observe(node, "control", 0, 0, 0)
            if action is None:
                self.declare(self.records[node])
                continue
            if isinstance(action, _Slot):
                action.next()
                continue
            engine = action.engine
            start = free[engine]
            for slot in action.reads:
                if slot.current.written > start:
                    start = slot.current.written
            for slot in action.writes:
                buffer = slot.current
                if buffer.written > start:
                    start = buffer.written
                if buffer.read > start:
                    start = buffer.read
            cost = action.constant or action.cost(counters)
            end = start + cost.cycles
            free[engine] = end
            for slot in action.reads:
                if slot.current.read < end:
                    slot.current.read = end
            for slot in action.writes:
                slot.current.written = end
            if statistics.first[engine] < 0:
                statistics.first[engine] = start
            statistics.last[engine] = end
            statistics.busy[engine] += cost.cycles
            statistics.lane_cycles[engine] += cost.lane_cycles
            statistics.macs += cost.macs
            statistics.read_bytes += cost.read_bytes
            statistics.written_bytes += cost.written_bytes
            action.moved_bytes += cost.read_bytes + cost.written_bytes
            statistics.instructions += 1
            if observe is not None:
                observe(node, ENGINES[engine], start, end, cost.read_bytes + cost.written_bytes)


def simulate(stream: Stream, target: Target, observe: Observer | None = None) -> Timeline:
    """Run a stream on a machine's clock; ``observe`` is told of every record that is executed.

    Raises StreamFault for records that mean nothing (see ``verify``). Memory is not modelled: what the
    functional simulator would refuse for its content is not seen here.
    """
    simulation = _Simulation(stream, target, observe)
    statistics = [_Statistics() for _ in stream.groups]
    outside = _Statistics()
    group = 0
    for node in simulation.tree:
        index = node.record if isinstance(node, Loop) else node
        while group < len(stream.groups) and stream.groups[group].end_record <= index:
            group += 1
        inside = group < len(stream.groups) and stream.groups[group].first_record <= index
        simulation.run([node], 0, statistics[group] if inside else outside)
    everything = [*statistics, outside]
    return Timeline(
        max(simulation.free),
        {name: sum(found.busy[place] for found in everything) for place, name in enumerate(ENGINES)},
        tuple(
            _group_timing(found, group.index, group.label)
            for found, group in zip(statistics, stream.groups, strict=True)
        ),
        sum(found.macs for found in everything),
        sum(found.read_bytes for found in everything),
        sum(found.written_bytes for found in everything),
        sum(found.instructions for found in everything),
        {
            index: action.moved_bytes
            for index, action in simulation.actions.items()
            if isinstance(action, _Step) and action.moved_bytes
        },
    )


def _group_timing(found: _Statistics, index: int, label: str) -> GroupTiming:
    engines = {
        name: EngineUse(found.first[place], found.last[place], found.busy[place], found.lane_cycles[place])
        for place, name in enumerate(ENGINES)
        if found.first[place] >= 0
    }
    return GroupTiming(
        index,
        label,
        min((use.start for use in engines.values()), default=0),
        max((use.end for use in engines.values()), default=0),
        engines,
        found.macs,
        found.read_bytes,
        found.written_bytes,
        found.instructions,
    )
