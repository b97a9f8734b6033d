"""What a text tells: figures, times and durations, each in the forms that people write."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.told import read, tells


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("12.00, $1,200.50 and 7.", {"12", "1200.5", "7"}),
        ("-5 or 3-4", {"-5"}),
        ("2024-05-15, May 3rd 2024, the 4 of June, 10:30, 5 pm and 24.12.2024", set()),
        ("a1 v2.0 x-3 #4 room 5", {"4", "5"}),
        (f"{'1' * 5000} 3", {"3"}),
        ("Do this:\n1. Pay 30.\n2. Pay 40", {"30", "40"}),
    ],
)
def test_figures(text, figures):
    assert read(text).figures == figures


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("from January 11th to January 15th 2025", {(None, 1, 11), (2025, 1, 15)}),
        ("the 15th of November, 2024/11/16 or Nov. 17, 2024", {(None, 11, 15), (2024, 11, 16), (2024, 11, 17)}),
        ("2024-05-15T10:00:00 and not 12024-05-15", {(2024, 5, 15)}),
        ("maybe 5, marching 10", set()),
    ],
)
def test_days(text, days):
    assert read(text).days == days


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("10 am, 10:30 PM, 12 a.m. and noon", {(10, 0), (22, 30), (0, 0), (12, 0)}),
        ("2024-05-15T16:05:00", {(16, 5)}),
        ("10 amazing people, 5 pounds", set()),
    ],
)
def test_times(text, times):
    assert read(text).times == times


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("for one hour", {60}),
        ("a 1-hour long event", {60}),
        ("half an hour", {30}),
        ("an hour and a half", {90}),
        ("2 hours 15 minutes", {135}),
        ("1.5 hours", {90}),
        ("for 3 days, after two weeks", {4320, 20160}),
        ("the hour of need", set()),
    ],
)
def test_durations(text, minutes):
    assert {size for size, _ in read(text).durations} == minutes


def test_a_sentence_that_follows_without_a_space_ends_an_address():
    assert tells(read("Post to www.our-company.com.They sent it"), "www.our-company.com")
    assert not tells(read("Post to www.our-company.com.au"), "www.our-company.com")


@given(st.floats(0, 1e9, allow_nan=False).map(lambda it: round(it, 2)))
def test_a_figure_is_told_in_every_form_of_its_own(number):
    for text in (f"{number:.2f}", f"{number:,.2f}", f"${number:.2f}.", f"({number:.2f})"):
        assert tells(read(f"Pay {text} now"), number)
    assert not tells(read(f"Pay 7{number:.2f} now"), number)


@given(st.dates(date(1000, 1, 1)), st.sampled_from(["%Y-%m-%d", "%B %d, %Y", "%d %b %Y", "%Y/%m/%d"]))
def test_a_day_is_told_in_every_form(day, form):
    assert tells(read(f"Come on {day.strftime(form)}, please"), day.isoformat())
