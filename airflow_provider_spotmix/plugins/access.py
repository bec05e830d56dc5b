"""Who may read what. Airflow leaves the applications of plugins open to everybody: here every data route asks.

A fleet's data is its task instance's, and is read from XComs: whoever may not read both of a DAG sees nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models.dag import DagModel
from airflow.providers.common.compat.sdk import conf
from fastapi import Depends

__all__ = ["MAY_READ_DAG", "GetUserDep", "readable_dags"]

_ENTITIES = (DagAccessEntity.TASK_INSTANCE, DagAccessEntity.XCOM)

# For routes with a dag_id in their path: 401 without credentials, 403 without the right.
MAY_READ_DAG = [Depends(requires_access_dag("GET", entity)) for entity in _ENTITIES]


def readable_dags(user: Any, dag_ids: Iterable[str]) -> set[str]:
    """Return which of these DAGs' fleets a user may see.

    Args:
        user: who asks.
        dag_ids: what there is.

    """
    manager = get_auth_manager()
    candidates = manager.get_authorized_dag_ids(user=user, method="GET").intersection(dag_ids)
    requests = {dag_id: [_request(dag_id, entity) for entity in _ENTITIES] for dag_id in candidates}
    if manager.batch_is_authorized_dag([each for pair in requests.values() for each in pair], user=user):
        return set(requests)
    return {dag_id for dag_id, pair in requests.items() if manager.batch_is_authorized_dag(pair, user=user)}


def _request(dag_id: str, entity: DagAccessEntity) -> Any:
    team = DagModel.get_team_name(dag_id) if conf.getboolean("core", "multi_team", fallback=False) else None
    details = DagDetails(id=dag_id, team_name=team)
    return {"method": "GET", "access_entity": entity, "details": details}
