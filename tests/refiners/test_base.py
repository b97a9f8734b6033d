import copy
import inspect
import pydoc
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Literal

import dspy
import pytest
from pydantic import BaseModel

from pivot_dspy import Budget, Event, Pivot, Refined, Refiner, Requirement
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.phases.inspect import Inspect
from pivot_dspy.refiners.options import RefinerOptions
from tests.scripted import plan, rewrite, scripted, step, submit
from tests.stores import Calls, Store

LARGE = {"id": "R1", "check": "item", "args": {"size": "L"}}
STEPS = [step("a", "find", size="L"), step("b", "add", product_id="$a.ids[0]"), submit(answer="$b.items[0]")]


def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


def keep(number: int) -> int:
    """Remember a number."""
    return number


# ----------------------------------------------------------------------------------------------------- drop-in


@pytest.mark.parametrize("tool", [double, dspy.Tool(double), dspy.Tool(double, name="double", desc="Twice.")])
def test_it_takes_what_react_takes(tool):
    steps = [step("a", "double", number=21), submit(answer="$a")]
    signature = "question -> answer: int"
    dspy.ReAct(signature, tools=[tool])
    with dspy.context(lm=scripted(plan=plan(steps))):
        result = Pivot(signature, tools=[tool], effects="read")(question="What is twice 21?")
    assert result.verified and result.answer == 42 and result.tier == "fork"
    assert isinstance(result, (Refined, dspy.Prediction))


def test_async_tools_run_too():
    async def triple(number: int) -> int:
        """Three times the number."""
        return 3 * number

    steps = [step("a", "triple", number=2), submit(answer="$a")]
    with dspy.context(lm=scripted(plan=plan(steps))):
        assert Pivot("question -> answer: int", tools=[triple], effects="read")(question="?").answer == 6


def test_undeclared_effects_are_an_error_that_names_the_argument():
    with pytest.raises(ConfigurationError, match='effects="read" if all only read'):
        Pivot("question -> answer", tools=[double, keep])


def test_one_tool_that_reads_is_enough_and_writes_wait():
    steps = [step("a", "double", number=1), step("b", "keep", number="$a"), submit(answer="$a")]
    kept = {"id": "R1", "text": "It is remembered.", "call": {"tool": "keep", "args": {}}}
    with dspy.context(lm=scripted(plan=plan(steps, [kept]))):
        result = Pivot("question -> answer: int", tools=[double, keep], effects={"double": "read"})(question="?")
    assert result.tier == "live" and result.execution.withheld == ("b",) and result.verdict.withheld == ("b",)
    assert result.verified and result.answer == 2


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("q -> a",), {}, "either an environment or tools"),
        (("q -> a", Store), {"tools": [double]}, "either an environment or tools"),
        (("q -> a", [double]), {}, r"by name: tools=\[\.\.\.\]"),
        (("q -> a",), {"tools": double, "effects": "read"}, "tools is a list"),
        (("q -> a",), {"tools": []}, "tools is empty"),
        (("q -> a",), {"tools": [double, double], "effects": "read"}, "two tools are called 'double'"),
        (("q -> a",), {"tools": [double], "effects": "reads"}, "effect must be one of"),
        (("q -> a",), {"tools": [double], "effects": {"doubles": "read"}}, "effects names doubles"),
        (("q -> a", Store), {"effects": "read"}, "goes with tools="),
        ((Store, Store), {}, "a signature is 'inputs -> outputs'"),
        (("q -> a", Store), {"budget": {"lm_calls": 3}}, r"Budget\(lm_calls=20\)"),
        (("q -> a", Store), {"timeout": 0}, "timeout is in seconds"),
        (("q -> a", Store), {"requirements": "Be quick."}, r"requirements=\[\.\.\.\]"),
        (("q -> a", Store), {"requirements": [{"check": "colour"}]}, "no check is called 'colour'"),
        (("q -> a", Store), {"observations": 5}, r"ObservationBudget\(result=2000\), not 5"),
        (("q -> a", Store), {"cached_price": "cheap"}, "cached_price is a number; got 'cheap'"),
        (("q -> a", Store), {"cached_price": None}, "cached_price is a number; got None"),
        (("q -> a", Store), {"cached_price": 1.1}, r"cached_price lies in \[0, 1\]; got 1.1"),
        (("q -> a", Store), {"cached_price": float("nan")}, r"cached_price lies in \[0, 1\]; got nan"),
        (("q -> a", Store), {"max_looks": "x"}, "max_looks is a whole number; got 'x'"),
        (("q -> a", Store), {"max_looks": 2.5}, "max_looks is a whole number; got 2.5"),
        (("q -> a", Store), {"max_looks": -1}, "max_looks is at least 0; got -1"),
        (("q, pivot_loss -> loss", Store), {}, "'pivot_loss' has a name that Pivot's own fields use; rename"),
        (("budget, pivot_budget -> a", Store), {}, "'pivot_budget' has a name that Pivot's own fields use; rename"),
        (("report, pivot_report -> a", Store), {}, "'pivot_report' has a name that Pivot's prompts use; rename"),
        (("q -> config", Store), {}, "'config' has the name of an option of dspy.Predict; rename"),
    ],
)
def test_what_cannot_work_is_refused_at_construction(arguments, options, said):
    with pytest.raises(ConfigurationError, match=said):
        Pivot(*arguments, **options)


