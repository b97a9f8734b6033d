#!/usr/bin/env bash
# dspy 3.4.1, litellm 1.110.2: where a prompt is longer than a llama.cpp server's context, the server answers
# 400 with the type exceed_context_size_error. dspy.LM(engine="litellm") raises ContextWindowExceededError for it,
# dspy.LM(engine="lm15") LMInvalidRequestError: the same answer of the same server, so that what catches the one to cut
# the prompt (or to fall back) misses the other.
# Output seen:
#   lm15: LMInvalidRequestError | litellm: ContextWindowExceededError
# Valid input, no model; a server on the loopback gives llama.cpp's answer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "dspy==3.4.1" "litellm==1.110.2"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dspy

logging.disable(logging.CRITICAL)
ANSWER = {
    "error": {
        "code": 400,
        "message": "request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 9000,
        "n_ctx": 8192,
    }
}


class Llama(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(ANSWER).encode()
        self.send_response(400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Llama)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_address[1]}/v1"
seen = {}
for engine in ("lm15", "litellm"):
    lm = dspy.LM("openai/local", api_base=url, api_key="x", engine=engine, num_retries=0, cache=False)
    try:
        lm("How are you?")
    except Exception as error:
        seen[engine] = type(error).__name__
print(f"lm15: {seen['lm15']} | litellm: {seen['litellm']}")
if seen != {"lm15": "LMInvalidRequestError", "litellm": "ContextWindowExceededError"}:
    raise SystemExit("changed: what an overflow is called")
PYTHON
echo "as stated"
