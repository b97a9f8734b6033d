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


def briefly(description: str, has_result: bool = True, name: str = "send_email", **parameters: str) -> str:
    return describe_briefly(name, description, parameters, has_result=has_result)


@pytest.mark.parametrize(
    ("description", "parameters", "told"),
    [
        ("", {}, ""),
        ("", {"day": ""}, ""),
        ("Sends an email.", {}, "Sends an email."),
        ("Sends an\n   email.", {"body": "The body\nof the email."}, "Sends an email."),
        ("Sends an email. Returns the email.", {}, "Sends an email."),
        ("Sends an email. It returns its id. Asks nobody.", {}, "Sends an email. Asks nobody."),
        ("Returns all emails.", {}, "Returns all emails."),  # the first sentence says what it does, whatever it says
        ("Sends an email.", {"to": "The address to send it to."}, "Sends an email.; to: The address to send it to."),
        ("Sends an email to an address.", {"to": "The address of the email."}, "Sends an email to an address."),
        ("Sends an email.", {"cc": "If `null`, no copies are sent."}, "Sends an email."),
        ("Sends an email.", {"cc": "If none, no copies. At most 3."}, "Sends an email.; cc: At most 3."),
        ("Sends it.", {"day": "The day. In the form YYYY-MM-DD."}, "Sends it.; day: In the form YYYY-MM-DD."),
        ("Sends it.", {"email": "The email, must not be sent."}, "Sends it.; email: The email, must not be sent."),
        ("Sends it.", {"kind": "The kind, 'draft' or 'sent'."}, "Sends it.; kind: The kind, 'draft' or 'sent'."),
        ("Sends it. Returns -1 on Sundays.", {}, "Sends it. Returns -1 on Sundays."),
        ("Sends it. Returns its id Args: to: whom", {}, "Sends it. Returns its id Args: to: whom"),
        ("", {"day": "The day."}, ""),
        ("", {"day": "A weekday."}, "day: A weekday."),
    ],
)  # fmt: skip
def test_what_goes_without_saying_is_left_out(description: str, parameters: dict[str, str], told: str) -> None:
    assert briefly(description, **parameters) == told


def test_what_it_returns_is_told_where_no_type_tells_it() -> None:
    about = "Sends an email. Returns the email."
    assert briefly(about, has_result=False) == about


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
    st.dictionaries(st.sampled_from(["email", "body", "day", "kind"]), SENTENCES, max_size=3), st.booleans(),
)  # fmt: skip
def test_nothing_exact_is_lost_and_nothing_is_made_up(
    name: str, description: str, parameters: dict[str, str], has_result: bool
) -> None:
    told = describe_briefly(name, description, parameters, has_result=has_result)
    everything = "; ".join([description, *(f"{parameter}: {text}" for parameter, text in parameters.items())])
    assert "\n" not in told and len(told) <= len(everything)
    first = re.split(r"(?<=\.) ", description)[0]
    assert told.startswith(first)
    for parameter, text in parameters.items():
        for exact in ("At most 10 of them.", "Never `x`.", "In ISO form.", 'Like "a".', "Only 'big' ones."):
            assert (exact in text) <= (exact in told)
        assert (f"{parameter}: " in told) <= bool(text)
    if not has_result:
        assert told.startswith(description)


@given(st.text(max_size=200), st.dictionaries(st.sampled_from("abc"), st.text(max_size=80), max_size=3))
def test_whatever_is_written_is_told_in_one_line(description: str, parameters: dict[str, str]) -> None:
    told = describe_briefly("a_tool", description, parameters, has_result=False)
    assert len(told.splitlines()) <= 1


def test_a_tool_is_shown_so() -> None:
    def share(
        file: Annotated[str, Field(description="The file to share.")],
        permission: Annotated[str, Field(description="One of r and rw.")],
    ) -> bool:
        """Share a file. Returns whether it worked."""
        return bool(file and permission)

    spec = describe(share, name="share", effect="write")
    assert spec.details == "Share a file.; permission: One of r and rw."
