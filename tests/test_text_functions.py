from __future__ import annotations

import time

import pytest

from pivot_dspy.bindings import BindingError, evaluate
from pivot_dspy.text_functions import LONGEST_READ

RESULTS = {
    "a": [{"body": "see www.x.org/a, and www.y.org"}, {"body": "nothing"}, {"body": "www.z.org"}],
    "csv": "Ann,4\nBob,2",
    "n": 5,
    "long": "x" * (LONGEST_READ + 1),
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"find_all($a[].body, 'www\.[\w./]*\w')", ["www.x.org/a", "www.y.org", "www.z.org"]),
        (r"find_all($a[0].body, 'www\.(\w)')", ["x", "y"]),
        (r"find_all($a[0].body, '(xx)?www')", []),
        ("find_all($a[0].body, '(?:s|a)(?P<rest>ee)?')", ["ee"]),
        ("find_all($a[1].body, 'www')", []),
        ("split($csv, '\n')", ["Ann,4", "Bob,2"]),
        ("split(split($csv, '\n'), ',')[?contains(@, 'n')]", ["Ann"]),
        ("replace($csv, ',', ': ')", "Ann: 4\nBob: 2"),
        ("replace($a[1:].body, 'n', 'm')", ["mothimg", "www.z.org"]),
        ("join(' / ', split($csv, '\n'))", "Ann,4 / Bob,2"),
        ("$a[?starts_with(body, 'www')].body | [0]", "www.z.org"),
    ],
)
def test_what_they_give(text: str, value: object) -> None:
    assert evaluate(text, RESULTS) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("find_all($a[].body, '(')", r"'\(' is no regular expression: missing \)"),
        ("find_all($n, 'x')", r"find_all takes a text or a list of texts, not 5; to_string\(x\) makes text of x"),
        ("find_all($a, 'x')", "find_all takes a text or a list of texts, not {'body'"),
        ("find_all($a[0].none, 'x')", "not None"),
        ("find_all($long, 'x')", "find_all reads at most 100,000 characters"),
        ("split($csv, '')", "separator is empty"),
        ("replace($csv, '', 'x')", "is empty"),
        ("replace($a[0].body, 'w', $long)", "more than 100,000 characters"),
        ("join(', ', [$n])", r"to_string\(x\) makes text of a number"),
        ("concat($csv, 'x')", r"Unknown function: concat\(\) \(the functions are .*find_all, .*join, "),
        ("find_all($csv)", "Expected 2 arguments for function find_all"),
    ],
)
def test_errors_name_the_remedy(text: str, message: str) -> None:
    with pytest.raises(BindingError, match=message):
        evaluate(text, RESULTS)


@pytest.mark.parametrize("pattern", ["(a|a)*$", "((a{1,99}){1,99}){1,99}b"])
def test_a_pattern_that_would_not_end_is_ended(pattern: str) -> None:
    began = time.perf_counter()
    with pytest.raises(BindingError, match="takes longer than"):
        evaluate(f"find_all($t, '{pattern}')", {"t": ["a" * 60 + "c" + str(i) for i in range(300)]})
    assert time.perf_counter() - began < 10