def test_a_signature_without_outputs_is_refused():
    with pytest.raises(ConfigurationError, match="no output field"):
        Pivot(dspy.Signature({"q": (str, dspy.InputField())}), Store)


def test_a_tool_called_submit_is_refused():
    def submit() -> int:
        return 1

    with pytest.raises(ConfigurationError, match="ends a trajectory; rename"):
        Pivot("q -> a", tools=[submit], effects="read")


def test_a_refiner_without_a_search_is_no_refiner():
    with dspy.context(lm=scripted()), pytest.raises(NotImplementedError):
        Refiner("q -> a", Store)(q="?")


# ----------------------------------------------------------------------------------------- inputs and outputs


class Room(BaseModel):
    id: str
    seats: int


@dataclass
class Slot:
    hour: int


def rooms() -> list[Room]:
    """All rooms."""
    return [Room(id="Oak", seats=4), Room(id="Elm", seats=8)]


@pytest.mark.parametrize(
    ("annotation", "bound", "value"),
    [
        (int, "$a[0].seats", 4),
        (str, "$a[0].seats", "4"),
        (float, "$a[1].seats", 8.0),
        (list[str], "$a[*].id", ["Oak", "Elm"]),
        (Room, "$a[1]", Room(id="Elm", seats=8)),
        (list[Room], "$a", [Room(id="Oak", seats=4), Room(id="Elm", seats=8)]),
        (Literal["Oak", "Elm"], "$a[0].id", "Oak"),
        (dict[str, Any], "$a[0]", {"id": "Oak", "seats": 4}),
        (Slot, {"hour": "$a[0].seats"}, Slot(hour=4)),
        (bool, "$a[0].seats < `5`", True),
        (int | None, "$a[0].seats", 4),
    ],
)
def test_outputs_have_the_types_of_the_signature(annotation, bound, value):
    task = dspy.Signature({"q": (str, dspy.InputField()), "found": (annotation, dspy.OutputField())})
    with dspy.context(lm=scripted(plan=plan([step("a", "rooms"), submit(found=bound)]))):
        result = Pivot(task, tools=[rooms], effects="read")(q="Which room?")
    assert result.verified and result.found == value


def test_an_output_of_the_wrong_type_is_a_discrepancy():
    lm = scripted(plan=plan([step("a", "rooms"), submit(found="$a[0].id")]))
    with dspy.context(lm=lm):
        result = Pivot("q -> found: int", tools=[rooms], effects="read", max_iters=0)(q="?")
    assert not result.verified and result.found is None
    assert result.execution.discrepancies[0].kind == "bad_arguments"


