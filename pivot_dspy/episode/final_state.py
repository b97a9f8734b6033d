"""The environment as a trial left it, for metrics and people to look at."""

from __future__ import annotations

import copy
import functools
import weakref
from typing import Any, NoReturn

from pivot_dspy.environment.base import READ_ONLY, allowing
from pivot_dspy.environment.session import Session


class EnvironmentView:
    """An environment to be read: its attributes, as copies, and its methods, in which no tool that writes may run.

    It stays open until nobody holds the view any more. A copy of a result has the same view; a pickled one has none.
    What is bound to the thread of the run, as an SQLite connection may be, cannot be used.

    Args:
        session: where the trial ended; the view closes it.
    """

    def __init__(self, session: Session) -> None:
        object.__setattr__(self, "_environment", session.environment)
        if close := session.keep_open():
            weakref.finalize(self, close)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        environment = self.__dict__["_environment"]
        with allowing(READ_ONLY, environment, inside=environment):
            value = getattr(environment, name)
        if not callable(value):
            return copy.deepcopy(value)

        @functools.wraps(value)
        def read(*args: Any, **options: Any) -> Any:
            with allowing(READ_ONLY, environment, inside=environment):
                return value(*args, **options)

        return read

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"{name}: the environment of a result is there to be read; result.commit() changes it")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"EnvironmentView({type(self.__dict__['_environment']).__name__})"

    def __deepcopy__(self, memo: dict[int, Any]) -> EnvironmentView:
        return self

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()
