"""Ask Airflow's own database about task instances, as its own commands do. Read only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from airflow_provider_spotmix.core.errors import SpotmixError
from airflow_provider_spotmix.fleet.sweep import GONE, TaskKey, key_of
from airflow_provider_spotmix.manifests.identity import TaskRef

# Values in one statement: some databases allow no more than a thousand.
_MOST = 500


class AirflowUnavailableError(SpotmixError):
    """Airflow's database cannot be asked."""


async def ask_database(tasks: Sequence[TaskRef]) -> dict[TaskKey, str | None]:
    """Return the state of each task instance: `GONE` when it is not there although its DAG is.

    A task instance whose DAG is unknown is left out: this may be the wrong database.

    Raises:
        AirflowUnavailableError: the database does not answer, or holds no Airflow.

    """
    with _explained():
        return _ask(tasks)


def known_tries(uuids: Iterable[str]) -> set[str]:
    """Return those of the UUIDs that are of a task instance of this database, at its present try or an earlier one.

    Raises:
        AirflowUnavailableError: the database does not answer, or holds no Airflow.

    """
    with _explained():
        return _known(sorted(set(uuids)))


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise AirflowUnavailableError(
            f"cannot ask Airflow's database about task instances ({first}); run this with the configuration of the"
            " scheduler, where `airflow db check` succeeds"
        ) from error


def _known(uuids: Sequence[str]) -> set[str]:
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory
    from airflow.utils.session import create_session
    from sqlalchemy import select

    found: set[str] = set()
    with create_session() as session:
        for column in (TaskInstance.id, TaskInstanceHistory.task_instance_id):
            kind = column.type.python_type  # text or a UUID, by version
            for ids in _chunks([kind(each) for each in uuids if _is_uuid(each)]):
                found |= {str(each) for each in session.scalars(select(column).where(column.in_(ids)))}
    return found


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _ask(tasks: Sequence[TaskRef]) -> dict[TaskKey, str | None]:
    from airflow.models.dag import DagModel
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    states: dict[TaskKey, str | None] = {}
    with create_session() as session:
        known: set[str] = set()
        for ids in _chunks(sorted({task.dag_id for task in tasks})):
            known |= set(session.scalars(select(DagModel.dag_id).where(DagModel.dag_id.in_(ids))))
        for task in tasks:
            if task.dag_id in known:
                states[key_of(task)] = GONE
        for (dag_id, task_id), runs in _runs(tasks).items():
            for ids in _chunks(sorted(runs)):
                columns = (TaskInstance.run_id, TaskInstance.map_index, TaskInstance.state)
                mine = (TaskInstance.dag_id == dag_id, TaskInstance.task_id == task_id, TaskInstance.run_id.in_(ids))
                for run_id, map_index, state in session.execute(select(*columns).where(*mine)):
                    states[dag_id, task_id, run_id, map_index] = None if state is None else str(state)
    return states


def _runs(tasks: Sequence[TaskRef]) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for task in tasks:
        found.setdefault((task.dag_id, task.task_id), set()).add(task.run_id)
    return found


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[first : first + _MOST] for first in range(0, len(values), _MOST))
