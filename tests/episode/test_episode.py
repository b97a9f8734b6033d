import logging
import sqlite3
import time
from contextlib import contextmanager

import dspy
import pytest
from dspy.lm15 import AuthError, NotConfiguredError, ServerError
from dspy.utils.exceptions import LMAuthError, LMConfigurationError

from pivot_dspy import Budget, Pivot, PlanningFailed, Requirement, Step, Trajectory
from pivot_dspy.budget import BudgetExhausted
from pivot_dspy.environment.base import Environment, check, tool
from pivot_dspy.episode.affordable import require_room_for_a_plan
from pivot_dspy.episode.asking import ModelFailed
from pivot_dspy.episode.context import TaskContext, orient
from pivot_dspy.episode.episode import Episode
from pivot_dspy.episode.events import StopEvent
from pivot_dspy.episode.record import RunRecord
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.flow import run_sync
from pivot_dspy.gradient import Gradient
from pivot_dspy.prompts.report import questions_in
from tests.scripted import GARBAGE, plan, rewrite, scripted, step, submit
from tests.stores import Calls, Store

STEPS = [
    step("a", "find", color="red", size="L"),
    step("b", "details", ids="$a.ids"),
    step("c", "add", product_id="min_by($b, &price).id"),
    submit(answer="$c.items[0]"),
]
NICE = {"id": "R9", "text": "It is nice."}


@contextmanager
def opened(environment=None, required=(), budget=None, told=False, request="Buy something red.", **scripts):
    """An episode of its own, with the model that it asks."""
    calls = Calls()
    pivot = Pivot("request -> answer", environment or (lambda: Store(calls)), timeout=None)
    context = TaskContext.open(
        pivot.session_factory,
        pivot.signature,
        {"request": request},
        required=tuple(required),
        has_task_requirements=told,
    )
    episode = Episode(context, RunRecord(budget or Budget()), pivot, pivot._acceptance)
    episode.calls = calls
    with dspy.context(lm=scripted(**scripts)):
        try:
            yield episode, dspy.settings.lm.engine
        finally:
            context.close()


def planned(steps=STEPS, *requirements):
    return plan(steps, requirements)


# ------------------------------------------------------------------------------------------------- before a plan


def test_orientation_reads_are_shown_to_the_planner():
    with opened(plan=planned()) as (episode, engine):
        run_sync(orient(episode.context, episode.record))
        assert episode.context.catalogue.known == 'colors() -> ["blue", "red"]'
        assert episode.calls == ["colors"] and episode.record.ledger.usage.tool_calls == 1
        run_sync(episode.plan())
        assert engine.prompts[0].section("known") == 'colors() -> ["blue", "red"]'


def test_an_orientation_read_that_fails_or_is_huge_does_no_harm():
    class Loud(Environment):
        orientation = ("shout", "fail")

        @tool(effect="read")
        def shout(self) -> str:
            """Everything."""
            return "x" * 50_000

        @tool(effect="read")
        def fail(self) -> str:
            """Nothing."""
            raise RuntimeError("no")

        def summarise(self, tool, value):
            raise RuntimeError("no words")

    with opened(Loud) as (episode, _):
        run_sync(orient(episode.context, episode.record))
        assert len(episode.context.catalogue.known) < 1600 and "fail()" not in episode.context.catalogue.known


def test_a_budget_must_pay_for_one_plan():
    with opened(budget=Budget(tokens=100)) as (episode, engine):
        run_sync(orient(episode.context, episode.record))
        with pytest.raises(ConfigurationError, match="prompt alone takes about"):
            require_room_for_a_plan(episode.context, episode.record, episode.phases.plan)
        assert engine.count() == 0
    with opened(budget=Budget(tokens=100_000)) as (episode, _):
        run_sync(orient(episode.context, episode.record))
        require_room_for_a_plan(episode.context, episode.record, episode.phases.plan)


def test_what_is_said_to_be_needed_is_no_more_than_a_plan_takes():
    with opened(plan=planned()) as (episode, engine):
        run_sync(orient(episode.context, episode.record))
        run_sync(episode.plan())
        used = episode.record.ledger.usage.prompt_tokens
    with opened(budget=Budget(tokens=used)) as (episode, _):
        run_sync(orient(episode.context, episode.record))
        require_room_for_a_plan(episode.context, episode.record, episode.phases.plan)


