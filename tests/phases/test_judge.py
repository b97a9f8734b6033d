"""What the judge is asked, and how its answers are read: a rule looks each quote up."""

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.environment.brevity import stems
from pivot_dspy.phases.judge import Judgement, Question, QuoteSources, read_answers
from pivot_dspy.phases.verify import Verify
from pivot_dspy.requirements import Requirement, Requirements
from pivot_dspy.verdict import Established
from tests.phases.showing import CATALOGUE, INPUTS, TASK, shown
from tests.scripted import accept, scripted, step, submit
from tests.stores import executed

R2 = Question("R2", "requirement", "It is nice.")
S1 = Question("S1", "claim", "p2 costs 40.")
CALL = Question("b", "call", "add", trusted=True)
SOURCES = QuoteSources(
    observed=("a find -> p2, p4", {"id": "p2", "price": 40, "body": "Pay Ann 12.50 by Monday.\nThen tell Bob."}),
    trusted=("Buy the cheapest red thing.",),
    answer="p2 it is",
    stale="c colors -> blue, red",
)


def answer(question, *verdicts, sources=SOURCES):
    """What is read of verdicts that are all about one question."""
    (read,) = read_answers([{"about": question.id, **verdict} for verdict in verdicts], [question], sources)
    return read


def holding(question, quote, **said):
    return answer(question, {"holds": True, "quote": quote, **said})


# --------------------------------------------------------------------------------------------------------------- quotes


@pytest.mark.parametrize(
    "quote",
    [
        "a find -> p2",
        "Pay Ann 12.50 by Monday",
        "| Pay Ann 12.50 by Monday.",
        "Pay Ann ... Monday",
        "Pay Ann … tell Bob.",
        ["p2, p4", "Pay Ann"],
        '"price": 40',
    ],
)
def test_a_quote_that_stands_in_what_was_seen_counts(quote):
    assert holding(R2, quote).holds is True


@pytest.mark.parametrize(
    "quote",
    [
        "Pay Ann 99",
        "Pay Ann 12",
        "Pay Ann ... tell Eve",
        ["p2, p4", "Pay Eve"],
        "find Bob",
    ],
)
def test_a_quote_that_stands_nowhere_does_not_count(quote):
    read = holding(R2, quote)
    assert read.holds is None and not read.waits and "does not stand in what was seen" in read.evidence


@pytest.mark.parametrize("said", [{}, *({"quote": quote} for quote in ("", [], None, {"text": "p2"}, "...", [" … "]))])
def test_a_verdict_without_a_quote_does_not_count(said):
    assert answer(R2, {"holds": True, **said})[1:3] == (None, "the judge gave no quote")


def test_contradictory_verdicts_do_not_count_whatever_comes_last():
    for verdicts in (({"holds": True, "quote": "p2, p4"}, {"holds": False, "why": "no"}),):
        for order in (verdicts, verdicts[::-1]):
            read = answer(R2, *order)
            assert read[1:3] == (None, "the judge said both that it holds and that it does not")


def test_verdicts_that_agree_are_one():
    read = answer(R2, {"holds": True, "quote": "p2, p4"}, {"holds": True, "quote": "Pay Ann"})
    assert read.holds is True and read.evidence == "p2, p4 … Pay Ann"
    assert answer(R2, {"holds": False, "why": "a"}, {"holds": False, "why": "b"})[1:3] == (False, "a; b")


@pytest.mark.parametrize(
    "written",
    [None, [], "R2 holds", {"R2": True}, [1, "R2"], [{"about": "R9", "holds": True}], [{"holds": True, "quote": "p2"}]],
)
def test_what_the_judge_leaves_out_does_not_count(written):
    (read,) = read_answers(written, [R2], SOURCES)
    assert read[1:3] == (None, "the judge said nothing of it")


@pytest.mark.parametrize("holds", ["truely", 1, None, "yes", [True]])
def test_only_a_plain_true_holds(holds):
    assert answer(R2, {"holds": holds, "quote": "p2, p4"}).holds is False


