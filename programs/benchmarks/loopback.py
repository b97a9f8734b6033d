"""A model behind a real HTTP server on the loopback, in a process of its own: its work is not that of who calls it."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import cycle
from multiprocessing.connection import Connection
from typing import Any

import dspy


@contextmanager
def served(answers: Sequence[str]) -> Iterator[dspy.LM]:
    """A language model of DSPy's own HTTP engine, whose server gives the answers in turn, again and again."""
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    process = spawning.Process(target=_serve, args=(tuple(answers), there), daemon=True)
    process.start()
    try:
        url = f"http://127.0.0.1:{here.recv()}/v1"
        yield dspy.LM("openai/loopback", engine="lm15", api_base=url, api_key="none", cache=False, num_retries=0)
    finally:
        process.terminate()
        process.join()


def _serve(answers: Sequence[str], ready: Connection) -> None:
    turns = cycle(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # which keeps connections open
        wbufsize = -1  # an answer in one piece, not held back until its head is acknowledged

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps(_completion(next(turns))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is logged."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        ready.send(server.server_address[1])
        server.serve_forever()


def _completion(text: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    head = {"id": "0", "object": "chat.completion", "created": 0, "model": "loopback"}
    return {**head, "choices": [choice], "usage": usage}