@pytest.mark.parametrize("inside", [lambda image: image, lambda image: [image], lambda image: {"photo": image}])
def test_an_image_takes_no_room_of_texts(inside):
    photo = dspy.Image(url="data:image/png;base64," + "A" * 1_000_000)
    with opened(budget=Budget(tokens=20_000), request=inside(photo)) as (episode, _):
        require_room_for_a_plan(episode.context, episode.record, episode.phases.plan)
    long = opened(budget=Budget(tokens=20_000), request=inside("A" * 1_000_000))
    with long as (episode, _), pytest.raises(ConfigurationError, match="prompt alone takes about"):
        require_room_for_a_plan(episode.context, episode.record, episode.phases.plan)


def test_bad_requirements_close_the_session_again():
    closed = []

    class Closing(Store):
        def close(self):
            closed.append(1)

    with pytest.raises(ConfigurationError), opened(Closing, required=[{"check": "colour"}]):
        pass
    assert closed


# -------------------------------------------------------------------------------------------------------- plans


def test_the_first_plan_settles_the_requirements():
    plans = [planned(STEPS, {"id": "R1", "check": "only", "args": {"count": 1}}), planned(STEPS, NICE)]
    with opened(required=["Be quick."], plan=plans) as (episode, _):
        run_sync(episode.plan())
        run_sync(episode.plan(1))
        assert [item.id for item in episode.context.requirements.items] == ["U1", "R1"]


def test_none_is_a_settlement_too():
    with opened(plan=[planned(), planned(STEPS, NICE)]) as (episode, _):
        run_sync(episode.plan())
        run_sync(episode.plan(1))
        assert episode.context.requirements.items == ()


def test_a_plan_that_cannot_be_read_is_asked_for_once_more():
    with opened(plan=[GARBAGE, planned()]) as (episode, engine):
        assert len(run_sync(episode.plan())) == 4
        first, second = engine.prompts
        assert second.text.startswith(first.text) and "This could not be read" in second.text
        assert [event.kind for event in episode.record.history] == ["plan"]
    with opened(plan=[GARBAGE, GARBAGE, planned()]) as (episode, engine):
        with pytest.raises(PlanningFailed, match="no plan: plan: AdapterParseError"):
            run_sync(episode.plan())
        assert [event.kind for event in episode.record.history] == ["failure"] and engine.count() == 2


def test_a_server_that_fails_is_not_asked_again():
    with opened(plan=ServerError("500")) as (episode, engine):
        with pytest.raises(PlanningFailed, match="no plan: plan: LMServerError"):
            run_sync(episode.plan())
        assert engine.count() == 1


@pytest.mark.parametrize(
    ("error", "raised"), [(AuthError("no key"), LMAuthError), (NotConfiguredError("no key"), LMConfigurationError)]
)
def test_where_no_retry_would_help_the_model_is_asked_no_more(error, raised):
    with opened(plan=error) as (episode, engine):
        with pytest.raises(PlanningFailed) as failed:
            run_sync(episode.plan())
        assert isinstance(failed.value.__cause__, raised) and episode.record.cause is failed.value.__cause__
        with pytest.raises(PlanningFailed, match="not asked any more"):
            run_sync(episode.plan())
        assert engine.count() == 1 and episode.spent() and episode.record.exhausted is None


# ------------------------------------------------------------------------------------------- tool calls, budget


def test_tool_calls_are_booked_to_the_phase_that_made_them():
    with opened(plan=planned()) as (episode, _):
        run_sync(orient(episode.context, episode.record))
        best = run_sync(episode.inspect(run_sync(episode.plan())))
        run_sync(episode.verify(best))
        assert {name: usage.tool_calls for name, usage in episode.record.ledger.by_phase.items()} == {
            "plan": 1, "inspect": 3, "verify": 3,
        }  # fmt: skip


def test_a_plan_that_used_up_the_calls_of_the_model_may_still_run():
    with opened(budget=Budget(lm_calls=1, tool_calls=9), plan=planned()) as (episode, _):
        best = run_sync(episode.inspect(run_sync(episode.plan())))
        assert episode.spent() and best.inspection.execution.tool_calls == 3


