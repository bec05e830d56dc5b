"""Identity and names of a fleet: the same task-instance try always gets the same ones, no other ever does."""

from __future__ import annotations

import hashlib
import re

import msgspec
from msgspec import Struct

from airflow_provider_spotmix.core.errors import InvalidInputError

# The longest name that Spark and the operators append to an application's: "-ui-ingress-0", "-driver-svc", "-driver".
# With the suffix below a name stays under the 63 characters of a DNS label.
MAX_NAME = 45
_SUFFIX = 8
VALID_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


class TaskRef(Struct, frozen=True, kw_only=True):
    """The task instance that a fleet belongs to, in Airflow's own words, which labels may shorten or change.

    Attributes:
        dag_id: its DAG.
        task_id: the task, with its groups.
        run_id: the run.
        map_index: -1 when the task is not mapped.
        try_number: 1 for the first.
        run: tells apart runs of one ``run_id``, of which the earlier was deleted, and what was before a task of the run
            was cleared from what came after; empty when Airflow does not say.

    """

    dag_id: str
    task_id: str
    run_id: str
    map_index: int = -1
    try_number: int = 1
    run: str = ""

    @property
    def text(self) -> str:
        """As it is written on the application's object: JSON."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def read(cls, text: str) -> TaskRef | None:
        """Read what is written on an application's object; None when it is not that."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError:
            return None

    def __str__(self) -> str:
        mapped = f" map index {self.map_index}" if self.map_index >= 0 else ""
        return f"{self.dag_id}.{self.task_id} of run {self.run_id}{mapped}, try {self.try_number}"


class Identity(Struct, frozen=True, kw_only=True):
    """Who a fleet belongs to.

    Attributes:
        instance: the Airflow deployment, so that two of them never share a fleet.
        task_instance: UUID of the task instance; Airflow 3 draws a new one for every try.
        task: the same in words that a person and a sweep understand; adds nothing to the identity.

    """

    instance: str
    task_instance: str
    task: TaskRef | None = None

    @property
    def text(self) -> str:
        """Exact identity, as it is written on the application's object."""
        return f"{self.instance}/{self.task_instance}"

    @property
    def fleet_id(self) -> str:
        """Label-safe id of the fleet: 63 characters would be allowed, 16 hexadecimal ones are enough."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


def application_name(base: str, identity: Identity, group: str = "", *, is_unique: bool = True) -> str:
    """Name of an application: what a person calls it, which group of it, plus a suffix that is the fleet's own.

    Without that suffix (``is_unique=False``) it is exactly what the person calls it, and not shortened.

    Raises:
        InvalidInputError: ``base`` is no DNS-1035 label; the operators refuse those.

    """
    if not VALID_NAME.fullmatch(base):
        raise InvalidInputError(
            f"metadata.name {base!r} is no valid application name: lower-case letters, digits and '-', starting with a"
            " letter, ending with a letter or digit"
        )
    if not is_unique:
        if len(base + group) > MAX_NAME:
            raise InvalidInputError(
                f"the application is named {base + group!r}, {len(base + group)} characters long; shorten it to"
                f" {MAX_NAME}, or let random_name_suffix be True, which does"
            )
        return base + group
    return f"{base[: MAX_NAME - _SUFFIX - 1 - len(group)].rstrip('-')}{group}{own_suffix(identity.fleet_id)}"


def own_suffix(fleet_id: str) -> str:
    """The end of the names of a fleet's applications that no other fleet's have."""
    return f"-{fleet_id[:_SUFFIX]}"


class GroupNames(Struct, frozen=True, kw_only=True):
    """How the applications of a fleet with groups belong together, as every one of them says.

    Attributes:
        attempts: of each group, the name of its application, and of the one that may take its place.
        quorum: how many groups have to succeed; 0 for all.

    """

    attempts: tuple[tuple[str, ...], ...]
    quorum: int = 0

    @property
    def text(self) -> str:
        """As it is written on an application's object: JSON."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def read(cls, text: str) -> GroupNames | None:
        """Read what is written on an application's object; None when it is not that."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError:
            return None
