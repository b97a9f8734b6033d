"""What a verdict says: which statuses may be committed, and what waits."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from pivot_dspy import Established, PendingCall, Verdict
from pivot_dspy.verdict import Status


def test_only_what_was_checked_or_judged_is_verified():
    verified = {status for status in get_args(Status) if Verdict(status=status).verified}
    assert verified == {"checked", "judged"}


def test_the_steps_that_wait_are_named_once_each_in_order():
    pending = [PendingCall(step=step, tool="pay", args={"to": to}) for step, to in ("bA", "bB", "aC")]
    assert Verdict(status="provisional", pending=tuple(pending)).withheld == ("b", "a")


def test_it_goes_to_json_and_back_and_is_not_altered():
    verdict = Verdict(
        status="provisional",
        reasons=("R1 waits",),
        established=(Established(about="R1", kind="requirement", by="nobody", evidence="it waits"),),
        pending=(PendingCall(step="c", tool="pay", args={"to": "Ann", "lines": [{"amount": 1.5}]}),),
        departed="c",
    )
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
    with pytest.raises(ValidationError):
        verdict.status = "checked"


@pytest.mark.parametrize("status", ["verified", "", None, True])
def test_there_is_no_other_status(status):
    with pytest.raises(ValidationError):
        Verdict(status=status)
