"""The part of a prompt that stays the same for every task of an environment: tools with types, checks, policy."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import dspy

from pivot_dspy.environment.render import Named, type_text
from pivot_dspy.environment.toolbox import Toolbox, ToolSpec
from pivot_dspy.trajectory import SUBMIT, Frozen

TOOLS_ARE = "parameters (? optional; str unless told) -> result  [effect]"
"""How the tools are described, in every prompt that shows them."""

RENDERED_KEPT = 16
"""Catalogues of one toolbox that are kept; a refiner has one, or two where orientation fails."""


class Catalogue(Frozen):
    """Texts about one environment and signature, made once for each call of a refiner."""

    tools: str
    """Every tool with its types, description and effect, and `submit`."""
    tools_brief: str
    """The same without descriptions."""
    checks: str = ""
    """The check vocabulary; empty where the environment has none."""
    policy: str = ""
    """The environment's standing instructions."""
    known: str = ""
    """Results of the orientation reads."""


_Key = tuple[type[dspy.Signature], str, frozenset[str]]
_rendered: WeakKeyDictionary[Toolbox, dict[_Key, tuple[list[ToolSpec], Catalogue]]] = WeakKeyDictionary()
"""Written once for each toolbox, signature and what orientation shows, as long as the toolbox holds the same: with 200
tools it takes milliseconds."""


def submit_line(outputs: Mapping[str, Any], named: Named) -> str:
    """`submit` as a tool line, from the output fields of a signature; record types are added to `named`."""
    kinds = {name: type_text(field.annotation, named, argument=True) for name, field in outputs.items()}
    fields = ", ".join(name if kind == "str" else f"{name}: {kind}" for name, kind in kinds.items())
    descriptions = "".join(
        f"; {name}: {field.json_schema_extra['desc']}"
        for name, field in outputs.items()
        if field.json_schema_extra and not str(field.json_schema_extra.get("desc", "${")).startswith("${")
    )
    return f"- {SUBMIT}({fields})  # ends the trajectory with the answer{descriptions}"


def render(
    toolbox: Toolbox, signature: type[dspy.Signature], *, policy: str, vocabulary: str, known: str,
    read: Collection[str] = (),
) -> Catalogue:
    """The catalogue of `toolbox` for the output fields of `signature`.

    Args:
        known: shows the results of the tools in `read`, whose types then need not be told.
    """
    kept, key = _rendered.setdefault(toolbox, {}), (signature, vocabulary, frozenset(read))
    specs = [*toolbox.tools.values(), *toolbox.checks.values(), *toolbox.lookups.values()]
    told_of, texts = kept.get(key, ([], None))
    if texts is None or told_of != specs:
        texts = _render(toolbox, signature, vocabulary, read)
        if len(kept) >= RENDERED_KEPT:
            kept.clear()
        kept[key] = specs, texts
    return texts.model_copy(update={"policy": policy.strip(), "known": known.strip()})


def _render(toolbox: Toolbox, signature: type[dspy.Signature], vocabulary: str, read: Collection[str]) -> Catalogue:
    """What hangs on the toolbox and the signature alone."""
    named: Named = {}
    tools = toolbox.render_tools(known=read, last=partial(submit_line, signature.output_fields), named=named)
    checks = toolbox.render_checks(vocabulary, named) if toolbox.checks else ""
    return Catalogue(tools=tools, tools_brief=brief(toolbox, signature, read=read), checks=checks)


def brief(
    toolbox: Toolbox,
    signature: type[dspy.Signature],
    *,
    read: Collection[str] = (),
    typed: Collection[str] | None = None,
) -> str:
    """The tools without descriptions; those that are not in `typed` without types as well.

    Args:
        read: names of the tools whose result types are left out.
    """
    line = submit_line if typed is None or SUBMIT in typed else _submit_outline
    return toolbox.render_tools(brief=True, typed=typed, known=read, last=partial(line, signature.output_fields))


def _submit_outline(outputs: Mapping[str, Any], named: Named) -> str:
    return f"- {SUBMIT}({', '.join(outputs)})"
