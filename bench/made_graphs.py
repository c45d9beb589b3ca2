"""Sessions as large as wanted whose files are all there, and a bare Snakefile with the same files: for graph.py.

Nothing ran: files are written without being synced, and what Snakemake wrote down of each job is written by Snakemake
itself, which takes the whole graph for finished.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from trajmake.datasets import Dataset
from trajmake.sessions import layout
from trajmake.settings import from_file, model_digest

ROOT = Path(__file__).resolve().parents[1]
PARTS = ["Snakefile", "workflow", "profiles", "config", "trajmake", "environment.yml", "hybrid"]
SESSION = "s"
MODELS = ["model-a", "model-b", "model-c"]
RUN = {
    layout.INSTANCE: ["output.jsonl", "metadata.json"],
    layout.EVALUATION: ["test_output.txt", "test_run.json", "patch.diff", "eval.sh"],
    layout.INSTANCE + "/": ["eval_output.jsonl", "eval_outputs/report.json"],
    layout.EVALUATION + "/": ["report.json", "outcome.json"],
}
# Runs as if it had run: `snakemake -n` with a graph whose every job is noted down as finished.
FINISH = """
from snakemake import cli, dag
init = dag.DAG.init
async def finish(self, progress=False):
    await init(self, progress)
    for job in self.jobs:
        await self.workflow.persistence.finished(job)
dag.DAG.init = finish
cli.main()
"""


def names(instances: int) -> list[str]:
    """Ids of so many instances, as long as real ones."""
    return [f"some-owner__repository-{number:05}" for number in range(instances)]


def project(folder: Path, library: Path = ROOT, *, again: bool = False) -> None:
    """The workflow and its library, compiled, as Snakemake finds them there; its configuration stays ``again``."""
    for part in PARTS:
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if again and (part == "config" or target.is_symlink()):
            continue
        if (library / part).is_symlink():
            target.symlink_to((library / part).readlink())
        elif (library / part).is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(library / part, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(library / part, target)
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(folder / "trajmake")], check=True)


def ours(folder: Path, instances: int, finished: bool) -> None:
    """This project with a dataset of so many instances and three models, and all their files where ``finished``."""
    project(folder)
    row = {
        "repo": "some-owner/repository",
        "base_commit": "0" * 40,
        "problem_statement": "The value is wrong. " * 50,
        "patch": "diff --git a/v b/v\n--- a/v\n+++ b/v\n@@ -1 +1 @@\n-0\n+1\n",
        "test_patch": "",
        "FAIL_TO_PASS": ["t.py::test_value"],
        "PASS_TO_PASS": [],
        "language": "python",
        "test_command": "pytest -rA",
        "test_output_parser": "python/parse_log_pytest",
    }
    rows = [row | {"instance_id": name, "image_storage_uri": f"s3://bucket/{name}.tar"} for name in names(instances)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    catalog = {model: {"agent": "empty", "display_name": model} for model in MODELS}
    catalog |= {name: {"agent": name} for name in ("gold", "empty")}
    config = {"session": SESSION, "dataset": "rows.jsonl", "models": MODELS, "catalog": catalog, "engine": "fake"}
    (folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    if finished:
        settings = from_file(folder / "config/config.yaml")
        dataset = Dataset(folder / "rows.jsonl")
        details = {
            (model, name): {
                "exit_status": "submitted",
                "row_digest": dataset.digest(name),
                "model_digest": model_digest(settings.catalog[model]),
            }
            for model in MODELS
            for name in names(instances)
        }
        _runs(folder, instances, lambda model, name: json.dumps({"details": details[model, name]}))
        _finish(folder)
        _finish(folder, *(f"outputs/results/{SESSION}/gates/{model}.gate" for model in MODELS))


def bare(folder: Path, instances: int, finished: bool) -> None:
    """A Snakefile with the same rules and files, whose jobs do nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "profiles", folder / "profiles")
    (folder / "hybrid").symlink_to("profiles/hybrid")
    shutil.copy2(Path(__file__).with_name("bare.smk"), folder / "Snakefile")
    (folder / "ids.json").write_text(json.dumps({"models": MODELS, "instances": names(instances)}))
    if finished:
        _runs(folder, instances, lambda model, name: "{}")
        _finish(folder)


def environment(folder: Path) -> dict[str, str]:
    """In which Snakemake takes the library of ``folder`` and writes nothing elsewhere."""
    return os.environ | {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(folder / ".cache")}


def _runs(folder: Path, instances: int, metadata) -> None:  # type: ignore[no-untyped-def]
    out = folder / "outputs"
    for name in names(instances):
        _write(out / layout.IMAGES / f"{name}.loaded.json", "{}")
    for model in MODELS:
        for end in ("before", "gate"):
            _write(out / f"results/{SESSION}/gates/{model}.{end}", "")
    for place, files in RUN.items():
        for model in MODELS:
            for name in names(instances):
                run = out / place.format(session=SESSION, model=model, instance_id=name)
                for file in files:
                    _write(run / file, metadata(model, name) if file == "metadata.json" else "{}")
    results = out / layout.RESULTS.format(session=SESSION)
    for model in MODELS:
        for name in names(instances):
            _write(results / f"released/{model}/{name}.json", "{}")
        for end in ("_summary.txt", ".preds.json", ".run_report.json"):
            _write(results / f"{model}{end}", "")
        (results / "html" / model).mkdir(parents=True)
    for name in ("results.csv", "final_report.txt", "summary.json", "faults.txt"):
        _write(results / name, "")
    for name in ("complete.json", "html/index.html", "html/session.html"):
        _write(results / name, "")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _finish(folder: Path, *targets: str) -> None:
    command = [sys.executable, "-c", FINISH, "-n", "--quiet", "all", "--profile", "hybrid", "--", *targets]
    subprocess.run(command, cwd=folder, env=environment(folder), check=True, stdin=subprocess.DEVNULL)
