"""Requirements: what the whole trajectory must satisfy, as executable checks where possible and as text otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from pydantic import Field, SerializeAsAny

from pivot_dspy.environment.base import UNCHECKABLE
from pivot_dspy.environment.session import Session
from pivot_dspy.environment.toolbox import ArgumentError, Toolbox
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.expressions import is_valid
from pivot_dspy.required_calls import RequiredCall
from pivot_dspy.trajectory import Execution, Frozen

Origin = Literal["user", "person", "task", "lesson"]
"""Who asked for it: `user` (passed by the caller) and `person` (a reviewer) are never altered by a model."""

_DRAFT_FIELDS = ("id", "text", "check", "hard", "args", "call", "delegates")

AUDIT = "audit"
"""Who makes the changes of an audit."""
MISREAD = "misread: "
"""How the evidence of a change begins that what fits a requirement speaks for."""
BINDING_ORIGINS: frozenset[str] = frozenset({"user", "person"})


class Requirement(Frozen):
    """Something that the whole trajectory must satisfy; it checks itself.

    With a `check` of the environment, or a `test` of the user's, it is decided by execution; with a text alone, by a
    judge. A kind of one's own is a subclass that says how it is checked, and needs nothing else:

    >>> class AtMost(Requirement):
    ...     steps: int
    ...     def check_on(self, execution, session):
    ...         return len(execution.trajectory) <= self.steps, f"{len(execution.trajectory)} steps"
    ...     def describe(self):
    ...         return f"at most {self.steps} steps"
    >>> AtMost(id="R1", steps=3).executable, AtMost(id="R1", steps=3).to_prompt()
    (True, 'R1: at most 3 steps')
    """

    id: str
    """Short name, unique in its set."""
    text: str = ""
    """What is asked, in words. May be empty where a check says it."""
    check: str | None = None
    """Name of a check of the environment, called with `args`."""
    args: dict[str, Any] = Field(default_factory=dict)
    hard: bool = True
    """Whether its violation outweighs everything else."""
    weight: float = Field(default=1.0, gt=0)
    """Relative weight among the requirements."""
    origin: Origin = "task"
    call: RequiredCall | None = None
    """The call that it asks for; without it, it is not met, and with it, the text is left to a judge."""
    open_call: RequiredCall | None = None
    """The call as it was asked for, before what was open in it was filled in."""
    delegates: str | None = None
    """A binding to the words of a result that are to be followed: requirements may be added that these ask for."""
    under: str | None = None
    """The id of the requirement that delegates to the words which ask for this one."""
    traced: bool = True
    """Whether its figures, ids and addresses stand in the request, the policy or what a person required. What does not
    asks for nothing: no call that changes something is made for its sake alone."""
    test: Callable[[Execution], Any] | None = Field(default=None, exclude=True, repr=False)
    """A function from the `Execution` to what `check_on` returns; not part of the JSON form."""

    @property
    def executable(self) -> bool:
        """Whether `check_on` decides it; a judge does otherwise."""
        return self.check is not None or self.test is not None or type(self).check_on is not Requirement.check_on

    def check_on(self, execution: Execution, session: Session) -> Any:
        """How it stands: a bool, `(bool, evidence)` or a `CheckResult`; None where only a judge can tell.

        Args:
            execution: what was run.
            session: the environment where the execution ended; what is done to it is thrown away.
        """
        if self.check is not None:
            return session.check(session.toolbox.checks[self.check], dict(self.args))
        return None if self.test is None else self.test(execution)

    @property
    def says_only_its_call(self) -> bool:
        """Whether it asks for a call and has no words, so that a rule decides it."""
        return self.call is not None and not self.executable and not self.text.strip()

    @property
    def has_json_form(self) -> bool:
        """Whether it can be written down and read back: not a function of the user's, nor a kind of one's own."""
        return self.test is None and type(self) is Requirement

    def describe(self) -> str:
        """What is asked, in one line, as a model and a person read it."""
        check = f"{self.check} {json.dumps(self.args, ensure_ascii=False, default=str)}" if self.check else ""
        call = f"call {self.call.tool} {json.dumps(self.call.args, ensure_ascii=False)}" if self.call else ""
        follows = f"what {self.delegates} says is to be followed" if self.delegates else ""
        return " - ".join(part for part in (check, self.text, call, follows) if part)

    def to_prompt(self) -> str:
        """`describe`, with its id before it."""
        untraced = "" if self.traced else " (asked for by nobody: change nothing for its sake)"
        return f"{self.id}: {self.describe()}{'' if self.hard else ' (soft)'}{untraced}"

    def problem(self, toolbox: Toolbox) -> str | None:
        """Why it cannot be checked with these tools and checks; None where it can."""
        if self.delegates is not None and not is_valid(self.delegates):
            return f"delegates is a binding to words of a result, such as $a[0].body, not {self.delegates!r:.80}"
        if self.check is not None:
            return misfit(self.check, self.args, toolbox)
        if self.call is not None:
            return self.call.problem(toolbox) or None
        if not self.executable and not self.text.strip():
            return "it says nothing; give a text, a check, a call or a test"
        return None


class Amendment(Frozen):
    """A recorded change of a requirement: never a quiet loosening."""

    requirement: str
    """Its id."""
    before: SerializeAsAny[Requirement] | None
    """As it was; None where it is new."""
    after: SerializeAsAny[Requirement] | None
    """As it is from here on; None where it is gone."""
    reason: str
    """Why, in words."""
    by: str
    """Who changed it."""
    evidence: str = ""
    """What bears it out, by rule: words that stand in a result, the request or the policy, or how its check failed."""

    @property
    def is_unfounded(self) -> bool:
        """Whether something that was settled was changed or dropped by a model's word alone."""
        return self.before is not None and self.by not in BINDING_ORIGINS and not self.evidence


