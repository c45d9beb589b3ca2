"""Going on with a run that died: its answers come from the journal while its commands run again.

The model saw the outputs of the run that died. So what the commands print this time
is compared and noted, and every later request carries what the model saw.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

Message = dict[str, Any]
ExitCodes = Callable[[Message], Sequence[int]]
_STEADY = ("role", "tool_call_id")


class Replay:
    """Recorded requests, held against those that an agent makes again.

    Args:
        entries: The journal's, in order.
        exit_codes: Reads the exit codes off a message; of one that is no observation, none.

    Attributes:
        steps: Requests answered from the journal so far.
        diverged: Those among them (1 for the first) that came with an output not seen before.
        ended_at: The request at which it ended early; None where it did not.
    """

    def __init__(self, entries: Sequence[dict[str, Any]], exit_codes: ExitCodes | None = None) -> None:
        self.steps = 0
        self.diverged: list[int] = []
        self.ended_at: int | None = None
        self._entries = list(entries)
        self._exit_codes: ExitCodes = exit_codes or (lambda message: ())
        self._made: list[Message] = []  # the last replayed request, as the agent made it
        self._seen: list[Message] = []  # and as the model saw it
        self._instead: dict[str, Message] = {}

    @property
    def over(self) -> bool:
        """Whether the next request is a live one."""
        return self.ended_at is not None or self.steps == len(self._entries)

    @property
    def rest(self) -> list[dict[str, Any]]:
        """Entries that may yet answer a request."""
        return [] if self.over else self._entries[self.steps :]

    def next(self, messages: Sequence[Message], tools: Sequence[Message]) -> dict[str, Any] | None:
        """The entry that answers this request; None when the replay is over, or ends with it.

        It ends where the conversation is another one: other prompts or tools, messages of
        another kind or number, another exit code. Other words of an output do not end it.
        """
        if self.over:
            return None
        entry = self._entries[self.steps]
        now, then = self.as_seen(messages), entry["messages"]
        if list(tools) != entry["tools"] or not self._alike(now, then):
            self.end()
            return None
        self.steps += 1
        changed = [(mine, seen) for mine, seen in zip(now, then, strict=True) if mine != seen]
        if changed:
            self.diverged.append(self.steps)
            self._instead |= {_text(mine): seen for mine, seen in changed}
        self._made, self._seen = list(messages), list(then)
        return entry

    def end(self) -> None:
        """Answer no further request."""
        if not self.over:
            self.ended_at = self.steps + 1

    def as_seen(self, messages: Sequence[Message]) -> list[Message]:
        """A request of the agent with the outputs that the model saw, in the place of what they came to be again.

        Most agents only ever add to a conversation. In one that leaves messages out, each is looked up by its text.
        """
        known = len(self._made)
        if list(messages[:known]) == self._made:
            return [*self._seen, *messages[known:]]
        return [self._instead.get(_text(message), message) for message in messages]

    def _alike(self, now: Sequence[Message], then: Sequence[Message]) -> bool:
        if not self.steps or len(now) != len(then):
            return list(now) == list(then)  # the first request holds prompts alone
        return all(mine == seen or self._same_event(mine, seen) for mine, seen in zip(now, then, strict=True))

    def _same_event(self, mine: Message, seen: Message) -> bool:
        if mine["role"] in ("assistant", "system") or any(mine.get(key) != seen.get(key) for key in _STEADY):
            return False
        return list(self._exit_codes(mine)) == list(self._exit_codes(seen))


def _text(message: Message) -> str:
    return json.dumps(message, sort_keys=True)
