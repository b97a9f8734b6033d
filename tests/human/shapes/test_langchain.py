"""LangChain's human-in-the-loop shapes, by themselves and with the real package."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator
from typing_extensions import TypedDict

from pivot_dspy import ConfigurationError, bindings
from pivot_dspy.human.feedback import Approve, Edit, Pin, Reject, Respond
from pivot_dspy.human.shapes import langchain
from tests.human.shapes.banks import Office
from tests.human.shapes.reviews import ANSWERED, REPEATED, WAITING, arguments, open_reviews, values

APPROVE = {"type": "approve"}


def edit(name: str, **args: Any) -> dict[str, Any]:
    return {"type": "edit", "edited_action": {"name": name, "args": args}}


def decide(*decisions: Any, review: Any = WAITING) -> tuple[Any, ...]:
    given = langchain.feedback({"decisions": list(decisions)}, review)
    assert given.review == review.id
    return given.actions


def test_a_request_has_whole_arguments_and_what_may_be_decided() -> None:
    asked = langchain.request(WAITING)
    assert [action["args"] for action in asked["action_requests"]] == [
        {"to": "Bo", "amount": 7}, {"to": "Ann", "amount": "$a", "note": "as agreed"},
    ]  # fmt: skip
    assert "pay waits for approval: Pays at once." in asked["action_requests"][0]["description"]
    every = ["approve", "edit", "reject", "respond"]
    assert asked["review_configs"] == [{"action_name": "pay", "allowed_decisions": every}] * 2


@pytest.mark.parametrize(
    ("decisions", "actions"),
    [
        ([APPROVE, APPROVE], (Approve(steps=("a", "b")),)),
        ([APPROVE, {"type": "reject"}], (Reject(message="A person rejected pay.", step="b"), Pin(steps=("a",)))),
        ([{"type": "reject", "message": "No."}] * 2, tuple(Reject(message="No.", step=step) for step in ("a", "b"))),
        ([APPROVE, {"type": "respond", "message": "$a"}], (Respond(step="b", value="$a"), Pin(steps=("a",)))),
        # What an edit does not name keeps its value, and what is as it was sent stays a binding.
        ([APPROVE, edit("pay", to="Cy")], (Edit(step="b", args={"to": "Cy"}), Pin(steps=("a",)))),
        ([APPROVE, edit("pay", to="Cy", amount="$a")], (Edit(step="b", args={"to": "Cy"}), Pin(steps=("a",)))),
        ([APPROVE, edit("pay", to="Ann", amount="$a", note="as agreed")], (Approve(steps=("a", "b")),)),
        ([edit("pay", note="$b for {{a}}"), APPROVE],
         (Edit(step="a", args={"note": bindings.escape("$b for {{a}}")}), Pin(steps=("b",)))),
        ([APPROVE, edit("send", amount="$a")],
         (Edit(step="b", tool="send", args={"amount": bindings.escape("$a")}), Pin(steps=("a",)))),
    ],
)  # fmt: skip
def test_decisions_are_actions(decisions: list[Any], actions: tuple[Any, ...]) -> None:
    assert decide(*decisions) == actions


def test_where_no_call_waits_the_answer_is_asked_about() -> None:
    asked = langchain.request(ANSWERED)
    (action,) = asked["action_requests"]
    assert action["name"] == "submit" and action["args"] == {"answer": "paid"}
    assert asked["review_configs"][0]["allowed_decisions"] == ["approve", "edit", "reject"]
    assert decide(APPROVE, review=ANSWERED) == (Approve(),)
    assert decide({"type": "reject", "message": "No."}, review=ANSWERED) == (Reject(message="No."),)
    assert decide(edit("submit", answer="done"), review=ANSWERED) == (Edit(step="submit", args={"answer": "done"}),)
    with pytest.raises(ConfigurationError, match="edit it instead"):
        decide({"type": "respond", "message": "done"}, review=ANSWERED)


def test_the_calls_of_a_step_that_repeats_are_one_decision() -> None:
    (action,) = langchain.request(REPEATED)["action_requests"]
    assert action["args"] == {"to": "$item", "amount": 5}
    assert 'pay {"to": "Ann", "amount": 5}\npay {"to": "Bo", "amount": 5}' in action["description"]
    assert decide(edit("pay", to="$item", amount=6), review=REPEATED) == (Edit(step="a", args={"amount": 6}),)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"decisions": [APPROVE]}, "1 decisions for 2 action requests; decide on pay, pay"),
        ({"decision": [APPROVE]}, "decisions: Field required; decision: Extra inputs"),
        ({"decisions": [APPROVE, {"type": "aprove"}]}, "decisions.1: .*'aprove'"),
        ({"decisions": [APPROVE, {"type": "reject", "mesage": "no"}]}, "mesage: Extra inputs"),
        ({"decisions": [APPROVE, {"type": "respond"}]}, "message: Field required"),
        ({"decisions": [APPROVE, edit("pya", to="x")]}, "no tool is called 'pya'; did you mean 'pay'"),
        ({"decisions": [APPROVE, edit("pay", amount="many")]}, "amount: 'many' is not of type 'integer'"),
        ({"decisions": [APPROVE, edit("pay", whom="Cy")]}, "has whom, which it does not take"),
        ({}, "decisions: Field required"),
        (None, "it takes"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_whole(answer: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        langchain.feedback(answer, WAITING)


def test_per_call_an_id_is_for_one_question_and_all_are_answered() -> None:
    asked = langchain.call_requests(WAITING)
    assert list(asked) == ["r-1-ab/a", "r-1-ab/b"]
    assert asked["r-1-ab/a"]["type"] == "tool_approval" and asked["r-1-ab/a"]["tool_call_id"] == "r-1-ab/a"
    assert langchain.call_feedback(dict.fromkeys(asked, APPROVE), WAITING).actions == (Approve(steps=("a", "b")),)
    with pytest.raises(ConfigurationError, match="r-1-ab/b has no answer; answer all"):
        langchain.call_feedback({"r-1-ab/a": APPROVE}, WAITING)
    with pytest.raises(ConfigurationError, match="nothing is asked as 'r-1-ab/c'; did you mean"):
        langchain.call_feedback({**dict.fromkeys(asked, APPROVE), "r-1-ab/c": APPROVE}, WAITING)


@given(open_reviews())
def test_what_is_sent_back_as_it_came_is_approved(review: Any) -> None:
    requests = langchain.call_requests(review)
    answers = {name: edit(sent["name"], **sent["args"]) for name, sent in requests.items()}
    for name, schema in langchain.response_schemas(review).items():
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema).validate(answers[name])
        Draft202012Validator(schema).validate(APPROVE)
    steps = tuple(step.id for step in review.trajectory.steps[:-1])
    assert langchain.call_feedback(answers, review).actions == (Approve(steps=steps),)
    batched = {"decisions": [*answers.values()]}
    assert langchain.feedback(batched, review) == langchain.call_feedback(answers, review)


@given(open_reviews(), arguments)
def test_the_arguments_of_a_person_are_what_they_say(review: Any, args: dict[str, Any]) -> None:
    answers = dict.fromkeys(langchain.call_requests(review), APPROVE) | {"r-1-ab/a": edit("send", **args)}
    for action in langchain.call_feedback(answers, review).actions:
        if isinstance(action, Edit):
            meant = {name: args[name] for name in action.args}
            assert bindings.resolve(action.args, {}, review.trajectory.ids) == meant
            kept = {name: value for name, value in args.items() if name not in action.args}
            assert kept.items() <= review.step("a").args.items()


@given(values)
def test_whatever_a_peer_sends_is_feedback_or_an_error(answer: Any) -> None:
    with pytest.raises(ConfigurationError):
        langchain.feedback(answer, WAITING)


# -------------------------------------------------------------------------------------------------- the real package


def test_the_real_types_take_our_shapes() -> None:
    human = pytest.importorskip("langchain.agents.middleware.human_in_the_loop")
    from pydantic import TypeAdapter

    assert TypeAdapter(human.HITLRequest).validate_python(langchain.request(WAITING)) == langchain.request(WAITING)
    for asked in langchain.call_requests(WAITING).values():
        assert TypeAdapter(human.ToolApprovalRequest).validate_python(asked) == asked
    response = {"decisions": [APPROVE, edit("pay", to="Cy")]}
    assert langchain.feedback(TypeAdapter(human.HITLResponse).validate_python(response), WAITING)


class State(TypedDict, total=False):
    note: str
    answer: int
    actions: tuple[Any, ...]


def thread(node: Any) -> tuple[Any, Any]:
    """A graph of one node, and the configuration of a thread of it."""
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import START, StateGraph

    builder = StateGraph(State)
    builder.add_node("refine", node)
    builder.add_edge(START, "refine")
    return builder.compile(checkpointer=InMemorySaver()), {"configurable": {"thread_id": uuid.uuid4().hex}}


def test_a_thread_is_resumed_by_the_ids_of_what_is_open() -> None:
    types = pytest.importorskip("langgraph.types")

    def node(state: Any) -> Any:
        answer = types.interrupt(langchain.request(WAITING))
        return {"actions": langchain.feedback(answer, WAITING).actions}

    graph, config = thread(node)
    graph.invoke({}, config)
    (opened,) = graph.get_state(config).interrupts
    answer = {"decisions": [APPROVE, APPROVE]}
    for wrong, told in [({}, "unanswered"), ({"other": answer}, "no interrupt 'other' is open")]:
        with pytest.raises(ConfigurationError, match=told):
            langchain.resume([opened], wrong)
    with pytest.raises(ConfigurationError, match="those that are: none"):
        langchain.resume([], {opened.id: answer})
    done = graph.invoke(types.Command(resume=langchain.resume([opened], {opened.id: answer})), config)
    assert done == {"actions": (Approve(steps=("a", "b")),)}


def test_per_call_a_thread_is_asked_and_answered_by_our_ids() -> None:
    types = pytest.importorskip("langgraph.types")

    def node(state: Any) -> Any:
        schemas = langchain.response_schemas(WAITING)
        answers = {
            name: types.interrupt(asked, response_schema=schemas[name])
            for name, asked in langchain.call_requests(WAITING).items()
        }
        return {"actions": langchain.call_feedback(answers, WAITING).actions}

    graph, config = thread(node)
    graph.invoke({}, config)
    for _ in range(2):
        (opened,) = graph.get_state(config).interrupts
        assert Draft202012Validator(opened.response_schema).is_valid(edit("pay", **opened.value["args"]))
        done = graph.invoke(types.Command(resume=langchain.resume([opened], {opened.id: APPROVE})), config)
    assert done == {"actions": (Approve(steps=("a", "b")),)}


def test_a_refiner_asks_inside_a_node_until_it_is_answered_well(tmp_path: Any) -> None:
    """The node of the module's docstring."""
    types = pytest.importorskip("langgraph.types")
    office = Office(tmp_path)
    inbox = office.inbox

    def refine(state: Any) -> Any:
        result = office.go_on(commit=True)
        if not result.awaiting:
            return {"answer": result.answer}
        (review,) = result.awaiting
        answer = types.interrupt({**langchain.request(review), "note": state.get("note", "")})
        try:
            inbox.answer(review.id, langchain.feedback(answer, review))
        except ConfigurationError as error:
            return types.Command(goto="refine", update={"note": str(error)})
        return types.Command(goto="refine", update={"note": ""})

    graph, config = thread(refine)
    graph.invoke({}, config)
    notes, done = [], {}
    for decision in (edit("pya", to="Ann"), edit("pay", to="Ann", amount=450), APPROVE):
        (opened,) = graph.get_state(config).interrupts
        notes.append((opened.value["action_requests"][0]["args"]["amount"], opened.value["note"]))
        answers = langchain.resume([opened], {opened.id: {"decisions": [decision]}})
        done = graph.invoke(types.Command(resume=answers), config)
    assert [amount for amount, _ in notes] == [500, 500, 450] and "did you mean 'pay'" in notes[1][1]
    assert done["answer"] == 450 and office.bank.paid == [("Ann", 450)] and office.lm.engine.count("plan") == 1
