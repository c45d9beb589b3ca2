"""Images in whole sessions: how many lie on disk at once, and two sessions beside each other."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import object_stores
import pytest
import small_instances
from project import Project

from trajmake import engines
from trajmake.errors import TrajmakeError
from trajmake.images.leases import Lease


def engine_or_skip(name: str, store: Path):
    try:
        engine = engines.select(name, **({"store": store} if name == "namespace" else {}))
        engine.version()
    except TrajmakeError as error:
        pytest.skip(f"engine {name}: {error.message}")
    return engine


def project_of(root: Path, data: Path, rows: list[dict], store: Path, **config) -> Project:
    """A copy of the project with these rows as its dataset."""
    (data / "images").mkdir(parents=True, exist_ok=True)
    small_instances.write(rows, data / "instances.jsonl")
    return Project.make(root, data, store, **config)


def high_water(held: Callable[[], int], run: Callable[[], None]) -> int:
    """The most that ``held`` gives while ``run`` runs, looked at every few milliseconds."""
    done = threading.Event()
    seen = [0]

    def look() -> None:
        while not done.is_set():
            seen.append(held())
            time.sleep(0.02)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        run()
    finally:
        done.set()
        thread.join()
    return max(seen)


def test_ten_images_and_two_jobs_have_at_most_three_unpacked_at_once(tmp_path: Path) -> None:
    """Two models in turn, from S3: every image comes and goes in each turn, and nothing is left."""
    if why := object_stores.without_moto():
        pytest.skip(why)
    engine = engine_or_skip("namespace", tmp_path / "store")
    rows = small_instances.make(tmp_path / "made", 10)
    with object_stores.moto(tmp_path) as server:
        client = server.client()
        client.create_bucket(Bucket="images")
        for row in rows:
            tarball = Path(row["image_storage_uri"])
            client.upload_file(str(tarball), "images", tarball.name)
            row["image_storage_uri"] = f"s3://images/{tarball.name}"
            tarball.unlink()
        project = project_of(
            tmp_path / "project",
            tmp_path / "data",
            rows,
            tmp_path / "store",
            models=["gold", "empty"],
            engine="namespace",
        )
        project.configure(images={"store": str(tmp_path / "store"), "s3": server.settings})
        done: list[subprocess.CompletedProcess[str]] = []

        def run() -> None:
            done.append(project.snakemake("-j", "2", "--profile", "hybrid", **server.keys))

        most = high_water(lambda: len(list((tmp_path / "store").glob("[0-9a-f]*/image.json"))), run)
    assert done[0].returncode == 0, done[0].stdout
    results = project.results()
    assert {key[0]: row["Resolved"] for key, row in results.items()} == {"gold": "true", "empty": "false"}
    assert len(results) == 20
    assert 1 <= most <= 3
    assert engine.images() == []
    assert list((project.root / "outputs/images").glob("*.tar*")) == []
    assert "Nothing to be done" in project.planned("--profile", "hybrid").text


def test_two_sessions_that_need_one_image_load_it_once_and_leave_it_to_each_other(tmp_path: Path) -> None:
    """Two snakemakes at once, with outputs of their own: the last one that uses the image removes it."""
    store = tmp_path / "store"
    engine = engine_or_skip("docker", store)
    rows = small_instances.make(tmp_path / "made", 1, seconds=8)
    config = {"models": ["gold"], "engine": "docker"}
    projects = [project_of(tmp_path / n, tmp_path / f"data-{n}", rows, store, **config) for n in ("one", "two")]
    with Lease(rows[0]["image_id"], tmp_path / "driver.lock").locked():  # until both are about to load
        commands = [
            subprocess.Popen(
                project.command("-j", "1", "--profile", "parallel"),
                cwd=project.root,
                env=project.environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for project in projects
        ]
        deadline = time.monotonic() + 120
        while not all(list(p.root.glob("outputs/logs/images/*.load_image.log")) for p in projects):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    for process in commands:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    logs = "".join(path.read_text() for project in projects for path in project.root.glob("outputs/logs/**/*.log"))
    assert logs.count(f"{rows[0]['image_id']} loaded into docker") == 1
    assert all(row["Resolved"] == "true" for project in projects for row in project.results().values())
    released = [
        json.loads(path.read_text()) for p in projects for path in p.root.glob("outputs/results/demo/released/*/*.json")
    ]
    # Two that end in the same moment may both remove it; one that ends first leaves it to the other.
    assert any(record["released"] for record in released) and len(released) == 2
    kept = [record["why"] for record in released if not record["released"]]
    assert all(why.startswith(("is used by the session", "is not there")) for why in kept)
    assert engine.find(rows[0]["image_id"]) is None


def side_by_side(project: Project, between: Callable[[Sequence[Path]], None]) -> None:
    """Run the sessions `one` and `two` in one ``output_dir``; both must succeed.

    Args:
        between: Called with the first one's output once that has started, and with both once both have.
    """
    outputs = [project.root / f"{session}.log" for session in ("one", "two")]
    with contextlib.ExitStack() as running:
        processes = []
        for number, output in enumerate(outputs, 1):
            command = project.command("-j", "4", "--profile", "parallel", "--config", f"session={output.stem}")
            processes.append(running.enter_context(project.started(command, output.name)))
            between(outputs[:number])
        codes = [process.wait(300) for process in processes]
    for code, output in zip(codes, outputs, strict=True):
        assert code == 0, output.read_text()
        assert (project.root / f"outputs/results/{output.stem}/faults.txt").read_text() == ""
        assert {row["Resolved"] for row in project.results(output.stem).values()} == {"true"}
    assert list((project.root / "outputs/images").rglob("*.tar*")) == []


@pytest.mark.parametrize("seconds", [0, 0.3, 1])
def test_two_sessions_in_one_folder_bring_the_same_images_side_by_side(tmp_path: Path, seconds: float) -> None:
    """Snakemake removes a job's output before it, and temporary files after their use: the other session's too."""
    engine_or_skip("namespace", tmp_path / "store")
    rows = small_instances.make(tmp_path / "made", 6)
    config = {"models": ["gold"], "engine": "namespace"}
    project = project_of(tmp_path / "project", tmp_path / "data", rows, tmp_path / "store", **config)
    side_by_side(project, lambda outputs: time.sleep(seconds * (2 - len(outputs))))


def test_a_session_that_begins_while_another_loads_needs_nothing_of_its_tarball(tmp_path: Path) -> None:
    """The first one's Snakemake removes that once it is loaded, when the second one is about to load."""
    engine_or_skip("namespace", tmp_path / "store")
    rows = small_instances.make(tmp_path / "made", 1)
    config = {"models": ["gold"], "engine": "namespace"}
    project = project_of(tmp_path / "project", tmp_path / "data", rows, tmp_path / "store", **config)
    with contextlib.ExitStack() as held:
        held.enter_context(Lease(rows[0]["image_id"], tmp_path / "driver.lock").locked())

        def wait(outputs: Sequence[Path]) -> None:
            said = ["Loading image"] if len(outputs) == 1 else ["Fetching image", "Loading image"]
            deadline = time.monotonic() + 120
            while not any(text in outputs[-1].read_text() for text in said):
                assert time.monotonic() < deadline, outputs[-1].read_text()
                time.sleep(0.05)
            time.sleep(1)  # for the job, to get where it waits
            if len(outputs) == 2:
                held.close()

        side_by_side(project, wait)


