"""Plans on a real server over HTTP: what runs before commit, what after, and what is said where it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import dspy
import pytest

from pivot_dspy import Budget, CommitError, Pivot
from pivot_dspy.environment.factory import SessionFactory
from tests.environment.running import run, values
from tests.environments.orders_app import TOKEN, Order, made_app, served
from tests.environments.shops import PROBE, Shop, answer, committed, opened_shop, sandbox
from tests.scripted import plan, rewrite, scripted, step, submit


@pytest.fixture(scope="module")
def server() -> Iterator[Shop]:
    with opened_shop() as shop:
        yield shop


@pytest.fixture
def shop(server: Shop) -> Shop:
    server.app.state.orders.clear()
    server.app.state.seen.clear()
    return server


@pytest.mark.parametrize("awaited", [False, True])
def test_a_plan_is_tried_and_mended_in_sandboxes_and_committed_to_the_real_server(shop: Shop, awaited: bool) -> None:
    first = [step("a", "create_order", item="tea"), step("b", "create_order", item="gold"), submit(answer="$b.id")]
    mended = [{"keep": ["a"]}, step("b", "create_order", item="silver"), step("c", "list_orders"),
              submit(answer="$c[1].item")]  # fmt: skip
    environment = shop.environment(sandbox=sandbox, probe=PROBE)
    assert (environment.forkable, environment.live_because) == (True, "")
    refiner, budget = Pivot("question -> answer", environment), Budget(lm_calls=6)
    with dspy.context(lm=scripted(plan=plan(first), evolve=rewrite(mended))):
        if awaited:
            result = asyncio.run(refiner.acall(question="Order tea and something precious.", budget=budget))
        else:
            result = refiner(question="Order tea and something precious.", budget=budget)
    assert (result.verified, result.answer, result.execution.tier) == (True, "silver", "fork")
    assert not any(call.startswith("POST") for call, _ in shop.app.state.seen)
    result.commit()
    assert shop.orders == ["tea", "silver"]


def test_without_sandboxes_reads_run_and_writes_wait_for_commit(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.app.state.orders[0] = Order(id=0, item="milk")
    steps = [step("a", "list_orders"), step("b", "create_order", item="tea"), submit(answer="$a[0].item")]
    environment = shop.environment()
    assert "give a sandbox" in environment.live_because
    with dspy.context(lm=scripted(plan=plan(steps))):
        result = Pivot("question -> answer", environment)(question="Order tea.")
    assert "cannot be copied; give a sandbox" in caplog.text
    assert (result.execution.tier, [call.tool for call in result.verdict.pending]) == ("live", ["create_order"])
    assert shop.orders == ["milk"]
    result.commit(allow="all")
    assert shop.orders == ["milk", "tea"]


def test_a_lost_call_that_declares_a_key_is_made_again_with_the_same_key_and_done_once(shop: Shop) -> None:
    steps = [step("a", "create_order", item="shaky"), submit(answer="ordered")]
    environment = shop.environment(headers={"X-Token": TOKEN})
    with dspy.context(lm=scripted(plan=plan(steps))):
        result = Pivot("question -> answer", environment)(question="Order it.")
    with pytest.raises(CommitError, match="502 Bad Gateway.*unknown whether the call did") as error:
        result.commit()
    assert TOKEN not in str(error.value)
    result.resume_commit()
    keys = [headers["idempotency-key"] for call, headers in shop.app.state.seen if call.startswith("POST")]
    assert (shop.orders, len(keys), len(set(keys))) == (["shaky"], 2, 1)


def test_a_lost_call_without_a_key_is_not_made_again(shop: Shop) -> None:
    steps = [step("a", "broken"), submit(answer="done")]
    with dspy.context(lm=scripted(plan=plan(steps))):
        result = Pivot("question -> answer", shop.environment())(question="Break it.")
    with pytest.raises(CommitError, match="500 Internal Server Error"):
        result.commit()
    with pytest.raises(CommitError, match="nobody knows whether the last call of step a did"):
        result.resume_commit()
    assert [call for call, _ in shop.app.state.seen if call.startswith("POST")] == ["POST /broken?"]


def test_a_header_that_no_operation_declares_takes_the_key_of_those_that_are_said_to_heed_it(shop: Shop) -> None:
    environment = shop.environment(idempotency_key=["replace_order"], idempotency_header="X-Request-Id")
    tools = environment.toolbox.tools
    assert "idempotency_key" in tools["create_order"].parameters  # which is now a header like any other
    with committed(environment) as session:
        answer(session, "replace_order", order_id=1, item="tea")
    (headers,) = [headers for call, headers in shop.app.state.seen if call.startswith("PUT")]
    assert len(headers["x-request-id"]) == 36


def test_a_copy_of_a_trial_goes_its_own_way(shop: Shop) -> None:
    opened = SessionFactory(shop.environment(sandbox=sandbox, probe=PROBE), timeout=20).open(None)
    run(opened, ("list_orders", {}), ("replace_order", {"order_id": 1, "item": "a"}))
    copied = opened.fork()
    answer(copied, "replace_order", order_id=2, item="b")
    assert [len(answer(session, "list_orders")) for session in (opened, copied)] == [1, 2]
    assert shop.orders == []


def test_sandboxes_that_share_their_state_are_found_out(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    with served(made_app()) as other:
        environment = shop.environment(sandbox=lambda: other, probe=PROBE)
    assert not environment.forkable and "so they share their state" in caplog.text


def test_a_real_sandbox_server_gets_no_credentials_of_the_real_one(shop: Shop) -> None:
    app = made_app()
    with served(app) as other:
        environment = shop.environment(sandbox=lambda: other, probe=PROBE, headers={"X-Token": TOKEN})
        answer(SessionFactory(environment, timeout=20).open(None), "list_orders")
    assert app.state.seen and all("x-token" not in headers for _, headers in app.state.seen)


def test_a_trial_whose_server_is_gone_never_goes_to_the_real_one(shop: Shop) -> None:
    with served(made_app()) as other:
        environment = shop.environment(sandbox=lambda: other)
        opened = SessionFactory(environment.connect(environment.server, ""), timeout=20).open(None)
        run(opened, ("create_order", {"item": "tea"}))
    # A call that was not sent leaves the trial as it was; what was done is not taken for gone.
    assert "no connection to 127.0.0.1" in answer(opened, "list_orders").message
    assert shop.orders == []


def test_errors_of_the_server_are_faults_with_what_it_says(shop: Shop) -> None:
    with committed(shop.environment()) as session:
        calls = [("get_order", {"order_id": 7}), ("create_order", {"item": "gold"}), ("get_order", {"order_id": "x"})]
        missing, refused, unfit = values(run(session, *calls))
    assert missing.message == '404 Not Found: {"detail":"there is no order 7"}'
    assert refused.message == '409 Conflict: {"detail":"gold is sold out"}'
    assert unfit.kind == "bad_arguments"


def test_redirects_are_followed_on_the_same_server_and_turn_no_write_into_a_read(shop: Shop) -> None:
    with committed(shop.environment()) as session:
        assert answer(session, "moved") == "grüezi"
        assert "redirected to another server (localhost)" in answer(session, "elsewhere").message
        assert answer(session, "moved_write", status=303) == []  # it was done, and says where to see it
        assert "422" in answer(session, "moved_write", status=307).message  # the same call at another address
        assert "OutcomeUnknown: 302 Found: redirected to /orders" in answer(session, "moved_write", status=302).message


def test_what_is_no_json_is_text_or_bytes_and_may_be_sent_on(shop: Shop) -> None:
    with committed(shop.environment()) as session:
        picture = answer(session, "picture")
        assert (picture["type"], picture["mimeType"], answer(session, "words")) == ("image", "image/png", "grüezi")
        sent = answer(session, "upload", title="x", file=picture)
        assert (sent["kind"], bytes(sent["bytes"])[:4]) == ("image/png", b"\x89PNG")
        assert answer(session, "login", user="a&b", remember=True) == {"user": "a&b", "remember": True}
        assert answer(session, "delete_order", order_id=1) is None
        assert "as `data` in base64" in answer(session, "upload", title="x", file={"data": "?"}).message


def test_a_long_answer_and_a_slow_server_are_errors_and_not_waited_for(shop: Shop) -> None:
    with committed(shop.environment(max_bytes=1000, timeout=0.2)) as session:
        assert answer(session, "flood", size=10) == ["x" * 10]
        assert "longer than 1000 bytes; ask for less" in answer(session, "flood", size=2000).message
        assert "OutcomeUnknown: no answer from 127.0.0.1 (ReadTimeout)" in answer(session, "slow").message


def test_a_server_that_is_not_there_is_a_call_that_was_not_sent() -> None:
    with opened_shop() as gone:
        environment = gone.environment()
    with committed(environment) as session:
        message = answer(session, "create_order", item="tea").message
    assert message == "not sent: no connection to 127.0.0.1 (ConnectError); is the server running?"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"place": ".."}, "would lead to another path"),
        ({"place": ""}, "would lead to another path"),
        ({"place": "a", "session": "a\nSet: b"}, "a header cannot hold"),
        ({"place": "a", "tags": ["\N{SNOWMAN}"]}, "not sent: no request can be made"),
    ],
)
def test_a_value_that_would_make_another_request_is_not_sent(
    shop: Shop, arguments: dict[str, Any], message: str
) -> None:
    with committed(shop.environment()) as session:
        shop.app.state.seen.clear()
        assert message in answer(session, "echo", **arguments).message
    assert shop.app.state.seen == []


def test_a_closed_environment_and_a_used_client_say_so(shop: Shop) -> None:
    used = sandbox()
    with pytest.raises(ValueError, match="open or closed already; give one that nothing else uses"):
        shop.environment(sandbox=lambda: used, probe=PROBE)
