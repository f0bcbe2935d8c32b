"""Load test of the service: throughput and latency by number of clients and system, memory, and misbehaving clients.

    python benchmarks/serving.py run                  # all of it, as Markdown
    python benchmarks/serving.py run --requests 0     # without the 10,000 requests that memory is watched over

The service is a process of its own, started as `acclimate serve` starts it; the loop is `Run.search` in this one, with
the same run and queries. Latencies are what a clock says, so they grow with what else the machine does; milliseconds of
CPU, of all threads of the service or of the loop, do not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import acclimate
from acclimate.stages.runs import open_latest

CLIENTS = (1, 8, 32)
HEAD = b"POST /search HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
_TICKS = os.sysconf("SC_CLK_TCK")


class Served:
    """A running `acclimate serve`, and its resource usage."""

    def __init__(self, run: Path, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "acclimate", "serve", str(run), "--port", str(self.port), *options]
        self.began = time.perf_counter()
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def first_answer(self, query: str) -> float:
        """Seconds from its start to the first answer."""
        while True:
            try:
                ask(self.port, query)
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit("the service ended") from None
                time.sleep(0.02)
            else:
                return time.perf_counter() - self.began

    @property
    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def own_mb(self) -> float:
        """Memory in MB without the pages of mapped files, which the system can reclaim."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

    def stop(self) -> int:
        """Send SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def ask(port: int, query: str, system: str | None = None) -> int:
    body = json.dumps({"query": query} | ({"system": system} if system else {})).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/search", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status


async def load(port: int, queries: Sequence[str], clients: int, system: str | None) -> tuple[list[float], float, int]:
    """Each query asked once, by so many clients on a connection each: latencies, seconds in all, answers but 200."""
    waiting, latencies, failures = iter(queries), list[float](), 0

    async def client() -> None:
        nonlocal failures
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for query in waiting:
            body = json.dumps({"query": query, "system": system}).encode()
            began = time.perf_counter()
            writer.write(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
            status = await reader.readline()
            length = 0
            while (line := await reader.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            await reader.readexactly(length)
            latencies.append(time.perf_counter() - began)
            failures += b" 200 " not in status
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return latencies, time.perf_counter() - began, failures


def row(system: str, how: str, latencies: Sequence[float], seconds: float, cpu: float) -> str:
    points = statistics.quantiles([1000 * value for value in latencies], n=100, method="inclusive")
    figures = [f"{len(latencies) / seconds:.0f}", *(f"{points[place]:.1f}" for place in (49, 94, 98))]
    return f"| `{system}` | {how} | {' | '.join(figures)} | {1000 * cpu / len(latencies):.1f} |"


def rates(served: Served, run: acclimate.Run, systems: Sequence[str], queries: Sequence[str]) -> None:
    print(
        "| system | asked by | queries/s | p50 ms | p95 ms | p99 ms | CPU ms a query |\n|---|---|---|---|---|---|---|"
    )
    for system in systems:
        texts = queries[: len(queries) // 4] if "+" in system else queries
        run.search(texts[0], 10, system)
        ask(served.port, texts[0], system)
        latencies, began, cpu = list[float](), time.perf_counter(), time.process_time()
        for text in texts:
            start = time.perf_counter()
            run.search(text, 10, system)
            latencies.append(time.perf_counter() - start)
        print(row(system, "a loop", latencies, time.perf_counter() - began, time.process_time() - cpu), flush=True)
        for clients in CLIENTS:
            cpu = served.cpu_seconds
            latencies, seconds, failures = asyncio.run(load(served.port, texts, clients, system))
            assert not failures
            print(row(system, f"{clients} clients", latencies, seconds, served.cpu_seconds - cpu), flush=True)


def memory(served: Served, queries: Sequence[str], requests: int) -> None:
    """Print the service's memory after every tenth of the requests."""
    part = [queries[place % len(queries)] for place in range(requests // 10)]
    sizes = [served.own_mb]
    for _ in range(10):
        _, _, failures = asyncio.run(load(served.port, part, 32, None))
        assert not failures
        sizes.append(served.own_mb)
    print(f"\nMemory over {requests:,} requests, MB after each tenth: {', '.join(f'{size:.0f}' for size in sizes)}")


def rude(port: int) -> None:
    """Clients that disconnect, are slow, send too much, or are too many; and the latency of a normal one meanwhile."""

    def connected() -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), timeout=60)

    for cut in (5, 17):
        with connected() as gone:
            gone.sendall(HEAD + b"content-length: 17\r\n\r\n" + b'{"query": "lava"}'[:cut])
    print(f"- a client that is killed in the middle, and one before its answer: another gets {ask(port, 'lava')}")
    with connected() as slow:
        began = time.perf_counter()
        slow.sendall(b"POST /search HT")
        status = ask(port, "lava")
        slow.recv(100)
        print(f"- half a request line: closed after {time.perf_counter() - began:.0f} s; another gets {status}")
    with connected() as slow:
        began = time.perf_counter()
        slow.sendall(HEAD + b"content-length: 100\r\n\r\n")
        status = slow.recv(100).split()[1].decode()
        print(f"- a body that does not come: {status} after {time.perf_counter() - began:.0f} s")
    with connected() as large:
        large.sendall(HEAD + b"content-length: 10000000\r\n\r\n" + b"x" * 10_000_000)
        print(f"- a body of 10 MB: {large.recv(100).split()[1].decode()}")
    connections = [connected() for _ in range(1000)]
    began = time.perf_counter()
    status = ask(port, "lava")
    seconds = time.perf_counter() - began
    request = HEAD + b"content-length: 17\r\n\r\n" + b'{"query": "lava"}'
    for connection in connections:
        connection.sendall(request)
    answers = [connection.recv(100).split()[1].decode() for connection in connections]
    counts = ", ".join(f"{answers.count(each)} times {each}" for each in sorted({*answers}))
    print(f"- 1,000 open connections: one more gets {status} in {1000 * seconds:.0f} ms; all at once ask: {counts}")
    for connection in connections:
        connection.close()
    print(f"- afterwards: {ask(port, 'lava')}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--queries", type=int, default=400, help="asked of each system, a quarter where it re-ranks")
    parser.add_argument("--requests", type=int, default=10_000, help="that memory is watched over")
    parser.add_argument("--systems", nargs="*", help="by default all of them")
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    run = acclimate.open(options.run)
    opened, outputs = open_latest(options.run)
    texts = [query.text for query in outputs["generate"].queries] + [
        query.text for query in opened.input.collection.queries
    ]
    queries = [texts[place % len(texts)] for place in range(options.queries)]
    systems = options.systems or [system.name for system in run.report.systems if system.name != "first-stage"]
    served = Served(options.run)
    seconds = served.first_answer(queries[0])
    print(f"First answer {seconds:.1f} s after the start, of which {served.cpu_seconds:.1f} s are CPU's.\n")
    try:
        rates(served, run, systems, queries)
        if options.requests:
            memory(served, queries, options.requests)
        print()
        rude(served.port)
    finally:
        print(f"- at SIGTERM it ends with {served.stop()}")


if __name__ == "__main__":
    main()
