"""What our own credentials permit: the answer to a SelfSubjectRulesReview, read as the RBAC authorizer reads a rule.

Source: ``k8s.io/kubernetes/pkg/apis/rbac/v1/evaluation_helpers.go``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_spotmix.kube.resources import Resource


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: it permits every combination of its verbs, API groups and resources (``pods/status``)."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]

    def permits(self, verb: str, resource: Resource[Any], subresource: str | None = None) -> bool:
        """Tell whether it permits a call on every object of that kind."""
        names = {"*", resource.plural} if subresource is None else {"*", f"{resource.plural}/{subresource}"}
        if subresource is not None:
            names.add(f"*/{subresource}")
        return not (
            self.verbs.isdisjoint({"*", verb})
            or self.groups.isdisjoint({"*", resource.group})
            or self.resources.isdisjoint(names)
        )


@dataclass(frozen=True, slots=True)
class Rules:
    """All that is permitted in a namespace, cluster-wide grants included.

    ``complete`` is False when the cluster has an authorizer that lists no rules (a webhook, as managed clusters have):
    then a call that no rule permits may be permitted all the same, and :meth:`~.client.Kube.can_i` knows.
    """

    rules: tuple[Rule, ...]
    complete: bool = True

    def permit(self, verb: str, resource: Resource[Any], subresource: str | None = None) -> bool:
        """Tell whether a rule permits a call on every object of that kind."""
        return any(rule.permits(verb, resource, subresource) for rule in self.rules)


def read_rules(review: Mapping[str, Any]) -> Rules:
    """Read an answered SelfSubjectRulesReview. Rules for objects of certain names only are left out."""
    status = review.get("status") or {}
    return Rules(
        rules=tuple(
            Rule(
                verbs=frozenset(rule.get("verbs") or ()),
                groups=frozenset(rule.get("apiGroups") or ()),
                resources=frozenset(rule.get("resources") or ()),
            )
            for rule in status.get("resourceRules") or ()
            if not rule.get("resourceNames")
        ),
        complete=not status.get("incomplete"),
    )
