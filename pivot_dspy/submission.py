"""What `submit` is given: its bindings resolved, and its values read as the task's output fields."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pivot_dspy import bindings
from pivot_dspy.bindings import BindingError
from pivot_dspy.environment.toolbox import ArgumentError
from pivot_dspy.environment.written_values import as_taken
from pivot_dspy.errors import error_text
from pivot_dspy.trajectory import Execution


def resolve(
    args: Mapping[str, Any], outputs: Mapping[str, Any], results: Mapping[str, Any], known: Collection[str]
) -> dict[str, Any]:
    """The arguments of a submit with every binding replaced by what it gives.

    A binding to a null that stands in a result is an answer where the output field allows None. What is no output field
    is left out where all of these are given; else it may be a misspelt one, and is kept for `validate` to refuse.

    Args:
        outputs: the output fields with their types.
        results: of the steps so far, by id; `known` has the ids of those that failed too.

    Raises:
        BindingError: a binding cannot be resolved, or gives nothing.

    >>> resolve({"nickname": "$a.nick", "note": "-"}, {"nickname": str | None}, {"a": {"nick": None}}, ["a"])
    {'nickname': None}
    """
    surplus = args.keys() - outputs.keys() if outputs.keys() <= args.keys() else set()
    resolved = {}
    for name in (name for name in args if name not in surplus):
        try:
            resolved[name] = bindings.resolve(args[name], results, known)
        except BindingError:
            if not (_allows_none(outputs.get(name)) and _gives_null(args[name], results, known)):
                raise
            resolved[name] = None
    return resolved


def validate(args: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the output fields that are given, as their types say.

    Raises:
        ArgumentError: one is not valid, or is no output field.
    """
    problems = [f"{name}: not an output field" for name in args if name not in outputs]
    values: dict[str, Any] = {}
    for name in [name for name in outputs if name in args]:
        annotation, value = outputs[name], args[name]
        if annotation is str and isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)  # a binding to a number answers a question for text
        try:
            values[name] = _read(value, annotation)
        except ValidationError as error:
            problems.append(f"{name}: {error.errors(include_url=False)[0]['msg']}, got {value!r:.80}")
        except Exception as error:  # a validator of the user's
            problems.append(f"{name}: cannot be validated: {error_text(error)}")
    if problems:
        raise ArgumentError(f"submit: {'; '.join(problems)}", f"submit({', '.join(outputs)})")
    return values


def _read(value: Any, annotation: Any) -> Any:
    try:
        return _validator(annotation).validate_python(value)
    except ValidationError:
        if (taken := as_taken(value, annotation)) == value:
            raise
        return _validator(annotation).validate_python(taken)


def left_out(execution: Execution) -> tuple[str, ...]:
    """What was written into the submit of a run, is no output field, and was dropped."""
    submit = execution.trajectory.submit
    if submit is None or not (seen := execution.by_step[submit.id]).ok:
        return ()
    return tuple(name for name in submit.args if name not in (seen.args or {}))


def _allows_none(annotation: Any) -> bool:
    if annotation is None or annotation is Any:
        return False  # anything goes: there a null is more likely a binding that went wrong
    try:
        _validator(annotation).validate_python(None)
    except Exception:  # of pydantic's, or a validator of the user's
        return False
    return True


def _gives_null(written: Any, results: Mapping[str, Any], known: Collection[str]) -> bool:
    """Whether a binding gives null though nothing that it names is missing from the data."""
    if not isinstance(written, str) or not bindings.is_binding(written, known):
        return False
    try:
        return bindings.evaluate(written, results) is None and not _names_what_is_missing(written, results)
    except BindingError:
        return False


def _names_what_is_missing(path: str, results: Mapping[str, Any]) -> bool:
    """Whether a field at the end of a path, or before it, is none of the record that it is looked for in."""
    before, _, name = path.rpartition(".")
    if not before or not name.strip('"').isidentifier():
        return False
    record = bindings.evaluate(before, results)
    if record is None:
        return _names_what_is_missing(before, results)
    return not isinstance(record, Mapping) or name.strip('"') not in record


def _validator(annotation: Any) -> TypeAdapter[Any]:
    """What validates an output field; made once for each type, for it takes longer to make than to use."""
    try:
        return _kept_validator(annotation, str(annotation))
    except TypeError:  # an annotation with metadata that has no hash
        return TypeAdapter(annotation)


@lru_cache(maxsize=128)
def _kept_validator(annotation: Any, written: str) -> TypeAdapter[Any]:
    """As `written` tells: `int | str` and `str | int` are equal, and read what fits both in their own order."""
    return TypeAdapter(annotation)
