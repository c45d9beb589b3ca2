"""Notifications: what is told, to whom, once; and that none of them can fail a run or give its address away."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import small_instances
import yaml
from project import Project

from trajmake import notifications, settings
from trajmake.errors import ConfigError
from trajmake.llm.spending import Spending

SECRET = "topsecret123"


class Inbox(ThreadingHTTPServer):
    """Takes Apprise's JSON messages: at `/refuse…` it answers 500, at `/slow…` when the test lets it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.messages: list[dict[str, Any]] = []
        self.told = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, path: str = "take") -> str:
        return f"json://user:{SECRET}@127.0.0.1:{self.server_port}/{path}"

    def titles(self) -> list[str]:
        return [message["title"] for message in self.messages]


class Handler(BaseHTTPRequestHandler):
    server: Inbox

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.startswith("/slow"):
            self.server.told.wait(60)
        self.send_response(500 if self.path.startswith("/refuse") else 200)
        self.end_headers()
        if self.path.startswith("/take"):
            self.server.messages.append(message)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    server = Inbox()
    yield server
    server.shutdown()
    server.server_close()


def configured(root: Path, **more: Any) -> settings.Settings:
    config = {"dataset": "d", "models": ["gold"], "catalog": {}, "output_dir": str(root)}
    return settings.load(config | {"notify": {"urls_env": "TELL"}} | more)


def test_an_address_that_fails_is_a_sentence_and_the_others_are_told(inbox):
    urls = [inbox.url("refuse"), f"nonsense://{SECRET}", f"json://{SECRET}.invalid/", inbox.url()]
    said = notifications.send(urls, "title", "body")
    assert [line.split(":")[0] for line in said] == [f"Address {number} could not be told" for number in (1, 2, 3)]
    assert "error=500" in said[0] and "does not know" in said[1]
    assert SECRET not in "".join(said)
    assert [(one["title"], one["message"]) for one in inbox.messages] == [("title", "body")]


def test_no_address_holds_a_run_up(inbox):
    began = time.monotonic()
    (said,) = notifications.send([inbox.url("slow")], "title", "body", seconds=0.3)
    assert "in time" in said and time.monotonic() - began < 30
    inbox.told.set()


def test_what_is_wrong_with_the_addresses_is_said_before_the_first_job(tmp_path, monkeypatch):
    options = configured(tmp_path)
    monkeypatch.delenv("TELL", raising=False)
    assert "TELL, which is not set" in notifications.problems(options)[0]
    monkeypatch.setenv("TELL", f"json://localhost nonsense://{SECRET}")
    assert notifications.problems(options) == ["Address 2 in TELL is none that Apprise knows."]
    assert notifications.problems(configured(tmp_path, notify={})) == []


def test_an_address_in_the_configuration_is_refused_unseen():
    """It would be stored in clear."""
    with pytest.raises(ConfigError) as error:
        configured(Path("o"), notify={"urls_env": f"slack://{SECRET}/a/b"})
    assert "put the addresses there" in error.value.message and SECRET not in error.value.message


def test_a_budget_is_told_once_and_a_raised_one_again(tmp_path, monkeypatch, inbox):
    monkeypatch.setenv("TELL", inbox.url())
    options = configured(tmp_path, limits={"session_usd": 10})
    money = Spending.of(options)
    for cost, told in ((7.9, 0), (0.2, 1), (0.5, 1)):
        money.add(cost)
        notifications.budget(options)
        assert len(inbox.messages) == told
    assert inbox.titles() == ["Trajmake: session demo has spent 81 % of its budget"]
    assert inbox.messages[0]["message"] == "8.1000 of 10 USD for 2 answers"
    raised = configured(tmp_path, limits={"session_usd": 20})
    notifications.budget(raised)
    assert len(inbox.messages) == 1
    money.add(8.0)
    notifications.budget(raised)
    assert len(inbox.messages) == 2


def test_the_driver_minds_the_budget(project, inbox):
    """While the session runs, not at its end."""
    project.configure(limits={"session_usd": 1.0})
    Spending(project.root / "outputs/results/demo/spending").add(0.85)
    done = project.snakemake("-j", "2")
    assert done.returncode == 0, done.stdout
    assert inbox.titles() == [
        "Trajmake: session demo has spent 85 % of its budget",
        "Trajmake: session demo is complete",
    ]


@pytest.fixture
def project(tmp_path: Path, inbox: Inbox) -> Project:
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    small_instances.write(small_instances.make(tmp_path / "made", 2), data / "instances.jsonl")
    made = Project.make(tmp_path / "project", data, tmp_path / "store", models=["gold"], engine="namespace")
    made.configure(notify={"urls_env": "TELL"})
    made.environ |= {"TELL": f"{inbox.url()} {inbox.url('refuse')}", "PYTHONDONTWRITEBYTECODE": ""}
    return made


def test_a_session_tells_when_it_is_complete_and_when_it_failed(project, inbox):
    """And only then: not of what is asked for by name, nor where there was nothing to do."""
    done = project.snakemake("-j", "2")
    assert done.returncode == 0, done.stdout
    assert inbox.titles() == ["Trajmake: session demo is complete"]
    assert "Resolved: 2 of 2 (100.00%)" in inbox.messages[0]["message"]
    assert "Warning: Address 2 could not be told" in done.stdout
    again = project.snakemake("-j", "2")
    assert again.returncode == 0 and "Nothing to be done" in again.stdout and len(inbox.messages) == 1

    config = yaml.safe_load((project.root / "config/config.yaml").read_text())
    lost = config["catalog"] | {"lost": {"agent": "mini_swe_agent", "model": "openai/x", "api_key_env": "NO_SUCH_KEY"}}
    project.configure(catalog=lost, models=["gold", "lost"])
    failed = project.snakemake("-j", "2")
    assert failed.returncode == 1
    assert inbox.titles()[1:] == ["Trajmake: session demo ended with failures"]
    assert "2 x key_missing in generate" in inbox.messages[1]["message"]
    one = (project.folder("lost", project.ids[0]) / "output.jsonl").relative_to(project.root)
    assert project.snakemake(str(one), "-j", "2").returncode == 0 and len(inbox.messages) == 2
    written = [path for path in project.root.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert written == [] and SECRET not in done.stdout + failed.stdout
