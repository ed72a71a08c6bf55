"""What stops a simulated machine: a program that is not legal, or that reads what nothing has written."""

from __future__ import annotations


class StreamFault(Exception):  # noqa: N818 - the machine's own word for it
    """A record that the machine cannot execute.

    ``record`` is its index in the stream, ``operand`` the operand at fault ("" for the record as a whole),
    ``counters`` the iterations of the enclosing loops from the outermost on, and ``address_bits`` the
    offending address in the operand's slot buffer.
    """

    def __init__(
        self,
        message: str,
        *,
        record: int | None = None,
        opcode: str = "",
        operand: str = "",
        counters: tuple[int, ...] = (),
        address_bits: int | None = None,
    ) -> None:
        self.message = message
        self.record = record
        self.opcode = opcode
        self.operand = operand
        self.counters = counters
        self.address_bits = address_bits
        super().__init__(self._render())

    def _render(self) -> str:
        where = [] if self.record is None else [f"record {self.record}"]
        where += [self.opcode] if self.opcode else []
        where += [f"operand {self.operand}"] if self.operand else []
        where += [f"iteration {list(self.counters)}"] if self.counters else []
        if self.address_bits is not None:
            byte, bit = divmod(self.address_bits, 8)
            where.append(f"byte {byte}" + (f" bit {bit}" if bit else ""))
        return f"{', '.join(where)}: {self.message}" if where else self.message

    def at(
        self, *, record: int, opcode: str, operand: str = "", counters: tuple[int, ...] = ()
    ) -> StreamFault:
        """The same fault with the place filled in where it is still open."""
        return StreamFault(
            self.message,
            record=record if self.record is None else self.record,
            opcode=self.opcode or opcode,
            operand=self.operand or operand,
            counters=self.counters or counters,
            address_bits=self.address_bits,
        )

    def at_operand(self, operand: str) -> StreamFault:
        """The same fault with the operand named where none is."""
        return StreamFault(
            self.message,
            record=self.record,
            opcode=self.opcode,
            operand=self.operand or operand,
            counters=self.counters,
            address_bits=self.address_bits,
        )
