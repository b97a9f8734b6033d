"""Environments of the shop of `orders_app.py`, sandboxes of it, and calls in these."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx2
from fastapi import FastAPI

from pivot_dspy import from_openapi
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.session import Session
from pivot_dspy.environments.http.build import HttpEnvironment
from tests.environment.running import run, values
from tests.environments.orders_app import made_app, served

PROBE = (("create_order", {"item": "probe"}), ("list_orders", {}))


class Shop(NamedTuple):
    """A real server and what it holds."""

    url: str
    app: FastAPI

    def environment(self, **options: Any) -> HttpEnvironment:
        return from_openapi(f"{self.url}/openapi.json", **options)

    @property
    def orders(self) -> list[str]:
        return [order.item for order in self.app.state.orders.values()]


@contextmanager
def opened_shop() -> Iterator[Shop]:
    app = made_app()
    with served(app) as url:
        yield Shop(url, app)


def sandbox() -> httpx2.AsyncClient:
    """A shop of its own, in this process."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(made_app()), base_url="http://sandbox")


@contextmanager
def committed(environment: HttpEnvironment, timeout: float = 20) -> Iterator[Session]:
    """A session in which everything acts on the real server."""
    session = SessionFactory(environment, timeout=timeout).open_real(None)
    try:
        yield session
    finally:
        session.family.close()


def answer(session: Session, tool: str, /, **args: Any) -> Any:
    """The value that one call gives, or its fault."""
    return values(run(session, (tool, args)))[0]