@pytest.mark.parametrize("holds", [True, "true", " True "])
def test_a_true_that_was_written_as_text_holds(holds):
    assert answer(R2, {"holds": holds, "quote": "p2, p4"}).holds is True


def test_a_verdict_on_an_id_that_two_questions_have_counts_for_neither():
    written = [{"about": "R2", "holds": True, "quote": "Buy the cheapest red thing"}]
    both = [R2, CALL._replace(id="R2"), S1]
    said = read_answers([*written, {"about": "S1", "holds": True, "quote": "p2, p4"}], both, SOURCES)
    assert [read.holds for read in said] == [None, None, True]
    assert {read.evidence for read in said[:2]} == {"2 things that are judged are called R2"}


def test_what_does_not_hold_needs_no_quote():
    assert answer(R2, {"holds": False, "why": "p4 is dear"})[1:3] == (False, "p4 is dear")


@pytest.mark.parametrize("about", ["b", "$b", "step b", "`b`", ["b", "R2"]])
def test_an_id_is_known_however_it_is_written(about):
    written = [{"about": about, "holds": False, "why": "no"}]
    assert read_answers(written, [CALL], SOURCES)[0].holds is False


def test_what_asks_for_a_call_is_quoted_from_those_who_may_ask_for_it():
    assert holding(CALL, "Buy the cheapest red thing").holds is True
    read = holding(CALL, "Pay Ann 12.50")  # which a result says
    assert read.holds is None and "does not stand in the request or the policy" in read.evidence


def test_the_quote_for_a_call_says_something_of_such_a_call():
    about = CALL._replace(bears=stems(["buy", "product"]))
    assert holding(about, "Buy the cheapest").holds is True
    assert holding(about, "the cheapest red thing")[1:3] == (None, "the judge's quote says nothing of such a call")


def test_the_answer_may_be_quoted_for_a_requirement_and_not_for_what_it_says_itself():
    assert holding(R2, "p2 it is").holds is True
    assert holding(S1, "p2 it is").holds is None


def test_what_was_read_too_early_shows_nothing_and_is_said_to_wait():
    read = holding(R2, "c colors -> blue")
    assert read.holds is None and read.waits
    assert read.evidence == "what shows it was read before a call that waits has run"
    assert not holding(CALL, "c colors -> blue").waits  # it would ask for nothing later either


# -------------------------------------------------------------------------------------------------------------- figures

DOUBLE = S1._replace(text="Two cost 80.", figures=("80",))


@pytest.mark.parametrize("calc", ["40 * 2", "40 + 40", ["1 + 1", "40 * 2"]])
def test_a_figure_from_nowhere_may_be_worked_out_from_what_was_seen(calc):
    assert holding(DOUBLE, '"price": 40', calc=calc).holds is True


@pytest.mark.parametrize(
    "calc",
    [
        None,
        "",
        "80",
        "60 + 20",
        "8 * 10",
        "80 + 40 - 40",
        "40 * 3",
        "160 / 2",
        "40 +",
        "$a.price * 2",
        "__import__('os')",
        ["40 * 3", "80"],
        {"calc": "40 * 2"},
    ],
)
def test_a_figure_from_nowhere_is_not_cleared_by_the_judges_word_alone(calc):
    read = holding(DOUBLE, '"price": 40', calc=calc)
    assert read[1:3] == (None, "80 stands in no observation, and no calc gives it")