def _is_checked_otherwise(change: Amendment) -> bool:
    return change.after is None or (change.before is not None and change.before.executable)


class Finding(Frozen):
    """How one requirement stands on one execution."""

    requirement: str
    """Its id."""
    status: Literal["holds", "violated", "unjudged", "pending"]
    """What is `unjudged` counts as violated until a judge has decided; `pending` is a check that is not met, and may be
    once the calls that wait for commit have run."""
    evidence: str = ""
    """What was found."""
    hint: str = ""
    """What would meet it."""
    about: tuple[Any, ...] = ()
    """The values that it is about, as in `CheckResult`."""
    instead: tuple[tuple[Any, Any], ...] = ()
    """What its check proposes, as in `CheckResult`."""
    doubt: str = ""
    """A sign that the requirement was misread, though it may hold: nothing fits it, or several things equally well."""

    @property
    def holds(self) -> bool:
        return self.status == "holds"

    @property
    def may_hold(self) -> bool:
        """Whether nothing speaks against it: it holds, or it can only be checked once a call has run that waits."""
        return self.status in ("holds", "pending")

    @property
    def uncheckable(self) -> bool:
        """Whether its check raised: then the requirement is at fault, and no rewrite of a trajectory mends it."""
        return self.status == "violated" and self.evidence.startswith(UNCHECKABLE)


class Requirements(Frozen):
    """The settled requirements of one task, with every change that was made to them."""

    items: tuple[SerializeAsAny[Requirement], ...] = ()
    amendments: tuple[Amendment, ...] = ()

    def __getitem__(self, requirement_id: str) -> Requirement:
        for item in self.items:
            if item.id == requirement_id:
                return item
        raise KeyError(requirement_id)

    @property
    def textual(self) -> tuple[Requirement, ...]:
        """Those that only a judge can decide."""
        return tuple(item for item in self.items if not item.executable)

    def was_named_late(self, requirement_id: str) -> bool:
        """Whether the call that it asks for was named after something may have been read, by no delegated words."""
        return any(
            change.requirement == requirement_id
            and (change.by == AUDIT if change.before is None else change.before.call is None)
            and change.after is not None
            and change.after.call is not None
            and change.after.under is None
            for change in self.amendments
        )

    @property
    def changed_by_word(self) -> tuple[Amendment, ...]:
        """The changes of settled requirements that a model made on a quote, which somebody has to weigh: what an audit
        changed, what was dropped, and what is checked by something else."""
        return tuple(
            change
            for change in self.amendments
            if change.before is not None
            and (change.by == AUDIT or (change.by not in BINDING_ORIGINS and _is_checked_otherwise(change)))
            and not change.evidence.startswith((UNCHECKABLE, MISREAD))
        )

    def amend(
        self, requirement_id: str, after: Requirement | None, *, reason: str, by: str, evidence: str = ""
    ) -> Requirements:
        """A set in which `requirement_id` is replaced by `after`, added if new, or dropped if `after` is None.

        Raises:
            ConfigurationError: it was given by a user or reviewer, or no reason is given.
        """
        before = next((item for item in self.items if item.id == requirement_id), None)
        if before is not None and before.origin in BINDING_ORIGINS:
            raise ConfigurationError(f"requirement {requirement_id} was given by a {before.origin}; it is not altered")
        if not reason.strip():
            raise ConfigurationError(f"an amendment of {requirement_id} needs its reason")
        items = {item.id: item for item in self.items} | {requirement_id: after}
        amendment = Amendment(
            requirement=requirement_id, before=before, after=after, reason=reason, by=by, evidence=evidence
        )
        kept = tuple(item for item in items.values() if item is not None)
        return Requirements(items=kept, amendments=(*self.amendments, amendment))


