"""A local HTTP server that answers like an LLM server, or fails, stalls and lies as configured."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("openai", reason="the openai extra is not installed")

from acclimate.llm import Decoding
from acclimate.llm.backends.server import ServerLLM
from acclimate.llm.server.gate import Patience

PROMPTS = [f"Document: number {n}\nQuestion:" for n in range(24)]
HASTY = Patience(retries=5, request_seconds=1.0, prompt_seconds=20)  # long enough for a busy machine


def chat(text, finish="stop", logprobs=None, **more):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish, **more}
    if logprobs is not None:
        choice["logprobs"] = {"content": [{"token": token, "logprob": value} for token, value in logprobs]}
    return {
        "id": "1",
        "object": "chat.completion",
        "choices": [choice],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3},
    }


def echo(request):
    number = request["messages"][0]["content"].split("number ")[1].split("\n")[0]
    return chat(f"what is number {number}")


class Server(ThreadingHTTPServer):
    """Answers by `reply(request, nth)`: an answer, (status, headers, text), or None to close the connection."""

    daemon_threads = True
    request_queue_size = 64  # with the default of 5, further connections would be delayed by a second
    reply = staticmethod(lambda request, nth: echo(request))
    part, pause = 1 << 30, 0.0  # bytes of an answer sent at a time, and seconds between
    drips_headers = False  # send headers like this too

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests, self.times, self.keys, self.paths = [], {}, [], []
        self.guard, self.now, self.most = threading.Lock(), 0, 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Dripping:
    """A file that a server writes to slowly."""

    def __init__(self, file, server):
        self.file, self.server = file, server

    def write(self, data):
        for at in range(0, len(data), self.server.part):
            self.file.write(data[at : at + self.server.part])
            time.sleep(self.server.pause)

    def __getattr__(self, name):
        return getattr(self.file, name)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        key = json.dumps(request.get("messages") or request.get("prompt"))
        with self.server.guard:
            self.server.requests.append(request)
            self.server.keys.append(self.headers["authorization"])
            self.server.paths.append(self.path)
            nth = self.server.times[key] = self.server.times.get(key, 0) + 1
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        try:
            answer = self.server.reply(request, nth)
            with self.server.guard:
                self.server.now -= 1
            if answer is None:
                self.connection.close()
                return
            status, headers, text = (200, {}, json.dumps(answer)) if isinstance(answer, dict) else answer
            body = text if isinstance(text, bytes) else text.encode()
            slow = Dripping(self.wfile, self.server)
            if self.server.drips_headers:
                self.wfile = slow
            self.send_response(status)
            for name, value in {
                "content-type": "application/json",
                "content-length": str(len(body)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            slow.write(body)
        except OSError:  # the client gave up
            pass

    def log_message(self, *_):
        pass


@contextmanager
def serving(reply=None):
    server = Server()
    if reply is not None:
        server.reply = reply
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def model(server, concurrency=16, patience=HASTY, **decoding):
    return ServerLLM(f"openai:tiny@{server.url}", Decoding(**decoding), concurrency=concurrency, patience=patience)


def error(status, message="no", code=None, **headers):
    return status, headers, json.dumps({"error": {"message": message, "code": code}})
