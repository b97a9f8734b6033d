"""A small OpenAI-compatible server on the loopback, with the offline model behind it and failures on demand."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal

from dspy.lm15 import Response, request_from_openai_chat

from pivot_dspy.simulator import OfflineEngine
from pivot_dspy.simulator.engine import tokens

Failure = Literal["429", "500", "garbage", "timeout", "overflow", "schema", "html", "empty", "truncated", "cut"]
GARBAGE = "I would rather not say. {[<"
OVERFLOW = "request (9031 tokens) exceeds the available context size (8192 tokens), try increasing it"
NO_SCHEMA = "Invalid schema for response_format 'answer': In context=(), 'anyOf' is not permitted."
CUT = 40
"""Characters of an answer that was cut off."""
_REFUSALS = {
    "429": (429, {"message": "on demand: rate_limit_exceeded", "type": "rate_limit_exceeded"}),
    "500": (500, {"message": "on demand: server_error", "type": "server_error", "code": "server_error"}),
    "overflow": (400, {"code": 400, "message": OVERFLOW, "type": "exceed_context_size_error", "n_ctx": 8192}),
    "schema": (400, {"message": NO_SCHEMA, "type": "invalid_request_error", "param": "response_format"}),
}
_BODIES = {
    "html": ("text/html", b"<html><body><h1>nginx</h1></body></html>"),
    "empty": ("application/json", b""),
    "truncated": ("application/json", b'{"id": "chatcmpl-0", "choices": [{"index": 0, "mess'),
}


class OpenAIServer:
    """`with OpenAIServer(engine) as server:` serves `POST /chat/completions` under `server.url`.

    Attributes:
        engine: what answers; its `calls` count what was really answered by it.
        requests: the bodies of all requests so far.
        delay: seconds for which a request waits when the failure is `timeout`.
        clarity: from an answer and a position in it to the confidence of the token there, the mean of minus its
            `top_logprobs`; for requests that ask for log-probabilities.
    """

    def __init__(self, engine: OfflineEngine, *, delay: float = 1.0) -> None:
        self.engine = engine
        self.requests: list[dict[str, Any]] = []
        self.delay = delay
        self.clarity: Callable[[str, int], float] = lambda text, place: 10.0
        self._failure: Failure | None = None
        self._when: Callable[[str], bool] = lambda prompt: True
        self._times = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def fail(
        self, failure: Failure | None, *, times: int = 10**9, when: Callable[[str], bool] = lambda prompt: True
    ) -> None:
        """From now on, fail the next `times` requests whose prompt satisfies `when`; None ends it."""
        with self._lock:
            self._failure, self._times, self._when = failure, times, when

    def failure_for(self, body: dict[str, Any]) -> Failure | None:
        """Records a request and tells how it is to fail."""
        prompt = "\n".join(str(message.get("content")) for message in body.get("messages", ()))
        with self._lock:
            self.requests.append(body)
            if self._failure is None or self._times <= 0 or not self._when(prompt):
                return None
            self._times -= 1
            return self._failure

    def __enter__(self) -> OpenAIServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(owner: OpenAIServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            failure = owner.failure_for(body)
            if failure == "timeout":
                time.sleep(owner.delay)
                self.close_connection = True
                return
            if failure in _REFUSALS:
                status, error = _REFUSALS[failure]
                self._json({"error": error}, status)
                return
            if failure in _BODIES:
                self._body(*_BODIES[failure], 200)
                return
            keys = ("model", "messages", "temperature", "max_tokens", "max_completion_tokens", "response_format")
            wanted = {key: body[key] for key in keys if body.get(key) is not None}
            answer = owner.engine.answer(request_from_openai_chat(wanted))
            text = GARBAGE if failure == "garbage" else str(answer.text)
            if body.get("stream"):
                self._stream(body, text, answer)
            else:
                message = {"role": "assistant", "content": text}
                choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
                if failure == "cut":
                    message["content"], choice["finish_reason"] = text[:CUT], "length"
                if body.get("logprobs"):
                    choice["logprobs"] = _logprobs(text, body.get("top_logprobs", 0), owner.clarity)
                self._json({**_head(body, "chat.completion"), "choices": [choice], "usage": _usage(answer, text)}, 200)

        def _stream(self, body: Mapping[str, Any], text: str, answer: Response) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.close_connection = True
            pieces = [{"role": "assistant", "content": ""}]
            pieces += [{"content": text[start : start + 4]} for start in range(0, len(text), 4)]
            choices = [{"index": 0, "delta": piece, "finish_reason": None} for piece in pieces]
            choices.append({"index": 0, "delta": {}, "finish_reason": answer.finish_reason})
            for choice in choices:
                self._event({**_head(body, "chat.completion.chunk"), "choices": [choice]})
            if (body.get("stream_options") or {}).get("include_usage"):
                self._event({**_head(body, "chat.completion.chunk"), "choices": [], "usage": _usage(answer, text)})
            self.wfile.write(b"data: [DONE]\n\n")

        def _event(self, data: Mapping[str, Any]) -> None:
            self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
            self.wfile.flush()

        def _json(self, data: Mapping[str, Any], status: int) -> None:
            self._body("application/json", json.dumps(data).encode(), status)

        def _body(self, kind: str, written: bytes, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(written)))
            self.end_headers()
            self.wfile.write(written)

        def log_message(self, format: str, *args: Any) -> None:
            """Requests are recorded, not printed."""

    return Handler


def _head(body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-0", "object": kind, "created": 0, "model": body.get("model", "")}


def _logprobs(text: str, count: int, clarity: Callable[[str, int], float]) -> dict[str, Any]:
    """Tokens of four characters, each with its `count` alternatives, of which the first is the chosen one."""

    def alternatives(place: int) -> list[float]:
        return [-0.1, *([-(clarity(text, place) * count - 0.1) / (count - 1)] * (count - 1))] if count > 1 else []

    content = []
    for place in range(0, len(text), 4):
        token = {"token": text[place : place + 4], "logprob": -0.1, "bytes": None}
        content.append({**token, "top_logprobs": [{**token, "logprob": one} for one in alternatives(place)]})
    return {"content": content}


def _usage(answer: Response, text: str) -> dict[str, Any]:
    prompt, completion = answer.usage.input_tokens or 0, tokens(text)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
