"""Requirements: what the whole trajectory must satisfy, as executable checks where possible and as text otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from pivot_dspy.environment.base import UNCHECKABLE, CheckResult
from pivot_dspy.environment.session import Session
from pivot_dspy.environment.toolbox import ArgumentError, Toolbox
from pivot_dspy.errors import ConfigurationError, error_text
from pivot_dspy.trajectory import Execution, Frozen

Origin = Literal["user", "person", "task", "lesson"]
"""Who asked for it: `user` (passed by the caller) and `person` (a reviewer) are never altered by a model."""

BINDING_ORIGINS: frozenset[str] = frozenset({"user", "person"})


class Requirement(Frozen):
    """Something that the whole trajectory must satisfy.

    Attributes:
        id: short name, unique in its set.
        text: what is asked, in words. May be empty where a check says it.
        check: name of a check of the environment, called with `args`.
        test: a function from the `Execution` to a bool, `(bool, evidence)` or `CheckResult`; not part of the JSON form.
        hard: a violated hard requirement outweighs everything else.
        weight: relative weight among soft requirements, above 0.
    """

    id: str
    text: str = ""
    check: str | None = None
    args: dict[str, Any] = Field(default_factory=dict)
    hard: bool = True
    weight: float = Field(default=1.0, gt=0)
    origin: Origin = "task"
    test: Callable[[Execution], Any] | None = Field(default=None, exclude=True, repr=False)

    @property
    def executable(self) -> bool:
        return self.check is not None or self.test is not None

    def to_prompt(self) -> str:
        """One line, as a model reads it."""
        call = f"{self.check} {json.dumps(self.args, ensure_ascii=False, default=str)}" if self.check else ""
        return f"{self.id}: {' - '.join(part for part in (call, self.text) if part)}{'' if self.hard else ' (soft)'}"


class Amendment(Frozen):
    """A recorded change of a requirement: never a quiet loosening.

    Attributes:
        requirement: id of the requirement.
        before: as it was, None where it is new; `after` as it is from here on, None where it is gone.
        reason: why, in words.
        by: who changed it.
    """

    requirement: str
    before: Requirement | None
    after: Requirement | None
    reason: str
    by: str


class Finding(Frozen):
    """How one requirement stands on one execution. `unjudged` text counts as violated until it is judged.

    Attributes:
        requirement: id of the requirement.
        evidence: what was found; `hint` what would meet it; `about` the values that it is about, as in `CheckResult`.
    """

    requirement: str
    status: Literal["holds", "violated", "unjudged"]
    evidence: str = ""
    hint: str = ""
    about: tuple[Any, ...] = ()

    @property
    def holds(self) -> bool:
        return self.status == "holds"

    @property
    def uncheckable(self) -> bool:
        """Whether its check raised: then the requirement is at fault, and no rewrite of a trajectory mends it."""
        return self.status == "violated" and self.evidence.startswith(UNCHECKABLE)


class Requirements(Frozen):
    """The settled requirements of one task, with every change that was made to them."""

    items: tuple[Requirement, ...] = ()
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

    def amend(self, requirement_id: str, after: Requirement | None, *, reason: str, by: str) -> Requirements:
        """A set in which `requirement_id` is replaced by `after`, added if new, or dropped if `after` is None.

        Raises:
            ConfigurationError: it was given by a user or reviewer, or no reason is given.
        """
        before = next((item for item in self.items if item.id == requirement_id), None)
        if before is not None and before.origin in BINDING_ORIGINS:
            raise ConfigurationError(f"requirement {requirement_id} was given by a {before.origin}; it is not altered")
        if not reason.strip():
            raise ConfigurationError(f"an amendment of {requirement_id} needs its reason")
        items = [after if item.id == requirement_id else item for item in self.items]
        if before is None:
            items.append(after)
        amendment = Amendment(requirement=requirement_id, before=before, after=after, reason=reason, by=by)
        kept = tuple(item for item in items if item is not None)
        return Requirements(items=kept, amendments=(*self.amendments, amendment))


def normalize_requirements(
    requirements: Iterable[Requirement | str | Mapping[str, Any]], toolbox: Toolbox
) -> tuple[Requirement, ...]:
    """The requirements that a caller passes: texts, records or `Requirement`s.

    Raises:
        ConfigurationError: a record that is no requirement, or names a check that does not exist or does not fit.
    """
    found: list[Requirement] = []
    for number, entry in enumerate(requirements, start=1):
        if isinstance(entry, str):
            entry = Requirement(id=f"U{number}", text=entry)
        elif isinstance(entry, Mapping):
            try:
                entry = Requirement.model_validate({"id": f"U{number}", **entry})
            except ValueError as error:
                raise ConfigurationError(f"requirement {number} is not well formed: {error}") from error
        elif not isinstance(entry, Requirement):
            raise ConfigurationError(f"requirement {number} is a text, a record or a Requirement, not {entry!r:.80}")
        if any(other.id == entry.id for other in found):
            raise ConfigurationError(f"two requirements are called {entry.id!r}; give each an id of its own")
        if entry.check is not None:
            problem = _misfit(entry.check, entry.args, toolbox)
            if problem:
                raise ConfigurationError(f"requirement {entry.id}: {problem}")
        elif entry.test is None and not entry.text.strip():
            raise ConfigurationError(f"requirement {entry.id} says nothing; give a text, a check or a test")
        found.append(entry.model_copy(update={"origin": "user"}))
    return tuple(found)


def compile_drafts(drafts: Any, toolbox: Toolbox, taken: Iterable[Requirement] = ()) -> tuple[Requirement, ...]:
    """The requirements that a model wrote: `[{"id", "check", "args"} or {"id", "text"}, ...]`.

    A draft whose check does not exist or does not fit stays as text, to be judged; nothing is dropped quietly.
    """
    names = {item.id for item in taken}
    compiled: list[Requirement] = []
    drafts = drafts if isinstance(drafts, Sequence) and not isinstance(drafts, str) else []
    for number, draft in enumerate(drafts, start=1):
        if isinstance(draft, str):
            draft = {"text": draft}
        if not isinstance(draft, Mapping):
            continue
        name = str(draft.get("id") or f"R{number}")
        while name in names:
            name += "_"
        names.add(name)
        text = str(draft.get("text") or "")
        check, args = draft.get("check"), draft.get("args")
        if not isinstance(args, Mapping):
            args = {key: value for key, value in draft.items() if key not in ("id", "text", "check", "hard", "args")}
        hard = draft.get("hard") is not False
        if check and _misfit(str(check), args, toolbox) is None:
            compiled.append(Requirement(id=name, text=text, check=str(check), args=dict(args), hard=hard))
        elif text or check:
            written = text or json.dumps(dict(draft), ensure_ascii=False, default=str)
            compiled.append(Requirement(id=name, text=written, hard=hard))
    return tuple(compiled)


def evaluate(requirements: Requirements, execution: Execution, session: Session) -> tuple[Finding, ...]:
    """How each requirement stands after `execution`; `session` stands where it ended.

    Checks are run on a fork, where there are forks, so that one that writes all the same harms nothing.
    """
    if not any(item.check for item in requirements.items):
        return tuple(_finding(item, execution, session, None) for item in requirements.items)
    family = session.family
    limit = None if family.timeout is None else family.timeout * (len(requirements.items) + 1)
    try:
        # All in one visit to the environment's thread: a visit costs more than most checks.
        return family.inside(lambda: _evaluated(requirements, execution, session), limit)
    except TimeoutError:
        return _evaluated(requirements, execution, session)  # one by one, so that only the check that hangs is lost


def _evaluated(requirements: Requirements, execution: Execution, session: Session) -> tuple[Finding, ...]:
    checks = [(item.id, item.check, item.args) for item in requirements.items if item.check is not None]
    problem = None
    try:
        session = session.fork() if session.family.tier == "fork" else session
        session.begin_checks(checks)
    except Exception as error:  # the environment's own code
        problem = f"{UNCHECKABLE}{error_text(error)}"
    return tuple(_finding(item, execution, session, problem) for item in requirements.items)


def _finding(requirement: Requirement, execution: Execution, session: Session, problem: str | None) -> Finding:
    if requirement.check is not None and problem is not None:
        result = CheckResult(False, problem)
    elif requirement.check is not None:
        result = session.check(session.toolbox.checks[requirement.check], dict(requirement.args))
    elif requirement.test is not None:
        try:
            result = CheckResult.of(requirement.test(execution))
        except Exception as error:
            result = CheckResult(False, f"the test raised {error_text(error)}")
    else:
        return Finding(requirement=requirement.id, status="unjudged")
    return Finding(
        requirement=requirement.id,
        status="holds" if result.holds else "violated",
        evidence=result.evidence,
        hint="" if result.holds else result.hint,
        about=tuple(result.about),
    )


def _misfit(check: str, args: Mapping[str, Any], toolbox: Toolbox) -> str | None:
    spec = toolbox.checks.get(check)
    if spec is None:
        return f"no check is called {check!r}; checks: {', '.join(toolbox.checks) or 'none'}"
    try:
        spec.validate(args)
    except ArgumentError as error:
        return f"{error}; expected {error.expected}"
    return None
