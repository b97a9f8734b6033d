"""What the code of an environment can reach besides its instance: globals, cells, defaults and attributes of classes.

Code is followed by the names that it uses, from the methods of the class through the functions and classes of the
user's own modules, once for each class. What a library keeps is the library's.
"""

from __future__ import annotations

import dis
import enum
import functools
import inspect
import os
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

LIBRARIES = ("site-packages", "dist-packages")
OUR_PACKAGE = __name__.partition(".")[0]
MISSING = "(not there)"
"""Stands for a name that has no value."""
CODE = (
    types.FunctionType, types.BuiltinFunctionType, type, types.ModuleType, staticmethod, classmethod, property,
    functools.cached_property, types.MemberDescriptorType, types.GetSetDescriptorType, types.MethodDescriptorType,
)  # fmt: skip
"""What a name may stand for that is code and no state."""
ATOMS = (str, int, float, bytes, frozenset, types.NoneType, types.EllipsisType)
INNER = ("__func__", "fget", "fset", "fdel", "func", "__wrapped__")
"""Where wrappers of code have it."""

_own_packages: set[str] = set()


def is_library(module: Any) -> bool:
    """Whether a module belongs to Python, to this package, or to what is installed beside the user's own code."""
    if not isinstance(module, str):
        return True
    package = module.partition(".")[0]
    if package in _own_packages:
        return False
    return package == OUR_PACKAGE or package in sys.stdlib_module_names or _is_installed(module)


@functools.lru_cache(maxsize=4096)
def _is_installed(module: str) -> bool:
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and any(part in LIBRARIES for part in file.split(os.sep))


@dataclass
class Reach:
    """The places where code may keep something, as it was followed once."""

    globals: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    """Names in modules, each with the dictionary that holds it."""
    functions: list[types.FunctionType] = field(default_factory=list)
    holding: set[types.FunctionType] = field(default_factory=set)
    """Those that close over state, or have it for a default; any may be given attributes later."""
    accessors: list[Any] = field(default_factory=list)
    """Cached functions without parameters: what they have returned is shared by all who call them."""
    classes: list[type] = field(default_factory=list)
    uses_process: bool = False
    """Whether some code names the variables or the folder of the process."""
    _seen: set[Any] = field(default_factory=set)

    def follow(self, value: Any) -> None:
        """Follow what a name stands for, if it is code of the user's."""
        waiting = [value]
        while waiting:
            found = waiting.pop()
            if is_code(found) and id(found) not in self._seen:
                self._seen.add(id(found))
                waiting.extend(self._next(found))

    def _next(self, value: Any) -> Iterator[Any]:
        if isinstance(value, type):
            if not is_library(value.__module__):
                self.classes.append(value)
                yield from value.__mro__[1:]
                yield from (member for member in vars(value).values() if is_code(member))
        elif isinstance(value, types.FunctionType):
            if not is_library(value.__module__):
                yield from self._of_function(value)
            yield value.__dict__.get("__wrapped__")
        else:
            yield from (_plainly(value, inner) for inner in INNER)
            if type(value) is _LRU_WRAPPER and not inspect.signature(cast(Any, value)).parameters:
                self.accessors.append(value)

    def _of_function(self, function: types.FunctionType) -> Iterator[Any]:
        held = list(held_by_function(function))
        self.functions.append(function)
        if any(not is_code(content) for _, content in held):
            self.holding.add(function)
        yield from (content for _, content in held if is_code(content))
        codes = list(_codes(function.__code__))
        used = {name for code in codes for name in code.co_names}
        self.uses_process |= bool(used & {"environ", "putenv", "chdir"})
        yield from self._of_module(function.__globals__, used, codes, "STORE_GLOBAL", set())

    def _of_module(
        self, space: dict[str, Any], used: set[str], codes: list[types.CodeType], store: str, modules: set[int]
    ) -> Iterator[Any]:
        """Follow the names that code uses in a module, and in the modules that it reaches by them."""
        for name in sorted(used & (space.keys() | _set_by(codes, store))):
            value = space.get(name, MISSING)
            if isinstance(value, types.ModuleType):
                if not is_library(value.__name__) and id(value) not in modules:
                    modules.add(id(value))
                    yield from self._of_module(vars(value), used, codes, "STORE_ATTR", modules)
            elif is_code(value):
                yield value
            elif (id(space), name) not in self._seen:
                self._seen.add((id(space), name))
                self.globals.append((space, name))

    def state(self) -> dict[str, Any]:
        """What now stands in these places, by a name that a person knows it by."""
        found = {f"{space.get('__name__')}.{name}": space.get(name, MISSING) for space, name in self.globals}
        for function in self.functions:
            if function in self.holding or function.__dict__:
                found |= {f"{function.__qualname__}.{name}": content for name, content in held_by_function(function)}
        for accessor in self.accessors:
            if accessor.cache_info().currsize:
                found[f"{accessor.__qualname__}()"] = accessor()  # from its cache
        for owner in self.classes:
            if not issubclass(owner, enum.Enum):  # combinations of flags are made when they are first met
                found |= {f"{owner.__qualname__}.{name}": held for name, held in list(vars(owner).items())
                          if name[:2] != "__"}  # fmt: skip
        if self.uses_process:
            found |= {"os.environ": dict(os.environ), "os.getcwd()": os.getcwd()}
        return {name: value for name, value in found.items() if not is_code(value)}


def held_by_function(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """What a function keeps between its calls: what it closes over, its defaults and its attributes."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # empty
            continue
    named = reversed(function.__code__.co_varnames[: function.__code__.co_argcount])
    defaults = {
        **dict(zip(named, reversed(function.__defaults__ or ()), strict=False)),
        **(function.__kwdefaults__ or {}),
    }
    yield from ((name, value) for name, value in defaults.items() if not isinstance(value, ATOMS))
    yield from ((name, value) for name, value in list(function.__dict__.items()) if name[:2] != "__")


@functools.lru_cache(maxsize=256)
def reach_of(code: Any) -> Reach:
    """What a class or function can reach; a class's package counts as the user's own code, wherever it is installed."""
    package = str(getattr(code, "__module__", "")).partition(".")[0]
    if package and package != OUR_PACKAGE and package not in sys.stdlib_module_names:
        _own_packages.add(package)
    reach = Reach()
    reach.follow(code)
    return reach


def is_code(value: Any) -> bool:
    """Whether a value is code, which keeps nothing but what is followed."""
    if isinstance(value, types.BuiltinMethodType):  # of a module, or bound to a list, say, which is state
        return value.__self__ is None or isinstance(value.__self__, (types.ModuleType, type))
    return isinstance(value, CODE) or type(value) is _LRU_WRAPPER


_LRU_WRAPPER: type = type(functools.lru_cache(lambda: None))


def _plainly(value: Any, name: str) -> Any:
    """An attribute of a wrapper of code, which no property computes."""
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return None


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code of a function and of what is defined inside of it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _set_by(codes: list[types.CodeType], store: str) -> set[str]:
    """The names that code sets by this instruction."""
    number = dis.opmap[store]
    setting = (code for code in codes if number in code.co_code[::2])  # most have none, and to disassemble takes long
    return {step.argval for code in setting for step in dis.get_instructions(code) if step.opname == store}
