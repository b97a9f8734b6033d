"""The calls of a task share one prompt that only grows, whatever adapter writes it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import dspy
import pytest
from dspy.utils.callback import BaseCallback
from dspy.utils.exceptions import AdapterParseError

from pivot_dspy import Pivot
from pivot_dspy.prompts.conversation import EMPTY, Asked, Reading, correction_of
from pivot_dspy.trajectory import Observation, Step, Trajectory
from tests.refiners.loops import LARGE, ONE, REQUEST, RIGHT
from tests.scripted import GARBAGE, Scripted, plan, rewrite, scripted, step, submit
from tests.stores import Store


class Plain(dspy.Adapter):
    """An adapter of one's own, with nothing but what every adapter must have."""

    def format(self, signature: Any, demos: Any, inputs: Any) -> list[dict[str, Any]]:
        wish = ", ".join(f"`{name}`" for name in signature.output_fields)
        return [
            {"role": "system", "content": signature.instructions},
            {"role": "user", "content": f"{json.dumps(inputs)}\nRespond with a JSON object: {wish}"},
        ]

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        try:
            return dict(json.loads(completion))
        except ValueError as error:
            raise AdapterParseError("Plain", signature, completion, str(error)) from error


class Delegating(dspy.ChatAdapter):
    """Lets another adapter write, as `dspy.Refine` does where it gives advice."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return dspy.ChatAdapter()(*args, **options)


ADAPTERS = {
    "chat": dspy.ChatAdapter, "json": dspy.JSONAdapter, "xml": dspy.XMLAdapter, "two steps": None, "own": Plain,
}  # fmt: skip
ONE_STEP = [name for name in ADAPTERS if name != "two steps"]
WORSE = rewrite([step("x", "fly"), submit(answer="p3")])
GOES_ON = {
    "plan": [plan(RIGHT[:1], [LARGE, ONE]), plan(RIGHT)],
    "evolve": [
        rewrite([RIGHT[1]], "More is to be read."),
        rewrite([step("c", "add", product_id="p1"), submit(answer="p1")]),
        rewrite([step("x", "fly"), submit(answer="p3")]),
    ],
}
"""A run that stops twice to read, goes wrong, has a rewrite rejected, and is planned anew."""
SAID_ONCE = (REQUEST, Store.policy, "- add(product_id)", "Inside [? ] names are fields of the element")


class Ruled(Store):
    """A store with so much policy that it costs more to say it again than to go on after it."""

    policy = "\n".join([Store.policy, *(f"Rule {number}: what is bought is never given back." for number in range(20))])


class Run:
    """What one call of Pivot sent: the messages of each call of its model, and its result."""

    def __init__(
        self, adapter: str | dspy.Adapter = "chat", asynchronous: bool = False, cached_price: float = 0.0,
        **scripts: Any,
    ) -> None:  # fmt: skip
        lm = scripted(Scripted(**scripts))
        settings: dict[str, Any] = {"lm": lm, "trace": []}
        if adapter == "two steps":  # what the first model writes is read by a second one
            settings |= {"lm": scripted(), "adapter": dspy.TwoStepAdapter(lm)}
        else:
            settings["adapter"] = ADAPTERS[adapter]() if isinstance(adapter, str) else adapter
        pivot = Pivot("request -> answer", Ruled, timeout=None, patience=4, audit="never", cached_price=cached_price)
        with dspy.context(**settings):
            asked = asyncio.run(pivot.acall(request=REQUEST)) if asynchronous else pivot(request=REQUEST)
            self.traced = len(dspy.settings.trace)
        self.result = asked
        self.engine = lm.engine
        self.calls = [entry["messages"] for entry in settings["lm"].history]


def text_of(messages: list[dict[str, Any]]) -> str:
    return "\n".join(message["content"] for message in messages)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_each_call_begins_with_the_messages_of_one_before_it(adapter: str, asynchronous: bool) -> None:
    run = Run(adapter, asynchronous, **GOES_ON)
    assert run.result.verified and run.result.answer == "p2"
    first, *later = run.calls
    assert len(later) == 4 and [message["role"] for message in first] == ["system", "user"]
    for number, messages in enumerate(later, start=1):
        *_, answer, asked = messages
        assert (answer["role"], asked["role"]) == ("assistant", "user")
        assert messages[:-2] in run.calls[:number]
    assert later[0][:2] == first and later[1][:4] == later[0] and later[2][:6] == later[1]
    assert later[3][:-1] == later[2][:-1]  # as before the rewrite that was rejected, which is told of in a line
    assert "fly" in later[3][-1]["content"] and "fly" not in later[2][-1]["content"]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_what_the_first_message_shows_is_not_said_again(adapter: str) -> None:
    run = Run(adapter, **GOES_ON)
    for messages in run.calls:
        text = text_of(messages).replace('\\"', '"')
        assert [said for said in SAID_ONCE if text.count(said) != 1] == []
    turns = [messages[-1]["content"] for messages in run.calls[1:]]
    assert all("p2" in turn for turn in turns[:1]) and "safe copy" in turns[0]
    assert "safe copy" not in turns[1]  # nor what EVOLVE has said before


def test_a_turn_tells_of_its_fields_what_none_before_it_has() -> None:
    turns = [messages[-1]["content"] for messages in Run(**GOES_ON).calls[1:]]
    assert ["`blame`: where the cause seems to lie" in turn for turn in turns] == [False, False, True, False]
    assert ["`tried`: what failed; plan anew" in turn for turn in turns] == [False, False, False, True]
    assert not any("`request`: " in turn or "`kept`: " in turn for turn in turns)  # of which nothing is to be said


def test_the_same_adapter_writes_and_its_callbacks_hear_of_every_call() -> None:
    class Heard(BaseCallback):
        """What adapters of each class were told to do."""

        def __init__(self) -> None:
            self.heard: Counter[tuple[str, type]] = Counter()

        def on_adapter_format_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            self.heard["format", type(instance)] += 1

        def on_adapter_parse_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            self.heard["parse", type(instance)] += 1

    callback = Heard()
    adapter = dspy.ChatAdapter(callbacks=[callback], use_native_function_calling=True)
    before = dict(vars(adapter))
    asked = Asked(EMPTY).adapter(adapter)
    assert type(asked) is dspy.ChatAdapter and asked.callbacks == [callback] and asked.use_native_function_calling
    run = Run(adapter, **GOES_ON)
    assert vars(adapter) == before  # the user's own is left as it is
    assert run.result.verified and run.traced == len(run.calls) == 5
    assert callback.heard == {("format", dspy.ChatAdapter): 5, ("parse", dspy.ChatAdapter): 5}


@pytest.mark.parametrize("kind", [dspy.ChatAdapter, dspy.JSONAdapter, dspy.XMLAdapter, Plain])
def test_an_adapter_of_a_class_of_its_own_stays_one(kind: type[dspy.Adapter]) -> None:
    class Own(kind):  # type: ignore[valid-type,misc]
        """Writes what its base does, and is known by its class."""

        def parse(self, signature: Any, completion: str) -> Any:
            seen.append(type(self))
            return super().parse(signature, completion)

    seen: list[type] = []
    run = Run(Own(), **GOES_ON)
    assert run.result.verified and seen == [Own] * len(run.calls)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("adapter", ONE_STEP)
def test_an_answer_that_cannot_be_read_is_asked_for_again_with_what_was_wrong(adapter: str, asynchronous: bool) -> None:
    scripts = {**GOES_ON, "evolve": [GOES_ON["evolve"][0], GARBAGE, rewrite(RIGHT[2:])]}
    run = Run(adapter, asynchronous, **scripts)
    assert run.result.verified and run.result.ledger.usage.lm_calls == len(run.calls) == 4
    assert not [event for event in run.result.history if event.kind == "failure"]
    *_, unread, last = run.calls
    assert last[: len(unread)] == unread
    answer, reason = last[len(unread) :]
    assert answer == {"role": "assistant", "content": GARBAGE} and reason["role"] == "user"
    assert reason["content"].startswith("This could not be read: ")
    assert reason["content"].endswith("\nWrite the whole answer again, as asked for.")


@pytest.mark.parametrize("adapter", ONE_STEP)
def test_the_second_time_it_is_given_up(adapter: str) -> None:
    run = Run(adapter, **{**GOES_ON, "evolve": [GARBAGE, GARBAGE, rewrite(RIGHT[1:])]})
    [failure] = [event.message for event in run.result.history if event.kind == "failure"]
    assert failure.startswith("evolve: AdapterParseError") and run.result.verified
    assert run.calls[3][:-1] == run.calls[1][:-1]  # what follows begins where that began


def test_what_was_wrong_is_told_in_brief() -> None:
    answer, reason = correction_of("x" * 9000, "it \n lacks steps " + "y" * 9000)
    assert answer["content"].startswith("xxx") and len(answer["content"]) <= 2000
    assert reason["content"].startswith("This could not be read: it lacks steps yyy") and len(reason["content"]) < 600
    assert correction_of("", "it is empty")[0]["content"] == "(nothing)"


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_instructions_that_an_optimizer_has_changed_stand_in_the_turn(adapter: str) -> None:
    pivot = Pivot("request -> answer", Ruled, timeout=None, audit="never", cached_price=0.0)
    original = pivot.evolve.predict.signature
    more = f"{original.instructions}\n\nMind the sizes."
    for instructions, first in ((more, original.instructions[:60]), ("Mind the sizes.", "Mind the sizes.")):
        pivot.evolve.predict.signature = original.with_instructions(instructions)
        lm = scripted(plan=plan(RIGHT[:1], [LARGE, ONE]), evolve=[rewrite([RIGHT[1]]), rewrite(RIGHT[2:])])
        main = scripted() if adapter == "two steps" else lm
        made = dspy.TwoStepAdapter(lm) if adapter == "two steps" else ADAPTERS[adapter]()
        with dspy.context(lm=main, adapter=made):
            assert pivot(request=REQUEST).verified
        _, one, two = (entry["messages"] for entry in main.history)
        assert "Mind the sizes." in one[-1]["content"] and first in one[-1]["content"]
        assert text_of(two).count("Mind the sizes.") == 1


def test_examples_of_a_phase_stand_in_its_first_turn_alone() -> None:
    pivot = Pivot("request -> answer", Ruled, timeout=None, audit="never", cached_price=0.0)
    pivot.evolve.predict.demos = [dspy.Example(kept="looked up before", diagnosis="d", requirements=[], steps=[])]
    lm = scripted(plan=plan(RIGHT[:1], [LARGE, ONE]), evolve=[rewrite([RIGHT[1]]), rewrite(RIGHT[2:])])
    with dspy.context(lm=lm):
        assert pivot(request=REQUEST).verified
    plan_call, one, two = (text_of(entry["messages"]).count("looked up before") for entry in lm.history)
    assert (plan_call, one, two) == (0, 1, 1)


def test_where_another_adapter_writes_each_prompt_stands_for_itself() -> None:
    run = Run(Delegating(), **GOES_ON)
    assert run.result.verified and len(run.calls) == 5
    for messages in run.calls:
        assert [message["role"] for message in messages] == ["system", "user"]
        assert REQUEST in messages[1]["content"] and Store.policy in messages[1]["content"]


@pytest.mark.parametrize("adapter", ["chat", "json", "xml"])
def test_where_cached_tokens_cost_as_much_as_others_a_rewrite_stands_for_itself(adapter: str) -> None:
    run = Run(adapter, cached_price=1.0, **GOES_ON)
    assert run.result.verified
    for messages in run.calls[1:4]:
        assert [message["role"] for message in messages] == ["system", "user"]
        text = text_of(messages).replace('\\"', '"')
        assert [said for said in (REQUEST, Store.policy, "add(product_id", "Inside [? ]") if said not in text] == []
        assert '{"ids": ["p2", "p4"]}' in text  # what was read is shown whole


def test_a_program_goes_on_in_dspy_refine() -> None:
    advice = {"discussion": "It stopped.", "advice": {"plan.predict": "Go on."}}
    lm = scripted(
        plan=plan(RIGHT[:2], [LARGE, ONE]), feedback=advice,
        evolve=lambda prompt: rewrite(RIGHT[2:] if "hint_" in prompt.text else [submit(answer="p1")]),
    )  # fmt: skip
    pivot = Pivot("request -> answer", Ruled, timeout=None, max_iters=1, restarts=0, audit="never")
    refined = dspy.Refine(pivot, 2, lambda inputs, result: float(result.verified), 1.0)
    with dspy.context(lm=lm):
        assert refined(request=REQUEST).verified


# -------------------------------------------------------------------------------------------------------- conversation


def test_a_conversation_is_continued_and_never_changed() -> None:
    class Ask(dspy.Signature):
        """Ask.

        Twice."""

        tools: str = dspy.InputField(desc="what may be called")
        answer: str = dspy.OutputField()

    asked, written = Asked(EMPTY), Step(id="a", tool="find", args={"color": "red"})
    asked.adapter(dspy.ChatAdapter()).format(Ask, [], {"tools": "none"})
    asked.answer(dspy.ChatAdapter(), dspy.Prediction(answer="x"))
    reading = Reading(written, Observation(step="a", value=1, args={"color": "red"}))
    after = EMPTY.continue_with(asked, EMPTY.shown, [written], [reading])
    assert EMPTY.messages == () and not EMPTY.wrote(written)
    assert after.messages[:-1] == asked.messages and after.messages[-1]["content"].startswith("[[ ## answer ## ]]\nx")
    assert after.wrote(written) and not after.wrote(written.model_copy(update={"id": "b"}))
    assert after.fields == {"tools": "none"} and after.readings == {reading.key}
    assert after.untold(["Ask.", "Twice.", "`tools`: what may be called", "New.", ""]) == ["New."]


def test_the_same_call_of_another_step_is_the_same_reading() -> None:
    def reading(step_id: str, written: Any, args: Any) -> Reading:
        step = Step(id=step_id, tool="find", args=written)
        return Reading(step, Observation(step=step_id, value=1, args=args))

    bound = reading("a", {"size": "$z"}, {"size": "L"})
    assert bound.key == reading("b", {"size": "L"}, {"size": "L"}).key
    assert bound.key != reading("a", {"size": "$z"}, {"size": "M"}).key
    assert reading("a", {"size": "$z"}, None).key == reading("b", {"size": "$z"}, None).key


def test_a_conversation_that_a_rewrite_began_shows_each_later_one_what_is_new() -> None:
    """What stays the same for the task is not said again; what a rewrite is about always is."""
    engine = Scripted(
        settle={"requirements": []},
        evolve=[
            rewrite([step("a", "find", color="red")]),
            rewrite([step("b", "details", ids="$a.ids")]),
            rewrite([submit(answer="p1")]),
        ],
        judge={"verdicts": [], "unsupported": []},
    )
    given = Trajectory.model_validate({"steps": [step("x", "fly")]})
    with dspy.context(lm=scripted(engine)):
        Pivot("request -> answer", Ruled, cached_price=0.0)(request=REQUEST, trajectory=given)
    first, *later = [prompt for prompt in engine.prompts if prompt.phase == "evolve"]
    assert {"tools", "policy", "request"} <= first.sections.keys()
    assert later and all("kept" in prompt.sections for prompt in later)
    assert all(prompt.sections.keys().isdisjoint({"policy", "request"}) for prompt in later)
