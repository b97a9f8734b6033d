"""What a request carries of credentials stands in no value, message, prompt or journal."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from typing import Any

import dspy
import httpx2
import pytest

from pivot_dspy import Pivot
from tests.environments.orders_app import TOKEN
from tests.environments.shops import Shop, answer, committed, opened_shop
from tests.scripted import plan, scripted, step, submit


class Signed(httpx2.Auth):
    """Puts a token into the query and a header, as a user's own auth may."""

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers["X-Signature"] = TOKEN
        request.url = request.url.copy_merge_params({"key": f"{TOKEN}-2"})
        yield request


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with opened_shop() as opened:
        yield opened


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"Authorization": f"Bearer {TOKEN}"}},
        {"headers": {"X-Api-Key": TOKEN}},
        {"auth": ("user", TOKEN)},
        {"auth": Signed()},
        {"hidden": {"session": TOKEN}},
    ],
    ids=["bearer", "key", "basic", "own", "hidden"],
)
def test_a_server_that_repeats_credentials_does_not_show_them(shop: Shop, options: dict[str, Any]) -> None:
    shop.app.state.seen.clear()
    with committed(shop.environment(**options)) as session:
        echoed = answer(session, "echo", place="there")
    went_out = str(shop.app.state.seen[-1])
    assert TOKEN in went_out or "Basic" in went_out or "session" in went_out
    assert TOKEN not in str(echoed) and "(hidden)" in str(echoed) and echoed["place"] == "there"


def test_they_stand_in_no_prompt_and_not_in_what_journals_are_made_of(shop: Shop) -> None:
    environment = shop.environment(
        headers={"Tags": TOKEN}, hidden={"session": TOKEN}, orientation=[("echo", {"place": "x"})]
    )
    assert "tags" not in environment.toolbox.tools["echo"].parameters  # the client gives it anyway
    model = scripted(plan=plan([step("a", "echo", place="b"), submit(answer="$a.place")]))
    with dspy.context(lm=model):
        result = Pivot("question -> answer", environment)(question="Echo.")
    shown = "\n".join(str(entry) for entry in model.history)
    assert result.answer == "b" and "echo(" in shown
    assert TOKEN not in shown and TOKEN not in json.dumps(result.toDict())


def test_an_error_text_tells_no_header_that_cannot_be_sent(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    with committed(shop.environment(headers={"X-Api-Key": f"{TOKEN}\n"})) as session:
        message = answer(session, "echo", place="a").message
    assert message == "not sent: the request is no valid HTTP (LocalProtocolError)"
    assert TOKEN not in caplog.text
