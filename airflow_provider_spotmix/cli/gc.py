"""`spotmix gc`: delete what is left of fleets that nobody looks after any more."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.kube.errors import KubeError

if TYPE_CHECKING:
    from airflow_provider_spotmix.kube.client import Kube

EXIT_INCOMPLETE = 1
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Item:
    """One thing that is left over. ``action``: would-delete, deleted, gone (somebody else was faster) or failed."""

    kind: str
    namespace: str
    name: str
    fleet: str
    task: str
    why: str
    action: str = "would-delete"
    error: str = ""


Delete = Callable[["Kube"], Awaitable[bool]]


class Duration(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.3
    """Seconds from ``90s``, ``15m``, ``1h``, ``2d``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it; a number is seconds."""
        found = re.fullmatch(r"(\d+)([smhd]?)", str(value).strip())
        if not found:
            self.fail(
                f"{value!r} is no duration; give a whole number and a unit, such as 90s, 15m, 1h or 2d", param, ctx
            )
        return float(int(found[1]) * _UNITS.get(found[2], 1))


@click.command()
@click.option(
    "--namespace", "-n", "namespaces", multiple=True, help="Where to look; may be repeated. Default: the context's."
)
@click.option("--kubeconfig", help="Path of a kubeconfig. Default: in a pod its service account, else kubectl's own.")
@click.option("--context", help="A context of the kubeconfig. Default: its current one.")
@click.option("--instance", help="Name of the Airflow deployment whose fleets to look at. Default: this one's.")
@click.option("--older-than", type=Duration(), default="1h", show_default=True, help="Leave alone what is younger.")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@click.option(
    "--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to say it."
)
@click.pass_context
def gc(
    ctx: click.Context,
    namespaces: tuple[str, ...],
    kubeconfig: str | None,
    context: str | None,
    instance: str | None,
    older_than: float,
    dry_run: bool,
    output: str,
) -> None:
    """Delete fleets whose task instance is over, and what is left of fleets without an application.

    Run it with Airflow's configuration and access to its database, as `airflow db` commands are. What Airflow does not
    answer for is left alone. The exit code is 1 when something could not be deleted.
    """
    from airflow_provider_spotmix.kube.config import ClusterConfig

    cluster = ClusterConfig(config_file=kubeconfig, context=context)
    where = namespaces or (cluster.resolve_namespace(),)
    sweeping = _Gc(instance or _own_instance(), older_than, dry_run=dry_run, say=_printer(output))

    async def run() -> None:
        async with _connected(cluster) as kube:
            for namespace in where:
                await sweeping.clean(kube, namespace)

    asyncio.run(run())
    if output == "json":
        click.echo(json.dumps([asdict(item) for item in sweeping.items], indent=2))
    else:
        click.echo(_summary(sweeping.items, sweeping.unknown, where))
    if any(item.action == "failed" for item in sweeping.items):
        ctx.exit(EXIT_INCOMPLETE)


class _Gc:
    """One run."""

    def __init__(self, instance: str, older_than: float, *, dry_run: bool, say: Callable[[Item], None]) -> None:
        self._instance = instance
        self._born_before = time.time() - older_than
        self._dry_run = dry_run
        self._say = say
        self.items: list[Item] = []
        self.unknown = 0

    async def clean(self, kube: Kube, namespace: str) -> None:
        for item, delete in [*await self._fleets(kube, namespace), *await self._leftovers(kube, namespace)]:
            done = item if self._dry_run else await _done(item, delete, kube)
            self.items.append(done)
            self._say(done)

    async def _fleets(self, kube: Kube, namespace: str) -> list[tuple[Item, Delete]]:
        from airflow_provider_spotmix.cli.airflow_states import ask_database, known_tries
        from airflow_provider_spotmix.fleet import sweep
        from airflow_provider_spotmix.hooks.instance import instance_name

        found = [
            each
            for each in await sweep.find(kube, namespace, instance=self._instance)
            if each.created_at < self._born_before
        ]
        if self._instance != instance_name():
            # Only what this database has had itself is its to judge: another one has runs of the same names.
            known = known_tries(each.task_instance for each in found) if found else set()
            self.unknown += sum(each.task_instance not in known for each in found)
            found = [each for each in found if each.task_instance in known]
        states = await ask_database(sweep.unique(each.task for each in found)) if found else {}
        items: list[tuple[Item, Delete]] = []
        for each in found:
            self.unknown += sweep.key_of(each.task) not in states
            if why := sweep.why_over(each.task, states):
                item = Item(each.resource.kind, each.namespace, each.name, each.fleet, each.task.text, why)
                items.append((item, partial(sweep.delete, found=each)))
        return items

    async def _leftovers(self, kube: Kube, namespace: str) -> list[tuple[Item, Delete]]:
        from airflow_provider_spotmix.fleet.leftovers import delete_leftover, find_leftovers
        from airflow_provider_spotmix.manifests import labels

        items: list[tuple[Item, Delete]] = []
        for each in await find_leftovers(kube, namespace):
            metadata = each.metadata
            if (metadata.creation_timestamp or 0.0) >= self._born_before:
                continue
            fleet = metadata.labels.get(labels.FLEET, "")
            item = Item(each.resource.kind, metadata.namespace, metadata.name, fleet, "", each.why)
            items.append((item, partial(delete_leftover, leftover=each)))
        return items


async def _done(item: Item, delete: Delete, kube: Kube) -> Item:
    try:
        action, error = ("deleted" if await delete(kube) else "gone"), ""
    except KubeError as refused:
        action, error = "failed", str(refused)
    return replace(item, action=action, error=error)


def _own_instance() -> str:
    from airflow_provider_spotmix.hooks.instance import instance_name, is_distinctive

    if not is_distinctive():
        raise InvalidInputError(
            f"this Airflow calls itself {instance_name()!r}, as another one may, too; set [spotmix] instance, or give"
            " --instance with what the annotation spotmix.io/identity of its applications begins with"
        )
    return instance_name()


@asynccontextmanager
async def _connected(cluster: Any) -> AsyncIterator[Kube]:
    kube = await cluster.connect()
    try:
        yield kube
    finally:
        await kube.close()


def _printer(output: str) -> Callable[[Item], None]:
    def say(item: Item) -> None:
        if output == "text":
            said = f"{item.action:<13} {item.kind} {item.name} in namespace {item.namespace}: {item.why}"
            click.echo(f"{said}: {item.error}" if item.error else said)

    return say


def _summary(items: list[Item], unknown: int, namespaces: tuple[str, ...]) -> str:
    counts = {action: sum(item.action == action for item in items) for action in dict.fromkeys(i.action for i in items)}
    said = ", ".join(f"{count} {action}" for action, count in counts.items()) or "nothing is left over"
    more = f"; {unknown} of which this Airflow knows nothing were left alone" if unknown else ""
    return f"{said} ({'namespace ' + ', '.join(namespaces)}){more}"