def test_no_job_fails_since_another_session_renews_an_images_record(tmp_path: Path) -> None:
    """Another's Snakemake touches it once its own job has ended; ours compares the times of input and output."""
    engine_or_skip("namespace", tmp_path / "store")
    rows = small_instances.make(tmp_path / "made", 3)
    config = {"models": ["gold"], "engine": "namespace", "session": "s"}
    project = project_of(tmp_path / "project", tmp_path / "data", rows, tmp_path / "store", **config)
    images = project.root / "outputs/images"

    def renew() -> int:
        soon = time.time() + 60  # later than what any job of ours has just made
        return len([os.utime(path, (soon, soon)) for path in images.glob("*.loaded.json")])

    with project.started(project.command("-j", "2"), "said.log") as process:
        while process.poll() is None:
            touched = renew()
            time.sleep(0.001)
    assert touched == 3 and process.returncode == 0, (project.root / "said.log").read_text()
    assert {row["Resolved"] for row in project.results("s").values()} == {"true"}
    assert not list(images.glob("fetched/s/*"))


def test_an_image_that_came_by_no_load_of_its_own_is_recorded_and_released(tmp_path: Path) -> None:
    """A run that was stopped left its mark, and somebody removed the record, as the hint for a changed image says."""
    engine = engine_or_skip("namespace", tmp_path / "store")
    rows = small_instances.make(tmp_path / "made", 1)
    config = {"models": ["gold"], "engine": "namespace", "session": "s"}
    project = project_of(tmp_path / "project", tmp_path / "data", rows, tmp_path / "store", **config)
    images = project.root / "outputs/images"
    assert project.snakemake("-j", "2", "--notemp").returncode == 0
    (record,) = images.glob("*.loaded.json")
    before = record.read_text()
    record.unlink()
    for tarball in images.glob("fetched/s/*.tar"):
        tarball.unlink()
    (project.folder("gold", rows[0]["instance_id"], "s") / "output.jsonl").unlink()
    done = project.snakemake("-j", "2")
    assert done.returncode == 0 and "Loading image" not in done.stdout, done.stdout
    assert record.read_text() == before
    (released,) = project.root.glob("outputs/results/s/released/gold/*.json")
    assert json.loads(released.read_text())["released"] and engine.find(rows[0]["image_id"]) is None
    assert not list(images.glob("fetched/s/*"))


