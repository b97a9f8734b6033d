"""The tools as Python functions, for prompts whose answer is a program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pivot_dspy.environment.render import Named, schema_text, type_text
from pivot_dspy.environment.toolbox import Toolbox, ToolSpec
from pivot_dspy.trajectory import SUBMIT

STUBS_ARE = "str where no type is told; [T] is a list of T, {a, b: int} a dict with these keys"
"""How the types of stubs are written: as the catalogue of tools writes them."""


def render_stubs(toolbox: Toolbox, outputs: Mapping[str, Any]) -> str:
    """The tools and `submit`, one a line, then the record types that they use, each once.

    Args:
        outputs: the types of the task's output fields, by name.
    """
    named: Named = {}
    lines = [_stub(spec, named) for spec in toolbox.tools.values()]
    fields = [_parameter(name, type_text(kind, named)) for name, kind in outputs.items()]
    lines.append(f"def {SUBMIT}({', '.join(fields)})  # ends the task with its answer")
    return "\n".join([*lines, *(f"{name} = {text}" for name, text in named.items())])


def _stub(spec: ToolSpec, named: Named) -> str:
    parts = []
    for name, schema in spec.parameters.items():
        typed = name in spec.annotations
        kind = type_text(spec.annotations[name], named, argument=True) if typed else schema_text(schema)
        if name in spec.required:
            parts.append(_parameter(name, kind))
        else:
            default = spec.defaults.get(name, schema.get("default"))
            parts.append(f"{_parameter(name, kind.removesuffix(' | null'))}={default!r}")
    parts += spec.rendered_keywords(named) or (["**others"] if spec.open_ended else [])
    gives = spec.result(named)
    held = spec.effect == "irreversible" and spec.preview is None
    effect = "" if spec.effect == "read" else f"[{'held' if held else spec.effect}]"
    about = " ".join(part for part in (effect, spec.details) if part)
    arrow = f" -> {gives}" if gives else ""
    return f"def {spec.name}({', '.join(parts)}){arrow}{f'  # {about}' if about else ''}"


def _parameter(name: str, kind: str) -> str:
    return name if kind == "str" else f"{name}: {kind}"