def normalize_requirements(
    requirements: Iterable[Requirement | str | Mapping[str, Any]], toolbox: Toolbox
) -> tuple[Requirement, ...]:
    """The requirements that a caller passes: texts, records or `Requirement`s.

    Raises:
        ConfigurationError: a record that is no requirement, names a check that does not exist or does not fit,
            delegates to what is no binding, or is under none of them.
    """
    normalized: dict[str, Requirement] = {}
    for number, entry in enumerate(requirements, start=1):
        requirement = _normalize(entry, number)
        if requirement.id in normalized:
            raise ConfigurationError(f"two requirements are called {requirement.id!r}; give each an id of its own")
        problem = requirement.problem(toolbox)
        if problem:
            raise ConfigurationError(f"requirement {requirement.id}: {problem}")
        normalized[requirement.id] = requirement.model_copy(update={"origin": "user"})
    for requirement in normalized.values():
        if requirement.under is not None and requirement.under not in normalized:
            raise ConfigurationError(
                f"requirement {requirement.id} is under {requirement.under!r}, and no requirement is called so; "
                f"the others: {', '.join(name for name in normalized if name != requirement.id) or 'none'}"
            )
    return tuple(normalized.values())


def _normalize(entry: Any, number: int) -> Requirement:
    if isinstance(entry, Requirement):
        return entry
    record = {"text": entry} if isinstance(entry, str) else entry
    if not isinstance(record, Mapping):
        raise ConfigurationError(f"requirement {number} is a text, a record or a Requirement, not {entry!r:.80}")
    try:
        return Requirement.model_validate({"id": f"U{number}", **record})
    except ValueError as error:
        raise ConfigurationError(f"requirement {number} is not well formed: {error}") from error


def compile_drafts(drafts: Any, toolbox: Toolbox, taken: Iterable[Requirement] = ()) -> tuple[Requirement, ...]:
    """The requirements that a model wrote: `[{"id", "check", "args"} or {"id", "text"}, ...]`.

    A draft whose check does not exist or does not fit stays as text, to be judged; nothing is dropped quietly. A `call`
    that could be made, and what it `delegates` to, are taken where no check says it.
    """
    names = {item.id for item in taken}
    compiled: list[Requirement] = []
    for number, draft in enumerate(drafts if isinstance(drafts, (list, tuple)) else (), start=1):
        if isinstance(draft, str):
            draft = {"text": draft}
        if not isinstance(draft, Mapping):
            continue
        name = str(draft.get("id") or f"R{number}")
        while name in names:
            name += "_"
        names.add(name)
        text, check, args = str(draft.get("text") or ""), draft.get("check"), draft.get("args")
        if not isinstance(args, Mapping):
            args = {key: value for key, value in draft.items() if key not in _DRAFT_FIELDS}
        kind: dict[str, Any] = {}
        if check and misfit(str(check), args, toolbox) is None:
            kind = {"check": str(check), "args": dict(args)}
        else:
            delegates = _text_of(draft.get("delegates"))  # then their words say which calls are asked for
            kind = {"call": None if delegates else _compile_call(draft.get("call"), toolbox), "delegates": delegates}
            if not text and (check or draft.get("delegates") or (draft.get("call") and kind["call"] is None)):
                text = json.dumps(dict(draft), ensure_ascii=False, default=str)
            elif draft.get("call") and not delegates and kind["call"] is None:  # nobody can make it: a judge reads it
                text = f"{text} - call {json.dumps(draft['call'], ensure_ascii=False, default=str)}"
        if text or check or kind.get("call"):
            compiled.append(Requirement(id=name, text=text, hard=draft.get("hard") is not False, **kind))
    return tuple(compiled)


def _text_of(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _compile_call(draft: Any, toolbox: Toolbox) -> RequiredCall | None:
    """The call that a draft names; None where it names none that could be made, which its text then has to say."""
    try:
        call = RequiredCall.model_validate({key: draft[key] for key in ("tool", "args") if key in draft})
    except (TypeError, ValueError):
        return None
    return None if call.problem(toolbox) else call


def misfit(check: str, args: Mapping[str, Any], toolbox: Toolbox) -> str | None:
    """Why a requirement cannot be checked so; None where it can."""
    spec = toolbox.checks.get(check)
    if spec is None:
        return f"no check is called {check!r}; checks: {', '.join(toolbox.checks) or 'none'}"
    try:
        spec.validate(args)
    except ArgumentError as error:
        return f"{error}; expected {error.expected}"
    return None