def test_a_run_that_ends_leaves_no_tarball_of_one_that_was_stopped(tmp_path: Path) -> None:
    """Snakemake removes what is temporary after its last use, and forgets it when it is stopped in between."""
    engine_or_skip("namespace", tmp_path / "store")
    rows = small_instances.make(tmp_path / "made", 1)
    config = {"models": ["gold"], "engine": "namespace", "session": "s"}
    project = project_of(tmp_path / "project", tmp_path / "data", rows, tmp_path / "store", **config)
    assert project.snakemake("-j", "2").returncode == 0
    (record,) = (project.root / "outputs/images").glob("*.loaded.json")
    fetched = project.root / "outputs/images/fetched/s"
    image = record.name.removesuffix(".loaded.json")
    fetched.mkdir(parents=True, exist_ok=True)
    for name in (f"{image}.tar", "not-loaded-yet.tar", f"{image}.loaded", "agent.built"):
        (fetched / name).write_bytes(b"an archive")
    (project.root / "outputs/results/s/results.csv").unlink()
    assert project.snakemake("-j", "2", "--notemp").returncode == 0
    assert len(list(fetched.iterdir())) == 4
    (project.root / "outputs/results/s/results.csv").unlink()
    assert project.snakemake("-j", "2").returncode == 0
    assert [path.name for path in fetched.iterdir()] == ["not-loaded-yet.tar"]


def test_a_signed_url_is_written_nowhere_and_a_renewed_one_repeats_nothing(tmp_path: Path) -> None:
    if why := object_stores.without_moto():
        pytest.skip(why)
    engine_or_skip("namespace", tmp_path / "store")
    rows = small_instances.make(tmp_path / "made", 1)
    tarball = Path(rows[0]["image_storage_uri"])
    with object_stores.moto(tmp_path) as server:
        client = server.client()
        client.create_bucket(Bucket="images")
        client.upload_file(str(tarball), "images", tarball.name)

        def sign(seconds: int) -> str:
            where = {"Bucket": "images", "Key": tarball.name}
            rows[0]["image_storage_uri"] = client.generate_presigned_url("get_object", Params=where, ExpiresIn=seconds)
            return str(rows[0]["image_storage_uri"]).partition("?")[2]

        signature = sign(3600)
        config = {"models": ["gold"], "engine": "namespace"}
        project = project_of(tmp_path / "project", tmp_path / "data", rows, tmp_path / "store", **config)
        run = project.snakemake("-j", "1", "--profile", "hybrid")
        assert run.returncode == 0, run.stdout
        places = [*(project.root / "outputs").rglob("*"), *(project.root / ".snakemake").rglob("*")]
        files = [path for path in places if path.is_file() and "index" not in path.parts]
        assert len(files) > 10
        assert [path for path in files if signature.encode() in path.read_bytes()] == []
        assert signature not in run.stdout
        assert sign(7200) != signature
        small_instances.write(rows, project.root / "demo/data/instances.jsonl")
        assert "Nothing to be done" in project.planned("--profile", "hybrid").text
