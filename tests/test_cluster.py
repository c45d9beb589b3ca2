"""Sessions on a cluster: a real Slurm with three nodes, see ``tests/slurm.py``."""

from __future__ import annotations

import csv
import json
import os
import re
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chaos
import pytest
import slurm
import small_instances
import yaml
from chaos_checks import same_results
from openai_server import OpenAIServer
from project import ROOT, Project
from slurm import NODES, Slurm
from test_images_workflow import engine_or_skip

from trajmake import resources, settings
from trajmake.llm.spending import Spending

STEP_SECONDS = 6
SUBMITTED = {"fetch_image", "load_image", "generate", "run_tests"}
OFTEN = ["--seconds-between-status-checks", "1"]
SLURM = ["--profile", "cluster", *OFTEN, "--slurm-init-seconds-before-status-checks", "1"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Slurm]:
    """Three idle nodes."""
    if reason := slurm.lacking():
        pytest.skip(reason)
    engine_or_skip("namespace", tmp_path_factory.mktemp("probe"))
    with Slurm() as cluster:
        yield cluster


def driven(cluster: Slurm, project: Project, *arguments: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Snakemake on the login host while the block runs."""
    return project.started(cluster.on("login", *project.command(*arguments), cwd=project.root))


def run(cluster: Slurm, project: Project, *arguments: str) -> str:
    """Run snakemake on the login host, to a good end; gives what it said."""
    with driven(cluster, project, *arguments) as process:
        code = process.wait(timeout=900)
    said = (project.root / "run.log").read_text()
    assert code == 0, said + cluster.account()
    return said


def until(true: Callable[[], Any], seconds: float = 300) -> Any:
    """What ``true`` says, once it says something; the executor looks at the queue ever more seldom, up to 3 minutes."""
    deadline = time.monotonic() + seconds
    while not (said := true()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return said


def hosts(project: Project) -> Counter[str]:
    """On which hosts trajectories were made."""
    made = project.root.glob("outputs/trajectories/*/*/*/metadata.json")
    return Counter(json.loads(path.read_text())["details"]["host"]["name"] for path in made)


def verdicts(project: Project) -> dict[str, Any]:
    """What a session came to, without what tells one run of a test from another."""
    outputs = project.root / "outputs"
    found = {
        str(p.relative_to(outputs)): json.loads(p.read_text()) for p in outputs.glob("**/eval_outputs/report.json")
    }
    with (outputs / "results/demo/results.csv").open(newline="") as stream:
        found["results"] = [{**row, "Duration_Seconds": ""} for row in csv.DictReader(stream)]
    return found | {p.name: json.loads(p.read_text()) for p in outputs.glob("results/demo/*.preds.json")}


def left_over(cluster: Slurm) -> list[str]:
    """Containers on the hosts: their processes, their folders."""
    found = []
    for name in NODES:
        told = subprocess.run(
            cluster.on(name, "sh", "-c", "ps -eo args | grep -E '^(unshare|/bin/sh -c)'; ls -A /tmp/trajmake-*"),
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        found += [f"{name}: {line}" for line in told.splitlines() if "unshare" in line or re.match(r"\w{8}-", line)]
    return found


def figures(cluster: Slurm, project: Project) -> None:
    """Print for ``docs/cluster.md`` what jobs took of a node, and what of it was the stage's own work (medians)."""
    stages = {
        "generate": ("*/*/*/metadata.json", lambda record: record["details"]["seconds"]),
        "run_tests": ("*/*/*/eval_outputs/*/test_run.json", lambda record: record["seconds"]),
    }
    for rule, (place, read) in stages.items():
        rows = [job for job in cluster.jobs("%M") if f"rule_{rule}" in job[3]]
        taken = [int(minutes) * 60 + int(seconds) for *_, time in rows for minutes, seconds in [time.split(":")]]
        own = [read(json.loads(path.read_text())) for path in project.root.glob(f"outputs/trajectories/{place}")]
        print(
            f"{rule}: {len(taken)} jobs, {statistics.median(taken)} s each, {statistics.median(own):.1f} s of it work"
        )


def test_only_dear_rules_become_jobs_of_the_cluster() -> None:
    """An interpreter, a submission and a look at the queue cost seconds: none of it for milliseconds of work."""
    text = "".join(path.read_text() for path in [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")])
    blocks = re.findall(r"^localrules:\n((?: +\w+,.*\n)+)", text, re.MULTILINE)
    local = {name for block in blocks for name in re.findall(r"^ +(\w+),", block, re.MULTILINE)}
    assert set(re.findall(r"^rule (\w+):", text, re.MULTILINE)) - local == SUBMITTED


def test_jobs_are_sized_by_the_limits_of_the_configuration(project) -> None:
    """A scheduler kills what takes more than was asked for; what is unlimited is the site's to say."""
    limits = {"instance_seconds": 600, "test_seconds": 300}
    project.configure(container={"memory_mb": 4096, "cpus": 1.5, "disk_mb": 0}, limits=limits)
    config = project.root / "config/config.yaml"
    size = {"mem_mb": 6144, "cpus_per_task": 2}
    sizes = resources.of(settings.from_file(config))
    assert sizes["generate"] == size | {"runtime": 80} and sizes["run_tests"] == size | {"runtime": 80}
    project.configure(container={"memory_mb": 0})
    assert set(resources.of(settings.from_file(config))["generate"]) == {"cpus_per_task", "disk_mb", "runtime"}


def test_the_demo_comes_out_as_on_one_host(cluster, finished, demo_data) -> None:
    """The promise of a profile: another place, the same results; and nothing runs twice."""
    store = cluster.local / "store"
    project = Project.make(cluster.shared / "demo", demo_data, store, engine="namespace")
    project.environ["PYTHONDONTWRITEBYTECODE"] = ""
    began = time.monotonic()
    run(cluster, project, "-j", "6", *SLURM)
    print(f"{time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.0f}, trajectories by host: {hosts(project)}")
    figures(cluster, project)
    assert verdicts(project) == verdicts(finished)
    rules = Counter(comment.split("_wildcards")[0] for *_, comment in cluster.jobs())
    count = len(project.ids)
    expected = {"image_fetch_image_load_image": count, "generate": 2 * count, "run_tests": 2 * count}
    assert rules == {f"rule_{name}": number for name, number in expected.items()}
    assert set(hosts(project)) == set(NODES)
    assert "Nothing to be done" in run(cluster, project, "-n", *SLURM)
    assert left_over(cluster) == []


def test_with_accounting_jobs_are_the_accounts(tmp_path_factory, demo_data) -> None:
    """Sites that bill by accounts ask sacct; the profile's default needs neither."""
    if reason := slurm.lacking(accounting=True):
        pytest.skip(reason)
    engine_or_skip("namespace", tmp_path_factory.mktemp("probe"))
    with Slurm(accounting=True) as cluster:
        project = Project.make(cluster.shared / "demo", demo_data, cluster.local / "store", engine="namespace")
        project.environ["PYTHONDONTWRITEBYTECODE"] = ""
        project.configure(models=["gold"], instances=project.ids[:2])
        account = ["--default-resources", "slurm_account=mine", "mem_mb=2000", "runtime=60"]
        run(cluster, project, "-j", "6", *SLURM, "--slurm-status-command", "sacct", *account)
        assert {row["Resolved"] for row in project.results().values()} == {"true"}
        told = cluster.ask("sacct", "-X", "--noheader", "--parsable2", "--format=Account,State")
        assert told.splitlines() == ["mine|COMPLETED"] * 6


@dataclass
class Small:
    """Sessions of four small instances and two models, one of them behind a server that counts.

    Attributes:
        folder: Shared by the hosts.
        server: The model's.
        peace: A session that ran undisturbed on one host.
        asked: How many requests that took.
    """

    folder: Path
    server: OpenAIServer
    peace: Project
    asked: int

    def project(self, cluster: Slurm, name: str) -> Project:
        """The same session, on the cluster, yet to be run."""
        project = chaos.make(self.folder, name, self.folder / "data", self.server.url, "namespace")
        project.environ.pop("TMPDIR")
        project.configure(images={"store": str(cluster.local / "store")}, limits={"silent_seconds": 20})
        self.server.requests.clear()
        return project

    def check(self, cluster: Slurm, project: Project) -> None:
        """The same results, nothing bought twice, nothing left."""
        assert same_results(self.peace, project) == []
        requests = self.server.requests
        again = [r.at for n, r in enumerate(requests) if any(r.body == before.body for before in requests[:n])]
        assert (again, len(requests)) == ([], self.asked)
        spent = [Spending(p.root / "outputs/results/chaos/spending").spent() for p in (self.peace, project)]
        assert spent[0].completions == spent[1].completions
        assert left_over(cluster) == []


@pytest.fixture(scope="module")
def small(cluster) -> Iterator[Small]:
    """The undisturbed session, run."""
    folder = cluster.shared / "small"
    (folder / "data/images").mkdir(parents=True)
    (folder / "replies").mkdir()
    made = small_instances.make(folder / "made", 2)
    rows = [row | {"instance_id": f"{row['instance_id']}-{n}"} for row in made for n in range(2)]
    for number, row in enumerate(rows):
        row["problem_statement"] += f" ({row['instance_id']})"  # the request must tell which instance it is about
        replies = yaml.safe_dump(chaos.script(number, STEP_SECONDS))
        (folder / "replies" / f"{row['instance_id']}.yaml").write_text(replies)
    small_instances.write(rows, folder / "data/instances.jsonl")
    with OpenAIServer(chaos.Provider(folder / "replies")) as server:
        peace = chaos.make(folder, "peace", folder / "data", server.url, "namespace")
        done = peace.snakemake("-j", "4", "--profile", "parallel")
        assert done.returncode == 0, done.stdout
        yield Small(folder, server, peace, len(server.requests))


def test_another_executor_does_as_well(cluster, small) -> None:
    """Nothing is bound to Slurm's plug-in: a scheduler is three commands."""
    project = small.project(cluster, "generic")
    run(cluster, project, "-j", "6", "--profile", "generic", *OFTEN)
    small.check(cluster, project)


def test_a_silent_daemon_a_dead_node_and_a_killed_driver_repeat_nothing(cluster, small) -> None:
    """Slurm takes a node's jobs for dead that live, Snakemake forgets those of a killed driver: both come twice."""
    project = small.project(cluster, "fire")

    def between_answers() -> dict[str, str]:
        """Nodes and the job on each; an answer has just come, so none is lost between the provider and the disk."""
        waiting = set()
        for answer in project.root.glob("outputs/trajectories/*/*/*/llm_completions/*/*.json"):
            session, model, instance = answer.relative_to(project.root / "outputs/trajectories").parts[:3]
            if 0 < time.time() - answer.stat().st_mtime < STEP_SECONDS / 3:
                waiting.add(f"rule_generate_wildcards_{session}_{model}_{instance.removeprefix('instance_')}")
        return {node: number for number, state, node, rule in cluster.jobs() if state == "RUNNING" and rule in waiting}

    with driven(cluster, project, "-j", str(len(NODES)), *SLURM):  # one on each
        silenced, *_ = until(between_answers)
        cluster.kill_daemon(silenced)
        dead, *_ = until(lambda: between_answers().keys() - {silenced})
        cluster.kill_node(dead)
        (third,) = set(NODES) - {silenced, dead}
        cluster.ask("scancel", until(lambda: between_answers().get(third)))
        until(lambda: {"NODE_FAIL", "CANCELLED"} <= {state for _, state, *_ in cluster.jobs()})
        time.sleep(5)
    cluster.start_node(dead)
    run(cluster, project, "-j", "6", *SLURM)
    print(*cluster.jobs(), sep="\n")
    small.check(cluster, project)
