"""The package's checker as a metric: its calls, its globals, threads; and the references of the offline model."""

from __future__ import annotations

import ast
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy import Pivot, Step, Trajectory
from programs.multi_turn import reference
from programs.multi_turn.checker import call_text, calls, score, valid
from programs.multi_turn.environment import Conversation, Conversations
from programs.multi_turn.tools import END_TURN
from tests.programs.conversations import need_package, ran, task, tasks

need_package()

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
END: tuple[str, dict[str, Any]] = (END_TURN, {})


@given(st.dictionaries(st.sampled_from(["a", "content", "file_name"]), JSON | st.just("mean (x) \\(")))
def test_a_call_reads_back_as_it_was(args: dict[str, Any]) -> None:
    text = call_text("echo", args)
    assert text.count("(") == 1
    call = ast.parse(text, mode="eval").body
    assert isinstance(call, ast.Call)
    assert {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords} == args


def test_calls_by_turn() -> None:
    case, _ = task("multi_turn_base_0")
    each = {"for_each": "$a.matches", "args": {"file_name": "$item"}}
    execution = ran(
        case,
        ("find", {"args": {"name": "pdf"}}),
        ("cat", each),  # fails for each: no path is allowed
        END,
        ("cd", {"args": {"folder": "document"}}),
        ("cat", {"args": {"file_name": "join('', [$d.current_working_directory, '.txt'])"}}),  # runs, and fails
        ("cat", {"args": {"folder": "x"}}),  # does not run
        ("cat", {"args": {"file_name": "$e.file_content"}}),  # does not run
        ("echo", {"args": {"content": "costs $$5 (five)"}}),
        END,
    )
    assert calls(execution) == [
        ["find(name='pdf')", "cat(file_name='./document/final_report.pdf')",
         "cat(file_name='./document/previous_report.pdf')"],
        ["cd(folder='document')", "cat(file_name='document.txt')", "echo(content='costs $5 \\x28five)')"],
        [],
    ]  # fmt: skip


def test_turns_that_are_wanting_or_too_many() -> None:
    case, gold = task("multi_turn_base_0")
    turns = [list(turn) for turn in gold]
    assert valid(case, gold, turns) and valid(case, gold, [*turns, []])
    assert not valid(case, gold, turns[:-1])
    assert not valid(case, gold, [*turns, ["pwd()"]])
    assert not valid(case, gold, [[call for turn in turns for call in turn]])
    assert score(None, case, gold) == (False, False)


def test_nothing_is_kept_in_the_package() -> None:
    case, gold = task("multi_turn_base_0")
    kept = vars(sys.modules["bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils"])
    before = set(kept)
    for _ in range(3):
        assert valid(case, gold, gold)
        assert not valid(case, gold, [[] for _ in gold])
    assert set(kept) == before


def test_in_threads() -> None:
    chosen = [*tasks("base").values()][24:64]  # some with the Math API, whose precision is global
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda pair: valid(pair[0], pair[1], pair[1]), chosen * 2))


def test_gold_that_is_given_by_position() -> None:
    case, gold = task("multi_turn_base_0")
    assert gold[2] == ("sort('final_report.pdf')",)
    assert reference.read_call(case, gold[2][0]) == ("sort", {"file_name": "final_report.pdf"})
    with pytest.raises(ValueError, match="multi_turn_base_0: 'sort\\(x\\)' cannot be read"):
        reference.read_call(case, "sort(x)")


def test_a_reference() -> None:
    case, gold = task("multi_turn_miss_param_0")
    known = reference.reference(case, gold)
    assert [item["id"] for item in known.requirements] == ["R1", "R2", "R3", "R4", "R5"]
    assert "closed without calls" in known.requirements[3]["text"]
    assert known.serves["t2_2"] == ["R2"] and known.serves["t2_end"] == ["R2", "R3", "R4", "R5"]
    assert known.steps[-1]["tool"] == "submit"
    first, *_, end, closed = known.truths["R2"].splitlines()
    assert (first, end, closed) == ('t2_1 cd {"folder": "temp"} ->', "t2_end end_turn {} ->", '| {"closed": 2}')
    assert known.truths["R4"] == "\n".join(f't{n}_end end_turn {{}} ->\n| {{"closed": {n}}}' for n in (3, 4))


UNNAMED = {"multi_turn_long_context_120": ("step t1_2: the judge's quote does not name Buy",)}
"""Where a text that was read speaks of such a call, and a value of it is in no words of the request: no judge may pass
it."""


@pytest.mark.parametrize("name", ["base", "long_context", "miss_func", "miss_param"])
def test_without_errors_the_offline_model_passes_and_verifies(name: str) -> None:
    chosen = [*tasks(name).values()][::40]
    cases, gold = [case for case, _ in chosen], {case.id: expected for case, expected in chosen}
    pivot = Pivot(Conversation, Conversations(cases).open)
    pivot.set_lm(reference.model(cases, gold, slip=0, heed=1, relapse=0, cache=False))
    for case in cases:
        result = pivot(**case.inputs)
        assert score(result.execution, case, gold[case.id]) == (True, True)
        unnamed = UNNAMED.get(case.id, ())
        assert result.verdict.reasons == unnamed and result.verified is not bool(unnamed)
        asked = 2 if unnamed else 1  # of what does not count it is asked again
        assert result.ledger.phases["verify"].lm_calls == asked and result.tier == "fork"  # nothing had to be mended


def test_a_wrong_step_is_found_and_mended() -> None:
    case, gold = task("multi_turn_base_0")
    pivot = Pivot(Conversation, Conversations([case]).open)
    pivot.set_lm(reference.model([case], {case.id: gold}, slip=0, heed=1, relapse=0, cache=False))
    steps = list(reference.plan(case, gold).steps)
    steps[1] = Step(id="t1_2", tool="mkdir", args={"dir_name": "tmp"})
    result = pivot(**case.inputs, trajectory=Trajectory(steps=tuple(steps)))
    assert result.verified and score(result.execution, case, gold) == (True, True)