def test_a_tool_call_over_the_budget_is_refused():
    with opened(budget=Budget(tool_calls=2)) as (episode, _):
        episode.record.permit(False)
        episode.record.permit(False)
        episode.record.permit(True)
        with pytest.raises(BudgetExhausted):
            episode.record.permit(False)
        assert episode.record.ledger.usage.tool_calls == 2 and episode.record.ledger.usage.tool_calls_reused == 1


def test_what_was_reached_is_said_once():
    with opened(budget=Budget(tool_calls=1)) as (episode, _):
        assert not episode.spent()
        episode.record.permit(False)
        assert episode.spent() and episode.spent() and episode.record.exhausted == "tool_calls: 1 of 1"
        assert [event.message for event in episode.record.history] == ["budget spent: tool_calls: 1 of 1"]


# --------------------------------------------------------------------------------------------------- inspections


def trajectory(steps=STEPS) -> Trajectory:
    return Trajectory(steps=tuple(Step(**one) for one in steps))


def test_repeated_inspections_give_the_worst():
    outcomes = iter([0, 1, 0])

    class Noisy(Environment):
        @tool(effect="read")
        def look(self) -> int:
            """Luck."""
            return next(outcomes)

    lucky = Requirement(id="L", test=lambda run: run.outputs.get("answer") == "0")
    with opened(Noisy, required=[lucky]) as (episode, _):
        found = run_sync(episode.inspect(trajectory([step("a", "look"), submit(answer="$a")]), repeats=3))
        assert not found.loss.perfect
        assert [event.kind for event in episode.record.history] == ["inspect"]


def test_in_the_replay_tier_a_prefix_of_reads_is_taken_over_and_writes_run_again():
    class Unforkable(Store):
        forkable = False

    calls = Calls()
    with opened(lambda: Unforkable(calls)) as (episode, _):
        assert episode.context.root.family.tier == "replay"
        base = run_sync(episode.inspect(trajectory()))
        child = base.trajectory.replace_from(
            3, [Step(id="submit", tool="submit", args={"answer": "x"})], operator="evolve"
        )
        found = run_sync(episode.inspect(child, base))
        assert calls == ["find", "details", "add p2", "add p2"]
        assert found.inspection.execution.outputs == {"answer": "x"}


class Database(Environment):
    """Its connection may only be used by the thread that made it."""

    def __init__(self) -> None:
        self.base = sqlite3.connect(":memory:", isolation_level=None)
        self.base.execute("create table things (name text)")

    @tool(effect="write")
    def put(self, name: str) -> int:
        """Put a thing in."""
        self.base.execute("insert into things values (?)", (name,))
        return int(self.base.execute("select count(*) from things").fetchone()[0])

    @tool(effect="write", timeout=0.2)
    def hang(self) -> str:
        """Take long."""
        time.sleep(1)
        return "done"

    @check
    def there(self, name: str) -> bool:
        """It is there."""
        return self.base.execute("select 1 from things where name = ?", (name,)).fetchone() is not None

    def fork(self) -> "Database":
        twin = Database()
        self.base.backup(twin.base)
        return twin

    def close(self) -> None:
        self.base.close()


def test_a_session_that_cannot_be_forked_after_a_hang_is_opened_afresh(caplog):
    pivot = Pivot("request -> answer", Database, timeout=5.0, audit="never")
    steps = [step("a", "put", name="x"), step("h", "hang"), step("b", "put", name="y"), submit(answer="$b")]
    mended = rewrite([{"keep": "a"}, {"keep": "b"}, {"keep": "submit"}])
    lm = scripted(plan=plan(steps, [{"id": "R1", "check": "there", "args": {"name": "y"}}]), evolve=mended)
    with dspy.context(lm=lm), caplog.at_level(logging.WARNING):
        result = pivot(request="Put x and y in.")
    assert result.verified and result.answer == "2"
    assert result.history[1].execution.by_step["h"].fault.kind == "timeout"
    assert "opening a fresh one" in caplog.text


# --------------------------------------------------------------------------------------------- blame and rewrite


