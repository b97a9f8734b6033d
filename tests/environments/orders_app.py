"""A small shop over HTTP, whose description FastAPI writes, and a real server of it on loopback."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import uvicorn
from fastapi import Cookie, FastAPI, File, Form, Header, HTTPException, Request, Response, UploadFile
from fastapi.responses import PlainTextResponse, RedirectResponse
from pydantic import BaseModel

PICTURE = b"\x89PNG\r\n\x1a\n\x00"
TOKEN = "tok-5ecret-value"


class Order(BaseModel):
    id: int
    item: str
    amount: int = 1
    parent: Order | None = None


class NewOrder(BaseModel):
    item: str
    amount: int = 1


def made_app() -> FastAPI:
    """A shop with orders of its own, in `app.state.orders`; what came in is in `app.state.seen`."""
    app = FastAPI(title="Shop", version="1", generate_unique_id_function=lambda route: route.name)
    orders: dict[int, Order] = {}
    by_key: dict[str, Order] = {}
    seen: list[tuple[str, dict[str, str]]] = []
    app.state.orders, app.state.seen = orders, seen

    @app.middleware("http")
    async def note(request: Request, handle: Any) -> Response:
        seen.append((f"{request.method} {request.url.path}?{request.url.query}", dict(request.headers)))
        response: Response = await handle(request)
        return response

    @app.get("/orders", tags=["orders"])
    def list_orders(item: str | None = None) -> list[Order]:
        "All orders."
        return [order for order in orders.values() if item in (None, order.item)]

    @app.post("/orders", tags=["orders"], status_code=201)
    def create_order(new: NewOrder, idempotency_key: Annotated[str | None, Header()] = None) -> Order:
        if new.item == "gold":
            raise HTTPException(409, "gold is sold out")
        if idempotency_key in by_key:
            return by_key[str(idempotency_key)]
        order = Order(id=len(orders) + 1, item=new.item, amount=new.amount)
        orders[order.id] = order
        if idempotency_key is not None:
            by_key[idempotency_key] = order
        if new.item == "shaky":  # it is done, and the answer is lost once
            raise HTTPException(502, f"upstream is gone, {TOKEN}")
        return order

    @app.get("/orders/{order_id}", tags=["orders"])
    def get_order(order_id: int) -> Order:
        if order_id not in orders:
            raise HTTPException(404, f"there is no order {order_id}")
        return orders[order_id]

    @app.put("/orders/{order_id}", tags=["orders"])
    def replace_order(order_id: int, new: NewOrder) -> Order:
        orders[order_id] = Order(id=order_id, **new.model_dump())
        return orders[order_id]

    @app.delete("/orders/{order_id}", tags=["orders"], status_code=204)
    def delete_order(order_id: int) -> None:
        orders.pop(order_id, None)

    @app.get("/echo/{place}", tags=["odd"])
    def echo(
        request: Request,
        place: str,
        tags: Annotated[list[str] | None, Header()] = None,
        session: Annotated[str | None, Cookie()] = None,
        x_number: Annotated[int | None, Header()] = None,
    ) -> dict[str, Any]:
        return {
            "place": place, "query": str(request.url.query), "session": session, "number": x_number,
            "headers": dict(request.headers),
        }  # fmt: skip

    @app.get("/picture", tags=["odd"])
    def picture() -> Response:
        return Response(PICTURE, media_type="image/png")

    @app.get("/words", tags=["odd"], response_class=PlainTextResponse)
    def words() -> str:
        return "grüezi"

    @app.get("/flood", tags=["odd"])
    def flood(size: int) -> list[str]:
        return ["x" * size]

    @app.post("/upload", tags=["odd"])
    async def upload(file: Annotated[UploadFile, File()], title: Annotated[str, Form()]) -> dict[str, Any]:
        return {"title": title, "name": file.filename, "kind": file.content_type, "bytes": list(await file.read())}

    @app.post("/login", tags=["odd"])
    def login(user: Annotated[str, Form()], remember: Annotated[bool, Form()] = False) -> dict[str, Any]:
        return {"user": user, "remember": remember}

    @app.get("/moved", tags=["odd"])
    def moved() -> Response:
        return RedirectResponse("/words", 302)

    @app.get("/elsewhere", tags=["odd"])
    def elsewhere() -> Response:
        return RedirectResponse("http://localhost:9/words", 302)

    @app.post("/moved", tags=["odd"])
    def moved_write(status: int) -> Response:
        return RedirectResponse("/orders", status)

    @app.post("/slow", tags=["odd"])
    async def slow() -> str:
        await asyncio.sleep(3)
        return "done"

    @app.post("/broken", tags=["odd"])
    def broken() -> None:
        orders[99] = Order(id=99, item="broken")
        raise OSError("this ends as a 500")

    return app


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The address of a real server of an app."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            server.force_exit = True
            thread.join(5)
