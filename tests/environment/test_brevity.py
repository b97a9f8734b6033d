"""A tool's description is told without what its name, its types and itself have said before; nothing exact is lost."""

from __future__ import annotations

import re
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from pivot_dspy.environment.brevity import describe_briefly
from pivot_dspy.environment.toolbox import describe


def briefly(description: str, result: str = "Email", name: str = "send_email", **parameters: str) -> str:
    return describe_briefly(name, description, parameters, result=result)


@pytest.mark.parametrize(
    ("description", "parameters", "told"),
    [
        ("", {}, ""),
        ("", {"day": ""}, ""),
        ("Sends an email.", {}, ""),
        ("Sends an email to a friend.", {}, "Sends an email to a friend."),
        ("Sends an email, never twice.", {}, "Sends an email, never twice."),
        ("Sends an email to `recipient`.", {"recipient": ""}, "Sends an email to `recipient`."),  # not from it
        ("Sends an email with `body`.", {"body": ""}, ""),
        ("Sends an email with `body`.", {}, "Sends an email with `body`."),
        ("Posts\n   it.", {"body": "The body\nof the email."}, "Posts it."),
        ("Posts it. Returns the email.", {}, "Posts it."),
        ("Posts it. It returns its id. Asks nobody.", {}, "Posts it. Asks nobody."),
        ("Posts it. Each email has a body.", {"body": ""}, "Posts it."),
        ("Posts it. Each email has a body.", {}, "Posts it. Each email has a body."),
        ("Returns all emails.", {}, "Returns all emails."),  # the first sentence says what it does, whatever it says
        ("Posts it.", {"to": "The address to send it to."}, "Posts it.; to: The address to send it to."),
        ("Sends an email to an address.", {"to": "The address of the email."}, "Sends an email to an address."),
        ("Posts it.", {"cc": "If `null`, no copies are sent."}, "Posts it."),
        ("Posts it.", {"cc": "If none, no copies. At most 3."}, "Posts it.; cc: At most 3."),
        ("Posts it.", {"day": "The day. In the form YYYY-MM-DD."}, "Posts it.; day: In the form YYYY-MM-DD."),
        ("Posts it.", {"email": "The email, must not be sent."}, "Posts it.; email: The email, must not be sent."),
        ("Posts it.", {"kind": "The kind, 'draft' or 'sent'."}, "Posts it.; kind: The kind, 'draft' or 'sent'."),
        ("Posts it.", {"start": "As HH:MM.", "end": "As HH:MM."}, "Posts it.; start, end: As HH:MM."),
        ("Posts it. Returns -1 on Sundays.", {}, "Posts it. Returns -1 on Sundays."),
        ("Posts it. Returns its id Args: to: whom", {}, "Posts it. Returns its id Args: to: whom"),
        ("", {"day": "The day."}, ""),
        ("", {"day": "A weekday."}, "day: A weekday."),
    ],
)  # fmt: skip
def test_what_goes_without_saying_is_left_out(description: str, parameters: dict[str, str], told: str) -> None:
    assert briefly(description, **parameters) == told


def test_what_it_returns_is_told_where_no_type_tells_it() -> None:
    about = "Posts it. Returns the email."
    assert briefly(about, result="") == about
    assert briefly(about) == "Posts it."


def test_which_end_of_a_call_its_parameter_is_is_told() -> None:
    assert briefly("Get messages to the user.", name="get_messages", user="") == "Get messages to the user."
    assert briefly("Get messages of the user.", name="get_messages", user="") == ""


SENTENCES = st.lists(
    st.sampled_from(
        [
            "The email.", "Of the body.", "Returns it.", "If null, nothing.", "At most 10 of them.", "Never `x`.",
            "Must not be empty.", "Overdue ones too.", "In ISO form.", 'Like "a".', "Only 'big' ones.",
        ]
    ),
    max_size=4,
).map(" ".join)  # fmt: skip


@given(
    st.sampled_from(["send_email", "get_body", "x"]), SENTENCES,
    st.dictionaries(st.sampled_from(["email", "body", "day", "kind"]), SENTENCES, max_size=3),
    st.sampled_from(["", "Email", "[Email] {id, body}"]),
)  # fmt: skip
def test_nothing_exact_is_lost_and_nothing_is_made_up(
    name: str, description: str, parameters: dict[str, str], result: str
) -> None:
    told = describe_briefly(name, description, parameters, result=result)
    everything = "; ".join([description, *(f"{parameter}: {text}" for parameter, text in parameters.items())])
    assert "\n" not in told and len(told) <= len(everything)
    for text in (description, *parameters.values()):
        for exact in ("At most 10 of them.", "Never `x`.", "In ISO form.", 'Like "a".', "Only 'big' ones."):
            assert (exact in text) <= (exact in told)
    for parameter, text in parameters.items():
        assert (re.search(rf"\b{parameter}(, \w+)*: ", told) is not None) <= bool(text)
    if not result:
        assert description.partition(". ")[2] in told


@given(st.text(max_size=200), st.dictionaries(st.sampled_from("abc"), st.text(max_size=80), max_size=3))
def test_whatever_is_written_is_told_in_one_line(description: str, parameters: dict[str, str]) -> None:
    told = describe_briefly("a_tool", description, parameters)
    assert len(told.splitlines()) <= 1


def test_a_tool_is_shown_so() -> None:
    def share(
        file: Annotated[str, Field(description="The file to share.")],
        permission: Annotated[str, Field(description="One of r and rw.")],
    ) -> bool:
        """Share a file. Returns whether it worked."""
        return bool(file and permission)

    spec = describe(share, name="share", effect="write")
    assert spec.details == "permission: One of r and rw."