def test_rules_come_first_and_the_model_is_asked_where_they_are_out_of_their_depth():
    odd = Requirement(id="L", test=lambda run: False)
    said = {"diagnosis": "x", "step": "b", "correction": "y"}
    with opened(required=[odd], localise=said) as (episode, engine):
        best = run_sync(episode.inspect(trajectory()))
        refuted: set[tuple[str | None, str]] = set()
        authors = []
        while (found := run_sync(episode.gradient(best, frozenset(refuted)))) is not None:
            assert found.key not in refuted
            refuted.add(found.key)
            authors.append(found.by)
        assert authors[0] == "rule" and "model" in authors
        assert engine.count("localise") == len([1 for event in episode.record.history if event.kind == "gradient"]) - 1


def test_where_the_model_fails_to_localise_the_rule_stands():
    odd = Requirement(id="L", test=lambda run: False)
    with opened(required=[odd], localise=ServerError("500")) as (episode, _):
        best = run_sync(episode.inspect(trajectory()))
        first = run_sync(episode.gradient(best, frozenset()))
        second = run_sync(episode.gradient(best, frozenset({first.key})))
        assert second.by == "rule" and second.key != first.key
        assert "failure" in [event.kind for event in episode.record.history]


def test_a_rewrite_that_cannot_be_had_is_a_failure_on_record():
    with opened(evolve=GARBAGE) as (episode, _):
        best = run_sync(episode.inspect(trajectory()))
        gradient = Gradient(locus=0, step="a", kind="wrong_value", diagnosis="x")
        with pytest.raises(ModelFailed, match="evolve: AdapterParseError"):
            run_sync(episode.evolve(best, gradient))
        assert episode.record.history[-1].kind == "failure" and "\n" not in episode.record.history[-1].message


# ---------------------------------------------------------------------------------------------------- the judge

ONE = {"id": "R8", "check": "only", "args": {"count": 1}}
SAID = [*STEPS[:3], submit(answer="p2 it is")]


@pytest.mark.parametrize(
    ("steps", "required", "questions"),
    [
        (STEPS, [NICE], ["R9", "c"]),
        (STEPS, [ONE], []),  # a check decides it, does not hold without the call, and all of the answer is bound
        (STEPS, [], ["c"]),  # nothing asks for the call
        (SAID, [], ["S1", "c"]),  # nothing else has looked at what it says
        (SAID, [ONE], ["S1"]),  # nor has a check
        ([*STEPS[:3], submit(answer="p2 it is. It is nice.")], [ONE, NICE], ["R9", "S1", "S2"]),
        (STEPS, [NICE, {"check": "only", "args": {"count": 3}}], None),  # it would not help
        (STEPS[:3], [NICE], None),
        ([*STEPS[:3], submit()], [NICE], None),
        ([step("x", "fly"), *STEPS], [NICE], None),
    ],
)
def test_the_judge_is_asked_in_one_call_and_only_what_its_word_alone_can_tell(steps, required, questions):
    with opened(required=required, request="Put something red in the cart.") as (episode, engine):
        run_sync(episode.inspect(trajectory(steps)))
        assert engine.count("judge") == engine.count() == (1 if questions else 0)
        if questions:
            assert sorted(name for name, _ in questions_in(engine.last("judge").section("questions"))) == questions


def test_the_judge_is_not_asked_when_the_budget_is_spent():
    with opened(required=[NICE], budget=Budget(lm_calls=1), plan=planned()) as (episode, engine):
        run_sync(episode.plan())
        found = run_sync(episode.inspect(trajectory()))
        assert engine.count("judge") == 0 and found.inspection.unjudged == ("R9",)


# ------------------------------------------------------------------------------------------------------- events


def test_events_are_recorded_and_told():
    seen = []
    pivot = Pivot("request -> answer", Store, timeout=None)
    context = TaskContext.open(pivot.session_factory, pivot.signature, {"request": "x"})
    episode = Episode(context, RunRecord(Budget(), on_event=seen.append), pivot, pivot._acceptance)
    event = StopEvent(message="x")
    episode.emit(event)
    context.close()
    assert episode.record.history == seen == [event]


def test_its_repr_says_which_move_it_is_at():
    with opened(plan=planned(STEPS, ONE)) as (episode, _):
        assert repr(episode) == "Episode('Buy something red.'; no move yet; 0 LM calls)"
        first = run_sync(episode.plan())
        run_sync(episode.inspect(first))
        assert repr(episode) == "Episode('Buy something red.'; move 2: inspect; 1 LM calls)"
