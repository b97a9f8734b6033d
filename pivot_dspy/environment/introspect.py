"""What the code of a method does to its own instance, as far as its bytecode shows."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any, NamedTuple


class SelfUse(NamedTuple):
    """Names that a method reads from its instance (methods it calls among them), and attributes that it sets."""

    reads: frozenset[str]
    sets: frozenset[str]


def self_use(function: Callable[..., Any]) -> SelfUse:
    """How `function`, its inner functions included, uses its first parameter; nothing where there is no bytecode."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or not code.co_argcount:
        return SelfUse(frozenset(), frozenset())
    instance = code.co_varnames[0]
    reads, sets = set(), set()
    for previous, instruction in _pairs(code):
        loads = "LOAD_" in previous.opname
        # Some versions load two names, or store one and load one, in one instruction; a constant may be a tuple too,
        # and an empty one.
        names = previous.argval if isinstance(previous.argval, tuple) else (previous.argval,)
        of_self = loads and names[-1:] == (instance,)
        if of_self and instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            reads.add(instruction.argval)
        # An augmented assignment swaps the instance under the new value, so that what is before is no load.
        augmented = previous.opname in ("SWAP", "ROT_TWO")
        if instruction.opname in ("STORE_ATTR", "DELETE_ATTR") and (of_self or augmented):
            sets.add(instruction.argval)
    return SelfUse(frozenset(reads), frozenset(sets))


def _pairs(code: CodeType) -> Iterator[tuple[dis.Instruction, dis.Instruction]]:
    instructions = list(dis.get_instructions(code))
    yield from zip(instructions, instructions[1:], strict=False)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _pairs(constant)
