"""`make bench`: nginx, the mock upstream and the whole gateway in one run; prints figures and ratios, writes bench/results.json.

Needs nginx and wrk on the PATH. Rounds are interleaved, and the lower quartile counts: on a shared machine the same work takes 1.0 to
1.8 times as long from second to second, so only ratios within one run compare.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench.cpu import Group, family
from bench.memory import kib_per_stream
from bench.mock_upstream import CHUNKS, PACED_CHUNKS
from bench.open_loop import measure

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results.json"
UPSTREAM, UPSTREAM_TLS, NGINX, NGINX_TLS, GATEWAY = 18081, 18082, 18083, 18084, 18085
CONNECTIONS = 32

CONFIG = """\
providers:
  mock: {{dialect: openai, base_url: "http://127.0.0.1:{plain}/v1", api_key: "bench-upstream-key"}}
  mock-tls: {{dialect: openai, base_url: "https://localhost:{tls}/v1", api_key: "bench-upstream-key"}}
llms:
  - {{name: bench, routes: [{{provider: mock, model: bench}}], price: {{input: "0.15", cache_read: "0.075", output: "0.60"}}}}
  - {{name: joined, routes: [{{provider: mock, model: joined}}], price: {{input: "0.15", output: "0.60"}}}}
  - {{name: held, routes: [{{provider: mock, model: held}}], price: {{input: "0.15", output: "0.60"}}}}
  - {{name: paced, routes: [{{provider: mock, model: paced}}], price: {{input: "0.15", output: "0.60"}}}}
  - {{name: bench-tls, routes: [{{provider: mock-tls, model: bench-tls}}], price: {{input: "0.15", output: "0.60"}}}}
