"""What a task's arguments, connection and application come to. Loaded when a task runs: it needs all of the models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from airflow_provider_spotmix.fleet.plan import FleetPlan, plan_fleet
from airflow_provider_spotmix.hooks.choice import ARGUMENTS
from airflow_provider_spotmix.hooks.groups import parse_groups, parse_success_policy
from airflow_provider_spotmix.hooks.spotmix import SpotmixHook
from airflow_provider_spotmix.operators.manifest import Application, as_arguments_say, identity, task_labels

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator


def plan(
    task: SparkFleetOperator,
    context: Context,
    *,
    hook: SpotmixHook,
    application: Application,
    namespace: Callable[[], str],
    tell: Callable[..., None],
) -> FleetPlan:
    """Everything that can be wrong with the input is found here, before anything is submitted.

    Args:
        task: with its arguments rendered.
        context: of the try.
        hook: of the connection.
        application: as the person wrote it.
        namespace: asked for the connection's when neither task nor application names one.
        tell: called with each setting, its value and where it is from.

    Raises:
        InvalidInputError: something in the input cannot be used.

    """
    chosen = hook.choose({name: getattr(task, name) for name in ARGUMENTS})
    for name, (value, origin) in chosen.origins.items():
        tell("%s = %s (from %s)", name, value, origin)
    found = plan_fleet(
        as_arguments_say(application.manifest, task.task_id, image=task.image, code_path=task.code_path),
        identity=identity(context),
        mix=chosen.mix,
        pools=chosen.pools,
        namespace=task.namespace or application.namespace or namespace(),
        placement=chosen.placement,
        controller=chosen.controller,
        policy=chosen.policy,
        prices=chosen.prices,
        groups=parse_groups(task.groups),
        quorum=parse_success_policy(task.success_policy),
        object_labels=task_labels(context),
        name=task.name,
        keep=not task.delete_on_termination,
        is_name_unique=task.random_name_suffix,
    )
    tell("Spark properties against interruptions: %s", _listed(found.added))
    if found.kept:
        tell("Spark properties that stay as the application has them: %s", _listed(found.kept))
    return found


def _listed(properties: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(properties.items()))
