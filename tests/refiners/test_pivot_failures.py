"""Models that fail, and settings that cannot work."""

import dspy
import pytest
from dspy.lm15 import AuthError, BillingError, ContextLengthError, ServerError
from dspy.utils.exceptions import LMAuthError

from pivot_dspy import EnvironmentFailed, Pivot, PlanningFailed, Requirement
from pivot_dspy.episode.record import FUTILE
from pivot_dspy.errors import ConfigurationError
from tests.refiners.loops import LARGE, MENDED, NICE, ONE, RIGHT, UNCHANGED, WRONG, run
from tests.scripted import GARBAGE, plan, submit
from tests.stores import Store


def test_garbage_every_time_is_a_planning_failure_with_the_ledger():
    with pytest.raises(PlanningFailed, match="no plan: plan: AdapterParseError") as raised:
        run(plan=GARBAGE)
    assert raised.value.ledger.usage.lm_calls == 2  # it is asked for once more


def test_a_plan_that_cannot_be_read_is_asked_for_once_more_with_what_was_wrong():
    result, engine, _ = run(plan=[GARBAGE, plan(RIGHT, [LARGE])])
    first, second = engine.prompts
    assert result.verified and second.temperature is None
    assert second.text == "\n".join(
        [
            first.text,
            GARBAGE,
            "This could not be read: it lacks requirements and steps\nWrite the whole answer again, as asked for.",
        ]
    )


def test_server_errors_at_plan_are_a_planning_failure():
    with pytest.raises(PlanningFailed, match="LMServerError") as raised:
        run(plan=ServerError("500"))
    assert raised.value.ledger.usage.lm_calls == 1 and raised.value.__cause__ is not None


@pytest.mark.parametrize("evolve", [ServerError("500"), GARBAGE])
def test_a_model_that_fails_at_evolve_leaves_the_best_so_far(evolve):
    result, _, _ = run(plan=plan(WRONG, [LARGE, ONE]), evolve=evolve)
    assert not result.verified and result.answer == "p1" and result.loss == result.history[1].loss
    failures = [event.message for event in result.history if event.kind == "failure"]
    assert failures and all(message.startswith("evolve: ") and len(message) < 320 for message in failures)


NEVER = Requirement(id="L", test=lambda run: False)


def test_nothing_hides_before_the_first_plan_that_the_model_cannot_be_reached_at_all():
    with pytest.raises(LMAuthError):
        run(plan=AuthError("no such key"))


@pytest.mark.parametrize(
    ("phase", "scripts", "required"),
    [
        ("evolve", {"plan": plan(WRONG, [LARGE])}, []),
        ("judge", {"plan": plan(RIGHT, [NICE])}, []),
        ("compose", {"plan": plan([*RIGHT[:3], submit()], [LARGE])}, []),
        ("localise", {"plan": plan(RIGHT), "evolve": UNCHANGED}, [NEVER]),
        ("audit", {"plan": plan(WRONG, [LARGE]), "evolve": UNCHANGED}, []),
    ],
)
@pytest.mark.parametrize(
    ("error", "name"), [(AuthError("no such key"), "LMAuthError"), (BillingError("pay"), "LMBillingError")]
)
def test_after_the_first_plan_a_lasting_error_ends_the_search_with_the_best_so_far(
    phase, scripts, required, error, name, caplog
):
    result, engine, _ = run(**{**scripts, phase: error}, pivot={"requirements": required})
    assert not result.verified and engine.count(phase) == 1 and engine.prompts[-1].phase == phase
    booked = {"judge": "verify", "localise": "inspect"}.get(phase, phase)
    assert len(result.failures) == 1 and result.failures[0].startswith(f"{booked}: {name}: ")
    assert result.verdict.reasons[-1] == f"the model failed at {result.failures[0]}" and result.exhausted is None
    assert sum(name in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("evolve", [ServerError("500"), ContextLengthError("too long"), GARBAGE])
def test_a_model_that_fails_again_and_again_is_asked_no_more_and_warned_of_once(evolve, caplog):
    result, engine, _ = run(plan=plan(WRONG, [LARGE, ONE]), evolve=evolve, audit=evolve, pivot={"patience": 9})
    assert engine.count() == 1 + FUTILE * (2 if evolve == GARBAGE else 1)
    assert len(result.failures) == FUTILE and "(3 failures in a row)" in result.verdict.reasons[-1]
    assert len({record.message for record in caplog.records}) == len(caplog.records)


DEEP = "[" * 3000


@pytest.mark.parametrize("value", [DEEP, DEEP + "]" * 3000, '{"a":' * 3000, "[" * 60 + "]" * 60])
@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter()])
def test_an_answer_that_is_nested_too_deep_is_a_failure_like_any_other(value, adapter):
    if not isinstance(adapter, dspy.JSONAdapter):
        answer = f"[[ ## diagnosis ## ]]\nx\n\n[[ ## requirements ## ]]\n[]\n\n[[ ## steps ## ]]\n{value}"
    else:
        answer = f'{{"diagnosis": "x", "requirements": [], "steps": {value}}}'
    with dspy.context(adapter=adapter):
        result, _, _ = run(plan=plan(WRONG, [LARGE, ONE]), evolve=answer)
    assert result.answer == "p1" and "nested" in result.failures[0]


