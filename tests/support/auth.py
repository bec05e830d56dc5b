"""An auth manager whose users read some DAGs and not others, as those of FAB and Keycloak do."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

# Which DAGs a user may read, and what of them; None: everything. Other users may do what their role says.
RIGHTS: dict[str, dict[str, set[DagAccessEntity] | None]] = {
    "anna": {"etl": None, "quiet": None},
    "without-xcoms": {"etl": {DagAccessEntity.TASK_INSTANCE, DagAccessEntity.RUN}},
    "nobody": {},
}


def viewer(name: str) -> SimpleAuthManagerUser:
    """Return a user with the right to look."""
    return SimpleAuthManagerUser(username=name, role="VIEWER")


class AuthManagerByDag(SimpleAuthManager):
    """Knows `RIGHTS`."""

    def is_authorized_dag(self, *, user: Any, access_entity: Any = None, details: Any = None, **kwargs: Any) -> bool:
        """See there. Without a DAG: whether there is any."""
        rights = RIGHTS.get(user.username)
        if rights is None:
            return super().is_authorized_dag(user=user, access_entity=access_entity, details=details, **kwargs)
        if details is None or details.id is None:
            return bool(rights)
        if details.id not in rights:
            return False
        entities = rights[details.id]
        return access_entity is None or entities is None or access_entity in entities