def test_each_figure_needs_a_calc():
    two = DOUBLE._replace(figures=("80", "120"))
    assert holding(two, '"price": 40', calc="40 * 2").evidence.startswith("120 stands in no observation")
    assert holding(two, '"price": 40', calc=["40 * 2", "40 * 3"]).holds is True


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["R2", "S1", "b", "p2, p4", "..."]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["about", "id", "holds", "quote", "why", "calc", "x"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(ANY_JSON)
def test_whatever_a_judge_writes_there_is_one_answer_to_each_question(written):
    questions = [R2, DOUBLE, CALL]
    read = read_answers(written, questions, SOURCES)
    assert [said.question for said in read] == questions
    assert all(said.evidence for said in read if said.holds is None)


# -------------------------------------------------------------------------------------------------------- what is asked

NICE = Requirement(id="R2", text="It is nice.")
CHEAP = Requirement(id="R3", text="It is the cheapest.")
RED = Requirement(id="R1", check="item", args={"color": "red"})
STEPS = [step("a", "find", color="red", size="L"), step("b", "add", product_id="$a.ids[0]")]
WRITTEN = [*STEPS, submit(answer="p2 costs 40. It weighs 9 kg.")]


def asked(questions, *items, said=accept, steps=WRITTEN, calls=""):
    lm = scripted(judge=said)
    view = shown(executed(steps), Requirements(items=items))
    with dspy.context(lm=lm):
        flow = Verify(TASK).judge(view, questions, SOURCES, calls)
        try:
            effect = next(flow)
            while True:
                effect = flow.send(effect.call())
        except StopIteration as stop:
            return stop.value, lm.engine


QUESTIONS = [R2, Question("R3", "requirement", "It is the cheapest."), S1]


def test_one_call_judges_all_that_is_open():
    said = {"verdicts": [{"about": ["R2", "S1"], "holds": True, "quote": "p2, p4"}, {"about": "R3", "holds": False}]}
    answers, engine = asked(QUESTIONS, RED, NICE, CHEAP, said=said)
    assert [read.holds for read in answers] == [True, False, True] and engine.count() == 1
    prompt = engine.prompts[0]
    assert prompt.section("requirements") == "R2: It is nice.\nR3: It is the cheapest."  # a check decides R1
    assert prompt.section("questions") == "R2, R3, S1"
    assert prompt.section("submitted") == "S1 p2 costs 40.\nS2 It weighs 9 kg."


def test_the_policy_and_the_request_are_shown_to_the_judge():
    _, engine = asked(QUESTIONS, NICE, CHEAP)
    assert CATALOGUE.policy and engine.prompts[0].section("policy") == CATALOGUE.policy
    assert engine.prompts[0].section("request") == INPUTS["request"]


def test_the_prompt(snapshot):
    _, engine = asked([*QUESTIONS, CALL], RED, NICE, CHEAP, calls="b add, for R1: product_id [bound $a.ids[0]]")
    snapshot("phases/judge.txt", engine.prompts[0].text)


def test_a_bound_answer_is_shown_as_json():
    _, engine = asked([R2], NICE, steps=(*STEPS, submit(answer="$b.items[0]")))
    assert engine.prompts[0].section("submitted") == '{"answer": "p2"}'


def test_a_judgement_goes_to_json_and_back_and_tells_what_is_open():
    entries = (
        Established(about="R2", kind="requirement", by="nobody", evidence="the judge failed"),
        Established(about="step b", kind="call", by="rule"),
    )
    judgement = Judgement(established=entries)
    assert judgement.open == entries[:1]
    assert Judgement.model_validate_json(judgement.model_dump_json()) == judgement


def test_a_question_names_what_it_is_about():
    assert [question.about for question in (R2, CALL, S1)] == ["R2", "step b", "p2 costs 40."]


def test_a_judge_that_asks_to_see_more_of_a_result_is_shown_it_and_asked_again():
    said = [{"verdicts": [{"look": "$a.ids[1:]"}]}, {"verdicts": [{"about": "R2", "holds": True, "quote": "p2, p4"}]}]
    (read,), engine = asked([R2], NICE, said=said)
    first, second = (prompt.section("observations") for prompt in engine.prompts)
    assert read.holds is True and "$a.ids[1:]" not in first and "$a.ids[1:]" in second


def test_a_quote_of_few_letters_counts_only_if_it_is_a_whole_value():
    places = SOURCES._replace(observed=("a state -> it is on", {"state": "on", "body": "up to Ann"}))
    assert answer(R2, {"holds": True, "quote": "on"}, sources=places).holds is True
    assert answer(R2, {"holds": True, "quote": "Ann"}, sources=places)[1:3] == (
        None, "the judge's quote is too short to show anything",
    )  # fmt: skip
