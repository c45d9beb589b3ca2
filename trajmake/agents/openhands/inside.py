"""The program in the container: one conversation of the OpenHands SDK. Python 3.12 or newer.

Run by the bundle's interpreter, in isolated mode, from the folder that the job lends; imports nothing of
this project. The instance's own environment goes to the agent's shell; the SDK does not see it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
HIDDEN_PRELOAD = "TRAJMAKE_LD_PRELOAD"
CONVERSATION = uuid.UUID(int=0)  # its folder's name is told to the model when an output is too long
FULL_OUTPUTS = "/tmp/.openhands"
ENVIRONMENT = {
    "HOME": "/tmp/.openhands",
    "LANG": "C.UTF-8",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
    "LOG_LEVEL": "ERROR",
    "OPENHANDS_SUPPRESS_BANNER": "1",
    "OTEL_SDK_DISABLED": "true",
}


def main() -> None:
    """Converse until the agent has finished or something ended it; post how."""
    gc.disable()  # thousands of modules come in, none of them garbage: a quarter of the start
    task = json.loads((FOLDER / "task.json").read_text(encoding="utf-8"))
    instance = _take_environment()
    import httpx
    import litellm
    from openhands.sdk.conversation import LocalConversation
    from openhands.sdk.conversation.exceptions import ConversationRunError

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    client = httpx.Client(transport=httpx.HTTPTransport(uds=str(FOLDER / "model.sock")), timeout=None)
    litellm.client_session = client
    _prepare_terminal(instance, task["command_seconds"])

    def post(path: str, value: Any) -> None:
        client.post(f"http://model{path}", json=value).raise_for_status()

    conversation = LocalConversation(
        agent=_agent(task),
        workspace=task["workdir"],
        persistence_dir=FULL_OUTPUTS,
        conversation_id=CONVERSATION,
        callbacks=[lambda event: post("/events", event.model_dump(mode="json"))],
        max_iteration_per_run=task["steps"],
        visualizer=None,
        delete_on_close=False,
    )
    gc.enable()
    gc.freeze()
    try:
        ended = _converse(conversation, task)
    except ConversationRunError as error:
        ended = {"status": "error", "code": type(error.original_exception).__name__, "detail": str(error)}
    post("/ended", ended | {"versions": _versions()})


def _take_environment() -> dict[str, str]:
    """The instance's environment, out of the SDK's sight: an image's proxies, keys and tracers are not for it."""
    instance = dict(os.environ)
    if preload := instance.pop(HIDDEN_PRELOAD, ""):
        instance["LD_PRELOAD"] = preload
    os.environ.clear()
    os.environ.update(ENVIRONMENT, PATH=instance.get("PATH", os.defpath))
    return instance


def _prepare_terminal(instance: dict[str, str], seconds: float) -> None:
    """Give the agent's shell the instance's environment, and each of its commands a limit.

    The backend looks these things up by the names that are replaced here; there is no setting for them.
    A command beyond its limit goes on; the model is told, and may wait or interrupt it.
    """
    from openhands.tools.terminal import impl
    from openhands.tools.terminal.terminal import factory, subprocess_terminal

    subprocess_terminal.build_terminal_env = lambda extra=None: dict(instance)
    subprocess_terminal.process_priority_prefix = lambda env: []
    factory._is_tmux_available = impl._is_tmux_available = lambda: False  # the image's
    _steady_screen(subprocess_terminal.SubprocessTerminal)
    execute = impl.TerminalExecutor.__call__

    def limited(self: Any, action: Any, conversation: Any = None) -> Any:
        process = self.session.terminal.process
        if process is not None and process.poll() is not None:
            self.reset()
        allowed = min(action.timeout or seconds, seconds)
        return execute(self, action.model_copy(update={"timeout": allowed}), conversation)

    impl.TerminalExecutor.__call__ = limited


