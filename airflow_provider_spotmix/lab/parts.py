"""Names of a lab's components, in the order in which they start."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_spotmix.lab.errors import LabError

ETCD, API_SERVER = "etcd", "apiserver"
CONTROLLER_MANAGER, SCHEDULER, NODES, OPERATOR = "controller-manager", "scheduler", "nodes", "spark-operator"
KWOK = "kwok"  # only where there are played nodes

ALL = (ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER, NODES, OPERATOR, KWOK)
OPTIONAL = (CONTROLLER_MANAGER, SCHEDULER, NODES, OPERATOR)

_OTHER_NAMES = {"operator": OPERATOR, "kube-apiserver": API_SERVER, "api-server": API_SERVER}
_OTHER_NAMES |= {f"kube-{name}": name for name in (CONTROLLER_MANAGER, SCHEDULER)}


def find(name: str, among: Iterable[str] = ALL) -> str:
    """The component that a person means.

    Raises:
        LabError: there is none of that name.

    """
    known = list(among)
    found = _OTHER_NAMES.get(name, name)
    if found not in known:
        raise LabError(f"unknown component {name!r}; components: {', '.join(known)}")
    return found
