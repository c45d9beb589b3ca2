"""Trajectories: mini-swe-agent's own batch runner against ours, the same agent in both.

    python bench/trajectories.py [--instances 16] [--workers 2] [--pairs 5] [--quick] [--json FILE]

The demo's instances, several times over; one server on loopback gives everybody the same scripted answers, twelve of
them to a run, by the number of the step. Both read mini-swe-agent's own ``swebench.yaml``. Theirs (``mini-extra
swebench``) runs commands in Docker, ours in Docker and, told apart, in namespaces. Images are there before. All must
make the same patches with the same number of requests. Needs root and dockerd.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import made_projects as projects
import minisweagent
import pairs

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from openai_server import Handler, OpenAIServer, answer

PROMPT = Path(minisweagent.__file__).parent / "config" / "benchmarks" / "swebench.yaml"
# Looks and edits as agents do; the tests of the repositories would measure themselves alone.
STEPS = [
    "ls -la",
    "git log --oneline | head -5",
    "find . -name '*.py' | head -50",
    "cat README* | head -100",
    "grep -rn 'def ' --include='*.py' . | head -60",
    "wc -l $(git ls-files '*.py') | tail -1",
    "cat > note.py <<'END'\nVALUE = 1\n\n\ndef double():\n    return VALUE * 2\nEND",
    "sed -i 's/VALUE = 1/VALUE = 2/' note.py",
    "python3 -c 'import note; assert note.double() == 4'",
    "git status --short",
    "git add -N note.py && git diff -- note.py > patch.txt && cat patch.txt",
    "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && cat patch.txt",
]
ANSWERS = [answer(f"Step {number}: I look further.", [step]) for number, step in enumerate(STEPS, 1)]


def by_step(handler: Handler, body: dict[str, Any]) -> None:
    """The answer for as many answers as the conversation holds."""
    said = sum(message["role"] == "assistant" for message in body["messages"])
    ANSWERS[said](handler, body)


class Both:
    """The two runners on the same instances, and what they made."""

    def __init__(self, folder: Path, rows: list[dict[str, Any]], server: OpenAIServer, workers: int) -> None:
        self.folder, self.rows, self.server, self.workers = folder, rows, server, workers
        self._seen = 0

    def their(self, images: Any) -> pairs.Side:
        """``mini-extra swebench``."""
        folder = self.folder / "theirs"
        data = folder / "data"  # nothing else may lie there: `datasets` would take it for rows
        data.mkdir(parents=True)
        with (data / "test.jsonl").open("w") as stream:
            for row in self.rows:
                known = {key: row[key] for key in ("instance_id", "problem_statement")}
                stream.write(json.dumps(known | {"image_name": images[row["image_storage_uri"]]}) + "\n")
        runner = str(Path(sys.executable).with_name("mini-extra"))  # our environment's: the same packages on both sides
        command = [runner, "swebench", "--subset", str(data), "--split", "test"]
        command += ["--workers", str(self.workers), "--output", str(folder / "out"), "--model", "openai/bench"]
        for spec in (str(PROMPT), f"model.model_kwargs.api_base={self.server.url}"):
            command += ["--config", spec]
        quiet = {"MSWEA_CONFIGURED": "true", "MSWEA_SILENT_STARTUP": "1", "MSWEA_COST_TRACKING": "ignore_errors"}
        home = {"MSWEA_GLOBAL_CONFIG_DIR": str(folder / "home"), "HF_HOME": str(folder / "home")}
        litellm = {"OPENAI_API_KEY": "bench", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1"}
        return pairs.Side(
            "mini-extra swebench",
            command,
            cwd=folder,
            env=quiet | home | litellm,
            before=lambda: self._renew(folder / "out"),
            product=lambda: self._product(_predicted(folder / "out" / "preds.json")),
        )

    def our(self, engine: str) -> pairs.Side:
        """The stage ``generate`` of a session whose images are there."""
        model = {
            "agent": "mini_swe_agent", "model": "openai/bench", "base_url": self.server.url,
            "api_key_env": "OPENAI_API_KEY", "prompt_file": str(PROMPT), "prices": {"input": 1, "output": 1},
        }  # fmt: skip
        from_ = projects.make(
            self.folder / f"{engine}-template", self.rows, models=["m"], catalog={"m": model}, engine=engine,
            images={"keep": True, "store": str(self.folder / "store")},
        )  # fmt: skip
        pairs.run(pairs.Side("images", projects.snakemake(from_, self.workers, "--until", "load_image")))
        folder = self.folder / engine
        runs = [f"outputs/trajectories/bench/m/instance_{row['instance_id']}/output.jsonl" for row in self.rows]
        return pairs.Side(
            f"trajmake, {engine}",
            projects.snakemake(folder, self.workers, "--", *runs),
            env={"OPENAI_API_KEY": "bench"},
            before=lambda: (self._renew(folder), shutil.copytree(from_, folder, symlinks=True)),
            product=partial(self._made, folder, runs),
        )

    def _made(self, folder: Path, runs: list[str]) -> Any:
        records = [json.loads((folder / run).read_text()) for run in runs]
        return self._product({record["instance_id"]: record["test_result"]["git_patch"] for record in records})

    def _renew(self, folder: Path) -> None:
        projects.quiet("minisweagent-")  # its containers are stopped in the background, ten seconds each
        shutil.rmtree(folder, ignore_errors=True)
        self._seen = len(self.server.requests)

    def _product(self, patches: dict[str, str]) -> Any:
        assert len(patches) == len(self.rows), f"{len(patches)} patches of {len(self.rows)} instances"
        requests = len(self.server.requests) - self._seen
        assert requests == len(STEPS) * len(self.rows), f"{requests} requests"
        return {"requests": requests} | {name: _text(patch) for name, patch in patches.items()}


def _predicted(path: Path) -> dict[str, str]:
    return {name: said["model_patch"] for name, said in json.loads(path.read_text()).items()}


def _text(patch: str) -> str:
    """A patch without the ids of its contents, which git cuts at different lengths."""
    return "\n".join(line for line in patch.strip().splitlines() if not line.startswith("index "))


def main() -> None:
    """Measure and print."""
    parser = pairs.options(__doc__)
    parser.add_argument("--instances", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    result = pairs.Result("trajectories", chosen, "mini-swe-agent", "litellm")
    rows = projects.rows(chosen.instances)
    with (
        tempfile.TemporaryDirectory(prefix="bench-trajectories-") as scratch,
        projects.loaded(rows) as images,
        OpenAIServer(by_step) as server,
    ):
        both = Both(Path(scratch), rows, server, chosen.workers)
        sides = [both.their(images), both.our("docker"), both.our("namespace")]
        costs = pairs.compare(sides, result.pairs, result.warm_up)
        projects.quiet("minisweagent-")
    first, *ours = costs.values()
    figures = {"wall": 0.8, "cpu": None, "machine": None, "together": None}
    for engine, mine in zip(("Docker", "namespaces against Docker"), ours, strict=True):
        what = f"{len(rows)} instances of {len(STEPS)} steps, {chosen.workers} workers, {engine}"
        result.add(*pairs.rows(what, first, mine, figures if engine == "Docker" else {"wall": None, "cpu": None}))
    result.close()


if __name__ == "__main__":
    main()
