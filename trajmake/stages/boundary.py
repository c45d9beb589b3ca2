"""The boundary of a stage: log, exceptions, fault records.

Inside it a stage raises; outside of it there are only files. What the machine
did wrong becomes a record in the place of the stage's output, so that every
instance reaches the summary with exactly one state.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trajmake.errors import DiskFullError, OutOfMemoryError, reported
from trajmake.llm.redaction import clean, environment_secrets
from trajmake.sessions import faults, layout
from trajmake.sessions.faults import CarriedFault, Fault
from trajmake.settings import Settings
from trajmake.stages.patience import persistently

logger = logging.getLogger("trajmake")


@dataclass(frozen=True)
class Stage:
    """One stage of one subject.

    Attributes:
        name: The stage's name, as of its rule.
        subject: What it works on, for messages.
        log: Log file of the job.
        faults: Fault file of this stage and subject.
        outage: This host's; see :func:`trajmake.stages.patience.persistently`.
        debug: Log every command and answer too.
        keys: Environment variables whose values are masked in the log, whatever they are called.
    """

    name: str
    subject: str
    log: Path
    faults: Path
    outage: Path
    debug: bool = False
    keys: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: Settings, name: str, log: str, **subject: str) -> Stage:
        """The stage ``name`` of an image (``image=``) or of a run (``model=, instance_id=``)."""
        where = layout.fault_file(name, session=options.session, **subject)
        keys = tuple(sorted({entry.api_key_env for entry in options.catalog.values()}))
        place = Path(options.output_dir)
        outage = layout.OUTAGE.format(session=options.session, host=socket.gethostname())
        name_of = " ".join(subject.values())
        return cls(name, name_of, Path(log), place / where, place / outage, options.debug, keys)

    def run(
        self,
        work: Callable[[], None],
        on_fault: Callable[[Fault], None],
        put_back: Callable[[Fault], bool] = lambda fault: False,
    ) -> None:
        """Do the work; where it cannot be done, record the fault and call ``on_fault`` to write the outputs.

        ``put_back`` is asked first whether an earlier result can take its place again; such a fault is not counted.
        """
        with log_to(self.log, debug=self.debug, keys=self.keys), _unwound():
            try:
                persistently(work, self.outage)
                return
            except CarriedFault as carried:
                fault = carried.fault
                logger.info("nothing to do: %s met a fault before (%s)", fault.stage, fault.message)
            except Exception as error:  # the boundary: nothing may pass that leaves an instance without a state
                fault = faults.from_error(_typed(error), self.name, faults.count(self.faults) + 1)
                logger.error("%s %s: %s", self.name, self.subject, fault.message, exc_info=error)
                hint = f"\nHint: {fault.hint}" if fault.hint else ""
                print(f"{self.name} {self.subject}: {fault.message}{hint}\nLog: {self.log}", file=sys.stderr)
            if put_back(fault):
                logger.info("the earlier result is in its place again")
                return
            faults.record(self.faults, fault)
            on_fault(fault)


@contextlib.contextmanager
def _unwound() -> Iterator[None]:
    """Let SIGTERM, by which schedulers cancel, end the job by way of its ``with`` blocks: its container goes with it.

    It is no fault: whoever cancels wants no record, and the next run goes on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # the way out must not be left as well
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def log_to(path: Path | str, *, debug: bool = False, keys: tuple[str, ...] = ()) -> Iterator[None]:
    """Send this project's log records to ``path`` while the block runs.

    In a thread of Snakemake's process only that thread's: cheap stages run side by side there.
    A fault that gets this far (the disk is too full even for its record) ends
    the process with its message, or goes on to Snakemake from a thread of its;
    the traceback is in the log.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    alone = threading.current_thread() is threading.main_thread()  # else a job in Snakemake's process
    thread = threading.get_ident()
    handler = _JobLog(path, encoding="utf-8", errors="backslashreplace")
    handler.keys = keys
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.DEBUG if debug else logging.INFO)
    handler.addFilter(lambda record: alone or record.thread == thread)
    logger.addHandler(handler)
    logger.setLevel(handler.level)
    try:
        # SystemExit in a job's thread would hang Snakemake.
        with reported() if alone else contextlib.nullcontext():
            try:
                yield
            except Exception as error:
                logger.error("%s", error, exc_info=error)
                raise _typed(error) from error
    finally:
        logger.removeHandler(handler)
        with contextlib.suppress(OSError):  # no room for the log is no reason to lose the work
            handler.close()


class _JobLog(logging.FileHandler):
    keys: tuple[str, ...] = ()

    def format(self, record: logging.LogRecord) -> str:
        """The record without the values of ``keys`` and of any variable that is called a key, a token or a secret."""
        text = super().format(record)
        return str(clean(text, environment_secrets(self.keys)))

    def handleError(self, record: logging.LogRecord) -> None:
        """A log that cannot be written (disk full) must not hide the message behind a traceback."""


def _typed(error: Exception) -> Exception:
    """What an exception of Python's own says of the machine."""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT):
        where = error.filename2 or error.filename or "a file of this job"  # type: ignore[attr-defined]
        hint = "Free disk space, then run the same command again."
        return DiskFullError(f"No space left while writing {where}.", hint).with_traceback(error.__traceback__)
    if number == errno.ENOMEM or isinstance(error, MemoryError):
        hint = "Run fewer jobs at a time (-j), or give each more memory; then run the same command again."
        return OutOfMemoryError("This job's own process got no memory.", hint).with_traceback(error.__traceback__)
    return error
