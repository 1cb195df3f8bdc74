"""The page of a folder that is being filled, over HTTP and, where there is one, in a browser."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.reporting.page.serve import LOOPBACK, Followed, Server
from bench.reporting.render import selected

from ..browsing import browser


@pytest.fixture
def server(bench):
    followed = Followed(bench.store.folder, lambda: selected(type(bench.store)(bench.store.folder)))
    with Server(LOOPBACK, 0, followed) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def get(server: Server, path: str, host: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(LOOPBACK, server.server_port, timeout=60)
    connection.request("GET", path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def test_new_records_make_another_version_and_its_entries_open(bench, server):
    before = json.loads(get(server, "/content.json")[1])
    assert before["entries"] == []
    assert json.loads(get(server, "/status.json")[1])["version"] == before["version"]
    bench.done("none", 1)
    server.followed._next = 0.0
    assert json.loads(get(server, "/status.json")[1])["version"] != before["version"]
    after = json.loads(get(server, "/content.json")[1])
    (entry,) = after["entries"]
    details = json.loads(get(server, f"/entry/{entry['id']}.json")[1])
    assert [run["status"] for run in details["runs"]] == ["done"]
    assert json.loads(get(server, "/status.json")[1])["version"] == after["version"]


def test_a_board_that_is_long_in_the_making_is_not_made_all_the_time(bench, server):
    get(server, "/content.json")
    server.followed._next = float("inf")
    version = json.loads(get(server, "/status.json")[1])["version"]
    bench.done("none", 1)
    assert json.loads(get(server, "/status.json")[1])["version"] == version


def test_only_this_machine_and_only_the_page_is_answered(server):
    assert server.server_address[0] == "127.0.0.1"
    for path in ("/", "/content.json", "/status.json"):
        assert get(server, path)[0] == 200
    for path in ("/../secret", "/entry/x.json", "/entry/../../record.json", "/favicon.ico", "/x"):
        assert get(server, path)[0] == 404
    # A site that names its own host 127.0.0.1 reaches the port through a browser, not the page.
    assert get(server, "/status.json", host="evil.example")[0] == 403
    assert "connect-src 'self'" in get(server, "/")[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--serve", "--format", "csv"], "leave out --output and --format"),
        (["--serve", "--output", "x"], "leave out --output and --format"),
        (["--address", "127.0.0.1:1"], "goes with --serve"),
        (["--serve", "--address", "8765"], "expected HOST:PORT"),
        (["--serve", "--address", "127.0.0.1:99999"], "expected HOST:PORT"),
        (["--serve", "--address", "203.0.113.1:80"], "cannot be listened on"),
        (["--serve", "--metric", "ndgc@20"], "Did you mean 'ndcg'"),
    ],
)
def test_mistakes_are_one_message(bench, options, message):
    bench.done("none", 1)
    result = CliRunner().invoke(main, ["report", "--results", str(bench.store.folder), *options])
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr and "Traceback" not in result.stderr


def test_a_port_that_is_taken_is_said(bench):
    with socket.create_server((LOOPBACK, 0)) as taken:
        address = f"{LOOPBACK}:{taken.getsockname()[1]}"
        options = ["report", "--results", str(bench.store.folder), "--serve", "--address", address]
        bench.store.folder.mkdir(exist_ok=True)
        result = CliRunner().invoke(main, options)
    assert result.exit_code == 2
    assert f"--address {address} cannot be listened on" in result.stderr


def bench_command(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "bench", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.browser
def test_the_page_follows_a_grid_of_twelve_trials(tiny, tiny_teacher):
    """Watched from before its first record, through the death of the server and of the run."""
    folder = tiny.results
    folder.mkdir(exist_ok=True)
    grid = ["run", "-d", "tiny", "-s", "tiny", "-m", "none", "-m", "dllm2rec", "-t", "published"]
    grid += ["--seeds", "0-5", "--set", "training.max_epochs=30", "--set", "training.patience=30"]
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        started.append(bench_command(*options))
        return started[-1]

    def serve(address: str) -> str:
        served = start("report", "--results", str(folder), "--serve", "--address", address)
        assert served.stdout is not None
        return served.stdout.readline().strip()

    try:
        with browser() as window:
            url = serve(f"{LOOPBACK}:0")
            window.open(url)
            window.run("window.stays = true")
            run = start(*grid)
            text = "document.querySelector('#live-text').textContent"
            window.wait(f"/of 12 trials done.* 1 running/.test({text})", 120)
            assert "seed" in window.wait("document.querySelector('#live-running li').textContent")
            window.wait("document.querySelectorAll('#entries tbody button').length", 120)
            window.wait(f"/about .* left/.test({text})", 120)
            run.send_signal(signal.SIGSTOP)  # so that it is not over before its time

            server = started[0]
            server.kill()
            server.wait()
            window.wait(f"{text}.includes('does not answer')", 60)
            assert serve(url.removeprefix("http://").rstrip("/")) == url
            window.wait(f"/of 12 trials done/.test({text})", 60)

            run.send_signal(signal.SIGKILL)
            run.wait()
            window.wait(f"/0 running.*nobody works on them/.test({text})", 60)
            again = start(*grid)
            assert again.wait(240) == 0
            window.wait(f"{text}.startsWith('12 of 12 trials done')", 60)
            window.wait("document.querySelector('#about').textContent.includes('12 finished')", 60)
            buttons = "[...document.querySelectorAll('#entries tbody button')]"
            name = "none [training.max_epochs=30, training.patience=30]"
            window.run(f"{buttons}.find((each) => each.textContent === '{name}').click()")
            window.wait("document.querySelector('dialog[open] .command')")
            assert window.run("return window.stays"), "it was never loaded anew"
            asked = {address.partition("entry/")[0] for address in window.requests()}
            assert asked <= {url, f"{url}status.json", f"{url}content.json"}
    finally:
        for process in started:
            process.kill()
            process.wait()
