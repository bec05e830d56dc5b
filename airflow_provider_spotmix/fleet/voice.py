"""What a fleet tells a person: every change, and a trouble that lasts only once."""

from __future__ import annotations

from collections.abc import Callable, Hashable

TellPerson = Callable[[str, bool], None]


class Voice:
    """Tells lines, and remembers which troubles have been told."""

    def __init__(self, tell: TellPerson) -> None:
        self._tell = tell
        self._told: dict[Hashable, str] = {}

    def __call__(self, message: str, warning: bool = False) -> None:
        """Tell a line."""
        self._tell(message, warning)

    def trouble(self, topic: Hashable, message: str) -> None:
        """Warn of something that is tried again and again; say it anew only when it has become something else."""
        if self._told.get(topic) != message:
            self._told[topic] = message
            self._tell(message, True)

    def is_troubled(self, topic: Hashable) -> bool:
        """Whether a trouble has been told that is not over."""
        return topic in self._told

    def settled(self, topic: Hashable) -> bool:
        """The trouble is over: it may be told again when it returns. Returns whether there was any."""
        return self._told.pop(topic, None) is not None