class Odd:
    """Something that DSPy knows nothing of, and that compares with nothing."""

    def __eq__(self, other):
        raise TypeError

    __hash__ = None  # type: ignore[assignment]

    def __str__(self):
        return "odd 77"


def test_inputs_of_any_kind_do_no_harm():
    task = dspy.Signature(
        {
            "image": (dspy.Image, dspy.InputField()),
            "base": (list[Slot], dspy.InputField()),
            "items": (Any, dspy.InputField()),
            "note": (str | None, dspy.InputField()),
            "tone": (str, dspy.InputField(default="dry")),
            "answer": (str, dspy.OutputField()),
        }
    )
    lm = scripted(plan=plan([step("a", "rooms"), submit(answer="It is 77.")]))
    with dspy.context(lm=lm):
        result = Pivot(task, tools=[rooms], effects="read")(
            image=dspy.Image(url="https://example.org/a.png"), base=[Slot(1)], items=Odd()
        )
    assert result.verified  # 77 stands in the input
    assert "dry" in lm.engine.prompts[0].text and "note" not in lm.engine.prompts[0].sections


def test_missing_and_unknown_inputs_are_named():
    with pytest.raises(ConfigurationError, match="Pivot takes q, r; missing: r; unknown: s"):
        Pivot("q, r -> a", Store)(q=1, s=2)


def test_a_trajectory_must_be_one():
    with pytest.raises(ConfigurationError, match=r"Trajectory\.from_messages"):
        Pivot("q -> a", Store)(q="?", trajectory=[{"role": "user", "content": "x"}])


def test_requirements_of_a_call_are_a_list():
    with pytest.raises(ConfigurationError, match=r"requirements=\[\.\.\.\]"):
        Pivot("q -> a", Store)(q="?", requirements=Requirement(id="R1", text="x"))


# ---------------------------------------------------------------------------------------------- state and threads


def answers(prompt):
    """Each question asks for one product, so that a mix-up of two calls shows."""
    wanted = prompt.section("question").split()[-1]
    return plan(
        [step("a", "add", product_id=wanted), submit(answer="$a.items[0]")], [{"check": "only", "args": {"count": 1}}]
    )


def state_of(module) -> dict[str, Any]:
    """All that stands on a module and its phases, but for DSPy's own record of calls."""
    found: dict[str, Any] = {}
    for name, value in vars(module).items():
        if isinstance(value, dspy.Module):
            found[name] = state_of(value)
        elif name != "history":
            found[name] = (id(value), copy.copy(value) if isinstance(value, (list, dict, set)) else None)
    return found


def test_a_call_leaves_nothing_on_the_module():
    module = Pivot("question -> answer", Store)
    with dspy.context(lm=scripted(plan=answers)):
        before = state_of(module)
        module(question="Buy p1")
        assert state_of(module) == before


def test_two_threads_share_a_module():
    module = Pivot("question -> answer", Store)
    gate = threading.Barrier(8)

    def one(number):
        gate.wait()
        return module(question=f"Buy p{number % 4 + 1}")

    with dspy.context(lm=scripted(plan=answers)), ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n, context: context.run(one, n), range(8), [copy_context() for _ in range(8)]))
    assert [result.answer for result in results] == [f"p{n % 4 + 1}" for n in range(8)]
    assert all(result.verified and result.ledger.usage.lm_calls == 1 for result in results)


def test_parallel():
    module = Pivot("question -> answer", Store)
    examples = [dspy.Example(question=f"Buy p{n % 4 + 1}").with_inputs("question") for n in range(8)]
    with dspy.context(lm=scripted(plan=answers)):
        results = dspy.Parallel(num_threads=4, timeout=0, disable_progress_bar=True)([(module, e) for e in examples])
    assert [result.answer for result in results] == [f"p{n % 4 + 1}" for n in range(8)]
    assert all(result.ledger.usage.tool_calls == 3 for result in results)  # orientation, inspection, verification


def test_events_are_told_as_they_happen():
    seen: list[Event] = []
    module = Pivot("question -> answer", Store, on_event=seen.append)
    with dspy.context(lm=scripted(plan=answers)):
        result = module(question="Buy p1")
    assert tuple(seen) == result.history