upstream: {{ca_file: "{ca}"}}
"""

NGINX_CONF = """\
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 10000000;
  upstream mock {{ server 127.0.0.1:{plain}; keepalive 256; keepalive_requests 10000000; }}
  upstream mock_tls {{ server 127.0.0.1:{tls}; keepalive 256; keepalive_requests 10000000; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_ssl_session_reuse on;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://mock; }} }}
  server {{ listen 127.0.0.1:{tls_port}; location / {{ proxy_pass https://mock_tls; }} }}
}}
"""


# Compact JSON, as OpenAI's own SDKs send it.
SURFACES = (
    ("responses", "/responses", '{"model":"bench","input":"What is the capital of France, and why?","store":false}'),
    ("resp. stream", "/responses", '{"model":"bench","input":"What is the capital of France?","store":false,"stream":true}'),
    ("completions", "/completions", '{"model":"bench","prompt":"The capital of France is","max_tokens":50}'),
    ("embeddings", "/embeddings", '{"model":"bench","input":"The capital of France is Paris","encoding_format":"base64"}'),
    ("moderations", "/moderations", '{"model":"bench","input":"The capital of France is Paris"}'),
)


def wait_port(port: int, timeout_s: float = 60) -> None:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    sys.exit(f"nothing answers on port {port}")


@contextlib.contextmanager
def running(*argv: str, env: dict[str, str] | None = None, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, env={**os.environ, **(env or {})}, cwd=ROOT)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def wrk(folder: Path, port: int, path: str, body: str, key: str, seconds: float, connections: int = CONNECTIONS) -> int:
    """Completed requests; anything but 2xx ends the run."""
    script = folder / "post.lua"
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = '{body}'\nwrk.headers['Content-Type'] = 'application/json'\n"
        f"wrk.headers['Authorization'] = 'Bearer {key}'\n"
    )
    argv = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "20s",
        "-s",
        str(script),
        f"http://127.0.0.1:{port}/v1{path}",
    ]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text:
        sys.exit(text)
    return int(next(line for line in text.splitlines() if " requests in " in line).split()[0])


def body_of(model: str, stream: bool) -> str:
    message = {"role": "user", "content": "What is the capital of France, and why? Answer in two sentences."}
    return json.dumps(
        {"model": model, "messages": [{"role": "system", "content": "Be brief."}, message], "stream": stream},
        separators=(",", ":"),
    )


def lower_quartile(values: list[float]) -> float:
    return statistics.quantiles(values, n=4)[0] if len(values) > 1 else values[0]


def stats() -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{UPSTREAM}/stats") as answer:
        return dict(json.load(answer))


def closed_loop(
    folder: Path,
    key: str,
    groups: dict[str, dict[str, list[int]]],
    cases: dict[str, tuple[int, str]],
    rounds: int,
    per: str,
    path: str,
) -> dict[str, dict[str, float]]:
    """µs of CPU per request (or per chunk) of every group of each case, rounds interleaved."""
    seen: dict[str, dict[str, list[float]]] = {case: {} for case in cases}
    for turn in range(rounds + 1):
        for case, (port, body) in cases.items():
            paced = "paced" in body
            group = Group(groups[case])
            chunks = stats()["chunks"]
            group.start()
            count = wrk(folder, port, path, body, key, 6 if paced else 1, 200 if paced else CONNECTIONS)
            time.sleep(0.4)  # the worker's share comes a moment later
            spent = group.stop()
            if per == "chunk":
                count = stats()["chunks"] - chunks
            if turn == 0:
                continue  # warm-up
            for name, seconds in spent.items():
                seen[case].setdefault(name, []).append(seconds / count * 1e6)
    return {case: {name: lower_quartile(values) for name, values in names.items()} for case, names in seen.items()}


def raw_request(key: str, model: str, stream: bool) -> bytes:
    body = body_of(model, stream).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def open_loop(key: str) -> dict[str, dict[str, float]]:
    """Milliseconds at 500 requests a second: direct, through nginx, through the gateway."""
    found = {}
    request = raw_request(key, "bench", False)
    for name, port in {"direct": UPSTREAM, "nginx": NGINX, "gateway": GATEWAY}.items():
        latencies = asyncio.run(measure(port, request, per_second=500, seconds=10))
        found[name] = {"p50": latencies[len(latencies) // 2] * 1e3, "p99": latencies[int(len(latencies) * 0.99)] * 1e3}
    return found


def certificate(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", str(key), "-out", str(cert), "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def rows_in_ledger(folder: Path) -> int:
    """How many requests the ledger counts once it no longer grows."""
    key = (folder / "data" / "admin-key").read_text().strip()
    request = urllib.request.Request(
        f"http://127.0.0.1:{GATEWAY}/api/v1/usage/summary?group_by=llm", headers={"Authorization": f"Bearer {key}"}
    )
    found = -1
    while True:
        with urllib.request.urlopen(request) as answer:
            now = sum(int(row["requests"]) for row in json.load(answer)["data"])
        if now == found:
            return now
        found = now
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--only", choices=["plain", "stream", "paced", "tls", "surfaces", "latency", "memory"], nargs="*")
    options = parser.parse_args()
    only = set(options.only or ["plain", "stream", "paced", "tls", "surfaces", "latency", "memory"])
    for tool in ("nginx", "wrk", "openssl"):
        if shutil.which(tool) is None:
            sys.exit(f"`make bench` needs {tool} on the PATH (Debian: apt install nginx-light wrk openssl)")
    folder = Path(tempfile.mkdtemp(prefix="synapscale-bench-"))
    folder.chmod(0o755)
    cert, cert_key = certificate(folder)
    (folder / "config.yaml").write_text(CONFIG.format(plain=UPSTREAM, tls=UPSTREAM_TLS, ca=cert))
    (folder / "nginx.conf").write_text(
        NGINX_CONF.format(folder=folder, plain=UPSTREAM, tls=UPSTREAM_TLS, port=NGINX, tls_port=NGINX_TLS)
    )
    log = folder / "log"
    python = sys.executable
    serve = [
        python,
        "-m",
        "proxy",
        "serve",
        "--port",
        str(GATEWAY),
        "--data-dir",
        str(folder / "data"),
        "--config",
        str(folder / "config.yaml"),
        "--workers",
        "1",
    ]
    with (
        running(python, "-m", "bench.mock_upstream", str(UPSTREAM), log=log),
        running(python, "-m", "bench.mock_upstream", str(UPSTREAM_TLS), str(cert), str(cert_key), log=log),
        running("nginx", "-c", str(folder / "nginx.conf"), log=log) as nginx,
        running(*serve, log=log) as gateway,
    ):
        for port in (UPSTREAM, UPSTREAM_TLS, NGINX, GATEWAY):
            wait_port(port)
        with urllib.request.urlopen(f"http://127.0.0.1:{GATEWAY}/health/ready", timeout=60):
            pass  # the socket is there before the gateway: the request waits in its queue
        key = (folder / "data" / "first-key").read_text().strip()
        children = family(gateway.pid)
        ours = {
            "gateway": [pid for pid, line in children.items() if " gateway" in line],
            "worker": [pid for pid, line in children.items() if " worker" in line and "postgres" not in line],
            "valkey": [pid for pid, line in children.items() if "valkey-server" in line or "redis-server" in line],
            "postgres": [pid for pid, line in children.items() if "postgres" in line.split(" ")[0]],
        }
        theirs = {"nginx": list(family(nginx.pid))}
        # A part measured again stands beside the rest.
        result: dict[str, object] = json.loads(RESULTS.read_text()) if options.only and RESULTS.exists() else {}
        before = stats()["requests"]

        def compare(
            name: str, model: str, stream: bool, nginx_port: int, rounds: int, per: str = "request", *,
            path: str = "/chat/completions", body: str = "",
        ) -> None:  # fmt: skip
            body = body or body_of(model, stream)
            found = closed_loop(
                folder,
                key,
                {"nginx": theirs, "gateway": ours},
                {"nginx": (nginx_port, body), "gateway": (GATEWAY, body)},
                rounds,
                per,
                path,
            )
            base, mine = found["nginx"]["nginx"], found["gateway"]
            whole = sum(mine.values())
            result[name] = {
                "us_per": per,
                "nginx": base,
                **mine,
                "system": whole,
                "ratio": mine["gateway"] / base,
                "system_ratio": whole / base,
            }
            others = "  ".join(f"{role} {mine[role]:5.1f}" for role in ("valkey", "worker", "postgres"))
            print(f"{name:>12}: nginx {base:6.1f}  gateway {mine['gateway']:6.1f} (x{mine['gateway'] / base:.2f})  {others}  "
                  f"system {whole:6.1f} (x{whole / base:.2f})   µs CPU per {per}")  # fmt: skip

        if "memory" in only:  # first: what load has made a process grow by is used again afterwards
            request = raw_request(key, "held", True)
            memory = {
                "nginx": asyncio.run(kib_per_stream(NGINX, request, theirs["nginx"])),
                "gateway": asyncio.run(kib_per_stream(GATEWAY, request, ours["gateway"])),
            }
            result["memory_kib_per_open_stream"] = memory
            print(f"memory per open stream: nginx {memory['nginx']:.1f} KiB, gateway {memory['gateway']:.1f} KiB")
        if "plain" in only:
            compare("non-stream", "bench", False, NGINX, options.rounds)
        if "stream" in only:
            compare(f"stream of {CHUNKS}", "bench", True, NGINX, options.rounds)
            compare("in one write", "joined", True, NGINX, options.rounds)
        if "paced" in only:
            compare(f"paced {PACED_CHUNKS}", "paced", True, NGINX, max(2, options.rounds // 3), "chunk")
        if "tls" in only:
            compare("https", "bench-tls", False, NGINX_TLS, options.rounds)
            compare("https stream", "bench-tls", True, NGINX_TLS, options.rounds)
        if "surfaces" in only:
            for name, path, body in SURFACES:
                compare(name, "bench", False, NGINX, options.rounds, path=path, body=body)
        if "latency" in only:  # last: a fixed rate
            found = open_loop(key)
            result["latency_ms_500rps"] = found
            added = {
                name: {p: found[name][p] - found["direct"][p] for p in ("p50", "p99")} for name in ("nginx", "gateway")
            }
            print(f"500 rps added over direct: nginx p50 +{added['nginx']['p50']:.2f} p99 +{added['nginx']['p99']:.2f} ms, "
                  f"gateway p50 +{added['gateway']['p50']:.2f} p99 +{added['gateway']['p99']:.2f} ms")  # fmt: skip
        ended = time.monotonic()
        sent = stats()["requests"] - before
        result["rows"] = rows_in_ledger(folder)
        print(
            f"ledger: {result['rows']} rows {time.monotonic() - ended:.1f} s after the last request "
            f"({sent} requests reached the provider, nginx's included)"
        )
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
