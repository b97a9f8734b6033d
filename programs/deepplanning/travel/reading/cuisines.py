"""How requests name the cuisines that the tables list."""

from __future__ import annotations

import re

_NAMED_AS_CUISINE = re.compile(r"(?:Restaurant|Cuisine|Hot Pot|菜|餐厅|菜馆|酒楼|料理|火锅店|风味)(?:\(.*\))?$")
"""The tables also list the shops and offices in which restaurants are."""
_SUFFIX = re.compile(r"(?: Restaurant| Cuisine|(?<=..)(?:菜品)?餐厅|(?<=餐)厅|酒楼|菜馆|店)$")
_COMMON = frozenset(
    ("Chinese", "Foreign", "General", "Local Specialty", "Fast Food", "中餐", "外国", "综合", "特色/地方风味", "快餐")
)
"""What nearly every restaurant has, or what only praises one."""
_BY_ITSELF = frozenset(("Seafood", "Halal", "Hot Pot"))
"""What is wished for by this word alone; others may be the name of a land or a drink."""


def is_cuisine(name: str) -> bool:
    """Whether a request that speaks of it wishes for it."""
    return bool(_NAMED_AS_CUISINE.search(name)) and core(name) not in _COMMON


def core(name: str) -> str:
    """What is its own in a cuisine's name.

    >>> core("Sichuan Cuisine"), core("海鲜酒楼"), core("西餐厅(综合风味)")
    ('Sichuan', '海鲜', '西餐')
    """
    return _SUFFIX.sub("", re.sub(r"\(.*\)", "", name))


def pattern(name: str) -> str:
    """How a request names a cuisine.

    >>> bool(re.search(pattern("Sichuan Cuisine"), "a Sichuan restaurant"))
    True
    >>> re.search(pattern("四川菜(川菜)"), "正宗的川菜")[0]
    '川菜'
    """
    if name.isascii():
        optional = "?" if core(name) in _BY_ITSELF else ""
        return rf"\b{re.escape(core(name))}(?: (?:restaurants?|cuisine|food|dishes)){optional}\b"
    also = re.search(r"\((.*菜)\)", name)
    names = [core(name), *([also[1]] if also else [])]
    return f"(?:{'|'.join(map(re.escape, names))})(?:菜馆|餐厅|酒楼|厅|店)?"