class Broken(dspy.ChatAdapter):
    """Fails after its first question, where it is told to."""

    def __init__(self, where, error):
        super().__init__()
        self.where, self.error, self.asked = where, error, []

    def format(self, signature, demos, inputs):
        self.asked.append(signature)
        if self.where == "format" and len(self.asked) > 1:
            raise self.error
        return super().format(signature, demos, inputs)

    def parse(self, signature, completion):
        if self.where == "parse" and len(self.asked) > 1:
            raise self.error
        return super().parse(signature, completion)


@pytest.mark.parametrize("where", ["format", "parse"])
@pytest.mark.parametrize("error", [RecursionError("deep"), ValueError("no"), KeyError("x"), MemoryError()])
def test_whatever_an_adapter_raises_is_a_failure_of_the_models_side(where, error):
    adapter = Broken(where, error)
    with dspy.context(adapter=adapter):
        result, _, _ = run(plan=plan(WRONG, [LARGE, ONE]), evolve=UNCHANGED)
    assert result.answer == "p1" and type(error).__name__ in result.failures[0]
    with dspy.context(adapter=Broken(where, error)) as _, pytest.raises(PlanningFailed, match=type(error).__name__):
        dspy.settings.adapter.asked.append("the first question")
        run(plan=plan(WRONG, [LARGE, ONE]))


def test_without_a_language_model_dspy_says_so():
    with dspy.context(lm=None), pytest.raises(ValueError, match="No LM is loaded"):
        Pivot("request -> answer", Store)(request="x")


def test_a_listener_or_an_acceptance_that_fails_does_not_lose_the_run(caplog):
    class Undecided:
        repeats = 1

        def accepts(self, candidate, incumbent):
            raise ZeroDivisionError("no ratio")

    def listen(event):
        raise RuntimeError("the listener broke")

    options = {"on_event": listen, "acceptance": Undecided()}
    result, _, _ = run(plan=plan(WRONG, [LARGE, ONE]), evolve=UNCHANGED, pivot=options)
    assert result.answer == "p1"
    assert sum("the listener broke" in record.message for record in caplog.records) == 1
    result, _, _ = run(plan=plan(WRONG, [LARGE]), evolve=MENDED, pivot=options)
    assert result.answer == "p1" and any("no ratio" in record.message for record in caplog.records)


@pytest.mark.parametrize("bad", [{"candidates": 0}, {"max_iters": -1}, {"patience": 0}, {"audit": "sometimes"}])
def test_what_cannot_work_is_refused_at_construction(bad):
    with pytest.raises(ConfigurationError):
        Pivot("request -> answer", Store, **bad)


class Sealed(Store):
    """Can be copied and opened so many times, and then no more."""

    shared = ("calls", "left")

    def __init__(self, left):
        super().__init__()
        self.left = left
        self._use()

    def fork(self):
        self._use()
        return super().fork()

    def _use(self):
        self.left[0] -= 1
        if self.left[0] < 0:
            raise OSError("no more of it")

    def __deepcopy__(self, memo):
        copied = object.__new__(type(self))
        vars(copied).update({**vars(self), "cart": [*self.cart]})
        return copied


def test_a_result_is_not_verified_where_it_cannot_be_run_a_second_time():
    states = {}
    for left in range(12):
        counter = [left]
        try:
            states[left] = run(lambda: Sealed(counter), plan=plan(RIGHT, [LARGE]))[0]  # noqa: B023
        except (ConfigurationError, EnvironmentFailed):
            continue
    verified = [left for left, result in states.items() if result.verified]
    assert verified == [*range(verified[0], 12)] and verified[0] - 1 in states
    last = states[verified[0] - 1]
    assert last.loss.perfect and "cannot be opened again" in last.verdict.reasons[-1]