def test_a_copy_has_phases_of_its_own_and_the_same_environment():
    real = Store(Calls())
    module = Pivot("question -> answer", real, budget=Budget(lm_calls=9))
    twin = module.deepcopy()
    assert twin.plan.predict is not module.plan.predict and twin.session_factory is module.session_factory
    lm = scripted(plan=answers)
    twin.set_lm(lm)
    assert module.plan.predict.lm is None and twin(question="Buy p1").answer == "p1" and real.cart == []


def test_every_phase_is_a_predictor_that_optimizers_see():
    names = [name for name, _ in Pivot("question -> answer", Store).named_predictors()]
    assert names == [
        f"{name}.predict" for name in ("plan", "settle", "audit", "inspect", "evolve", "verify", "compose")
    ]


# --------------------------------------------------------------------------------------------------- extending it


def test_all_parameters_are_shown_to_help_and_to_editors():
    shown = list(inspect.signature(Pivot).parameters)
    assert shown[:4] == ["signature", "environment", "candidates", "max_iters"]
    assert set(shown) >= {*RefinerOptions.__annotations__, "patience", "restarts", "audit"}
    assert "options" not in shown and "acceptance" in pydoc.plain(pydoc.render_doc(Pivot))


def test_the_signature_of_a_call_is_not_that_of_the_class():
    assert "candidates" not in inspect.signature(Pivot("request -> answer", Store)).parameters


def test_a_class_that_passes_nothing_on_shows_its_own_parameters_alone():
    class Fixed(Pivot):
        def __init__(self, path):
            super().__init__("request -> answer", Store)

    assert list(inspect.signature(Fixed).parameters) == ["path"]


@pytest.mark.parametrize(
    ("typo", "remedy"),
    [("patiance", "did you mean 'patience'"), ("Budget", "did you mean 'budget'"), ("colour", "it takes signature,")],
)
def test_a_typo_names_the_right_parameter(typo, remedy):
    with pytest.raises(ConfigurationError, match=f"Pivot has no parameter '{typo}'; {remedy}"):
        Pivot("request -> answer", Store, **{typo: 1})


class Plain(Refiner):
    def search(self, episode, start):
        best = episode.inspect(episode.plan())
        return best, episode.verify(best)


class Careless(Refiner):
    def search(self, episode, start):
        trajectory = yield from episode.plan()
        best = episode.inspect(trajectory)
        return best, (yield from episode.verify(best.loss))


@pytest.mark.parametrize(("wrong", "calls"), [(Plain, 0), (Careless, 1)])
def test_a_search_without_yield_from_gets_a_message_that_says_so(wrong, calls):
    lm = scripted(plan=plan(STEPS))
    with (
        dspy.context(lm=lm),
        pytest.raises(ConfigurationError, match=f"{wrong.__name__}.search is a generator, with `yield from`") as caught,
    ):
        wrong("request -> answer", Store)(request="x")
    assert len(lm.engine.prompts) == calls
    assert (wrong is Careless) == isinstance(caught.value.__cause__, AttributeError)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="errors carry notes since Python 3.11")
def test_an_error_says_in_which_move_of_the_search_it_came():
    class Exploding(Inspect):
        def run(self, *, trajectory, **inputs):
            if trajectory.parent is not None:
                raise RuntimeError("the phase broke")
            return (yield from super().run(trajectory=trajectory, **inputs))

    steps = [step("b", "find", color="red"), submit(answer="$b.nothing")]
    pivot = Pivot("request -> answer", Store)
    pivot.inspect = Exploding(pivot.signature)
    other = [step("b", "find", color="blue"), submit(answer="$b.nothing")]
    with dspy.context(lm=scripted(plan=plan(steps), evolve=rewrite(other))), pytest.raises(RuntimeError) as caught:
        pivot(request="x")
    assert caught.value.__notes__ == ["pivot_dspy: in move 5 of the search, inspect"]
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert [name for name in ("search", "iterate", "rewrite", "inspect") if name not in frames] == []
