"""What a lab's directory tells about it (lab.json)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from airflow_provider_spotmix.lab.files import Files, write_private


@dataclass(frozen=True)
class State:
    """What is needed to find a lab again.

    Attributes:
        name: the lab's.
        network: N of 127.N.0.0/16.
        supervisor_pid: the parent of all its processes.
        supervisor_started: seconds since the epoch; tells it from a later process with the same id.
        config: `LabConfig.to_json`.
        ephemeral: whether it belongs to the process that started it.
        complete: whether it has started; until then it ends with the process that starts it, whatever it is to become.

    """

    name: str
    network: int
    supervisor_pid: int
    supervisor_started: float
    config: dict[str, Any]
    ephemeral: bool
    complete: bool = False

    def write(self, files: Files) -> None:
        """Keep it where `read` finds it: whole, whenever this process dies."""
        new = files.state.with_suffix(".new")
        write_private(new, json.dumps(asdict(self), indent=1).encode())
        new.replace(files.state)

    @classmethod
    def read(cls, files: Files) -> State | None:
        """The state of the lab in that directory, which may be dead; None if there is none that can be read."""
        try:
            return cls(**json.loads(files.state.read_text()))
        except (OSError, ValueError, TypeError):
            return None