def _steady_screen(shell: Any) -> None:
    """Let a command begin at one whole prompt, and nothing of the one before come later.

    The SDK takes a prompt, or what is left of one, for the end of the command that it has just sent. Its
    ``clear_screen`` looks for a prompt without the carriage returns that a terminal adds, finds none, and
    asks for another, which comes while the next command runs: on a busy machine the model is then shown
    nothing, and the output with the next command's.
    """
    from openhands.tools.terminal.constants import CMD_OUTPUT_PS1_BEGIN as BEGIN
    from openhands.tools.terminal.constants import CMD_OUTPUT_PS1_END as END

    initialize, read_screen, clear_screen = shell.initialize, shell.read_screen, shell.clear_screen

    def until(done: Callable[[], bool], timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while not (there := done()) and time.monotonic() < deadline:
            time.sleep(0.005)
        return there

    def text(self: Any) -> str:
        with self.output_lock:
            return "".join(self.output_buffer).replace("\r", "")

    def prepared(self: Any) -> None:
        initialize(self)
        # Bracketed paste's marks would be in every output. The last word is in no echo of this line.
        self._write_pty(b"bind 'set enable-bracketed-paste off'; printf '%s%s\\n' shell- ready\n")
        until(lambda: text(self).partition("shell-ready\n")[2].endswith(f"{END}\n"), 60)
        self.clear_screen()

    def whole(self: Any) -> str:
        """The screen; of a shell that a command has ended, with the prompt that would else be waited for."""
        until(lambda: not text(self).endswith(END), 2)  # its last line end is on its way
        screen = str(read_screen(self))
        if self.process is None or self.process.poll() is None:
            return screen
        facts = {"exit_code": self.process.returncode, "working_dir": self.work_dir}
        return f"{screen}{BEGIN}{json.dumps(facts)}{END}\n"

    def cleared(self: Any) -> None:
        kept = getattr(self, "prompts_kept", 0)
        until(lambda: (now := text(self)).count(END) > kept or now.endswith(f"{END}\n"), 1)
        with self.output_lock:
            screen = "".join(self.output_buffer).replace("\r", "")
            start = screen.rfind(BEGIN)
            self.prompts_kept = int(start >= 0 and END in screen[start:])
            if self.prompts_kept:
                self.output_buffer.clear()
                self.output_buffer.append(screen[start:])
        if not self.prompts_kept:
            clear_screen(self)

    shell.initialize, shell.read_screen, shell.clear_screen = prepared, whole, cleared


def _agent(task: dict[str, Any]) -> Any:
    from openhands.sdk import LLM, Agent, Tool
    from openhands.sdk.context.condenser import default_condenser
    from openhands.tools.file_editor import FileEditorTool
    from openhands.tools.task_tracker import TaskTrackerTool
    from openhands.tools.terminal import TerminalTool

    llm = LLM(
        usage_id="agent",
        model=f"openai/{task['model']}",
        model_canonical_name=task["model"],
        base_url="http://model/v1",
        api_key="none",
        api_mode="chat",
        num_retries=0,
        timeout=7 * 86_400,
        caching_prompt=False,
        disable_vision=True,
        native_tool_calling=True,
        stream=False,
    )
    return Agent(
        llm=llm,
        tools=[
            Tool(name=TerminalTool.name, params={"terminal_type": "subprocess"}),
            Tool(name=FileEditorTool.name),
            Tool(name=TaskTrackerTool.name),
        ],
        system_prompt=task["system_prompt"] or None,
        system_prompt_kwargs={"cli_mode": True},
        condenser=default_condenser(llm.model_copy(update={"usage_id": "condenser"})),
    )


def _converse(conversation: Any, task: dict[str, Any]) -> dict[str, Any]:
    """Run; an agent that only talks is asked, a few times, to go on or to say that it has finished."""
    conversation.send_message(task["instruction"])
    conversation.run()
    for _ in range(task["reminders"]):
        if _said_finished(conversation) or conversation.state.execution_status.value != "finished":
            break
        conversation.send_message(task["reminder"])
        conversation.run()
    else:
        if not _said_finished(conversation):
            return {"status": "unfinished", "code": "", "detail": ""}
    errors = [event for event in conversation.state.events if type(event).__name__ == "ConversationErrorEvent"]
    status = conversation.state.execution_status.value
    code, detail = (errors[-1].code, errors[-1].detail) if errors and status == "error" else ("", "")
    return {"status": status, "code": code, "detail": detail, "message": _last_words(conversation)}


def _last_words(conversation: Any) -> str:
    for event in reversed(conversation.state.events):
        if getattr(event, "tool_name", "") == "finish" and hasattr(event, "action"):
            return getattr(event.action, "message", "")
    return ""


def _said_finished(conversation: Any) -> bool:
    return any(getattr(event, "tool_name", "") == "finish" for event in reversed(conversation.state.events))


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("openhands-sdk", "openhands-tools", "litellm")} | {
        "python": sys.version.split()[0]
    }


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # the SDK's threads and exit handlers have nothing left to do
