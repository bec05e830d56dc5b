"""An auth manager whose users read some DAGs and not others, as those of FAB and Keycloak do."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

# Which DAGs a user may read, and what of them; None: everything.
RIGHTS: dict[str, dict[str, set[DagAccessEntity] | None]] = {
    "anna": {"etl": None, "quiet": None},
    "without-xcoms": {"etl": {DagAccessEntity.TASK_INSTANCE, DagAccessEntity.RUN}},
    "nobody": {},
}


def user(name: str) -> SimpleAuthManagerUser:
    """Return a user of `RIGHTS`, or one called ``root`` who may read everything."""
    return SimpleAuthManagerUser(username=name, role="VIEWER")


class AuthManagerByDag(SimpleAuthManager):
    """Knows `RIGHTS`."""

    def is_authorized_dag(self, *, user: Any, access_entity: Any = None, details: Any = None, **kwargs: Any) -> bool:
        """See there. Without a DAG: whether there is any."""
        if user.username == "root":
            return True
        rights = RIGHTS[user.username]
        if details is None or details.id is None:
            return bool(rights)
        if details.id not in rights:
            return False
        entities = rights[details.id]
        return access_entity is None or entities is None or access_entity in entities
