"""`spotmix lab`: start, look at, interrupt and stop a rehearsal lab."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from airflow_provider_spotmix.cli import tables
from airflow_provider_spotmix.lab import leftovers, parts, paths, progress
from airflow_provider_spotmix.lab import logs as output
from airflow_provider_spotmix.lab.config import MAX_KWOK_NODES, LabConfig, nodes_of
from airflow_provider_spotmix.lab.files import Files
from airflow_provider_spotmix.lab.lab import DEFAULT_NAME, Lab, option
from airflow_provider_spotmix.lab.pools import kwok_pools
from airflow_provider_spotmix.lab.signals import SIGNALS
from airflow_provider_spotmix.lab.status import LabStatus

_NAME = click.option("--name", default=DEFAULT_NAME, show_default=True, help="Which lab: several can run side by side.")
_JSON = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group()
def lab() -> None:
    """Rehearse on this machine: a real cluster without a cluster.

    A Kubernetes control plane, the Kubeflow Spark operator, two spot and two on-demand nodes whose pods are local
    processes. It needs no root and no images, and listens on 127.0.0.0/8 only.
    """


@lab.command()
@_NAME
@click.option("--config", type=click.Path(path_type=Path), help="Pools, sizes and more; see `spotmix lab config`.")
@click.option(
    "--kwok-nodes", type=click.IntRange(1, MAX_KWOK_NODES), help="So many played nodes more, half of them spot."
)
@_JSON
def up(name: str, config: Path | None, kwok_nodes: int | None, *, as_json: bool) -> None:
    """Start the lab and leave it running; the first time it is built, for some minutes.

    Of a lab that runs, what has died or was stopped is started.
    """
    running = Lab.up(name, _configuration(config, kwok_nodes), progress.for_person())
    found = running.status()
    if as_json:
        _print_json(found.to_json())
        return
    click.echo(f"lab {name!r} is ready: {len(found.nodes)} nodes at {found.api_server}")
    click.echo(f"export KUBECONFIG={shlex.quote(found.kubeconfig)}")


@lab.command()
def config() -> None:
    """Print the default configuration, to begin one with: spotmix lab config > lab.yaml."""
    from airflow_provider_spotmix.lab.config_file import DEFAULT

    click.echo(DEFAULT, nl=False)


@lab.command()
@_NAME
def down(name: str) -> None:
    """Stop the lab and remove everything but the cache of built programs."""
    with progress.for_person().step(f"Stopping lab {name!r}"):
        stopped = Lab.stop(name)
    click.echo(f"lab {name!r} is stopped" if stopped else f"lab {name!r} was not running")


@lab.command()
@_NAME
@_JSON
def status(name: str, *, as_json: bool) -> None:
    """Show processes and nodes; exit code 0 only when all is well."""
    found = Lab.attach(name).status()
    if as_json:
        _print_json(found.to_json())
    else:
        _show(found)
    if not found.healthy:
        raise click.exceptions.Exit(1)


@lab.command()
@_NAME
@_JSON
def nodes(name: str, *, as_json: bool) -> None:
    """Show the nodes: pool, state, pods, and what these have requested of CPU and memory.

    States are those that the cluster sees: Ready, NotReady, Leaving (it is being taken away), Gone.
    """
    running = Lab.attach(name)
    running.api.text("/readyz")  # its error says more than an empty table
    found = running.status()
    _print_json(found.to_json()["nodes"]) if as_json else click.echo(_nodes(found))


@lab.command(name="list")
@_JSON
def list_labs(*, as_json: bool) -> None:
    """Show the labs of this user; a stale one is removed by the next `up` or `down`."""
    found = leftovers.find_all()
    if as_json:
        _print_json([asdict(each) for each in found])
        return
    rows = [
        (each.name, tables.red(each.state) if each.state == "stale" else each.state, each.api_server, each.directory)
        for each in found
    ]
    click.echo(tables.render(("name", "state", "api server", "directory"), *rows))


@lab.command()
@_NAME
@click.argument("component")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until the lab ends.")
@click.option("--tail", type=click.IntRange(min=0), help="Only the last lines. Default: all.")
def logs(name: str, component: str, tail: int | None, *, follow: bool) -> None:
    """Print what COMPONENT says: etcd, apiserver, controller-manager, scheduler, nodes, operator, kwok, supervisor.

    What pods say: kubectl logs.
    """
    directory = paths.lab_dir(name)
    if not directory.exists():
        Lab.attach(name)  # says so
    _print_log(Files(directory), component, tail=tail, follow=follow)


@lab.command()
@_NAME
@click.argument("node")
@click.option("--signal", "signal_name", type=click.Choice(list(SIGNALS)), default="karpenter", show_default=True)
@click.option("--lead", type=click.FloatRange(min=0), metavar="SECONDS", help="Notice time. Default: the real thing's.")
def interrupt(name: str, node: str, signal_name: str, lead: float | None) -> None:
    """Take NODE away as its provider would; returns when it is gone."""
    running = Lab.attach(name)
    remedy = f"bring it back: spotmix lab restore {node}{option(name)}"
    try:
        running.interrupt(node, signal_name, lead, progress.for_person())
    except KeyboardInterrupt:
        click.echo(f"{node} stays as it is now; {remedy}", err=True)
        raise
    click.echo(f"{node} {SIGNALS[signal_name].outcome}; {remedy}")


@lab.command()
@_NAME
@click.argument("node")
def restore(name: str, node: str) -> None:
    """Start a new machine in place of the NODE that was taken away, or mend the network of one that was cut off."""
    running = Lab.attach(name)
    with progress.for_person().step(f"Starting {node}"):
        running.restore(node)
    click.echo(f"{node} is Ready")


@lab.command()
@_NAME
@click.argument("components", metavar="COMPONENT...", nargs=-1, required=True)
def restart(name: str, components: tuple[str, ...]) -> None:
    """Restart components with the same state, ports and keys: as after a crash, or when one has died.

    COMPONENT is one of etcd, apiserver, controller-manager, scheduler, nodes, operator.
    """
    running, display = Lab.attach(name), progress.for_person()
    for component in components:
        running.restart(component, display)
        click.echo(f"{component} is ready")


@lab.command()
@_NAME
def kubeconfig(name: str) -> None:
    """Print the path of the kubeconfig: export KUBECONFIG=$(spotmix lab kubeconfig)."""
    click.echo(Lab.attach(name).kubeconfig)


def _configuration(path: Path | None, kwok_nodes: int | None) -> LabConfig | None:
    found = None
    if path is not None:
        from airflow_provider_spotmix.lab import config_file

        found = config_file.read(path)
    if kwok_nodes is not None:
        found = found or LabConfig()
        found = replace(found, nodes=(*found.nodes, *nodes_of(*kwok_pools(kwok_nodes))))
    return found


def _print_log(files: Files, component: str, *, tail: int | None, follow: bool) -> None:
    there = {path.stem for path in files.log("any").parent.glob("*.log")}
    path = files.log(parts.find(component, sorted(there)))
    found = output.follow(path, tail, files.root.exists) if follow else output.lines(path, tail)
    for line in found:
        click.echo(line, nl=False)


def _print_json(content: Any) -> None:
    click.echo(json.dumps(content, indent=2))


def _show(found: LabStatus) -> None:
    state = "healthy" if found.healthy else tables.red("not healthy")
    click.echo(f"lab {found.name!r} is {state}, API server {found.api_server}")
    click.echo(f"export KUBECONFIG={shlex.quote(found.kubeconfig)}\n")
    click.echo(_nodes(found) + "\n")
    rows = [
        (
            part.name,
            part.state if part.state == "running" else tables.red(f"{part.state} ({part.exit_code})"),
            str(part.pid or ""),
            tables.mebibytes(part.memory_bytes) if part.pid else "",
        )
        for part in found.components
    ]
    click.echo(tables.render(("component", "state", "pid", "memory"), *rows))
    for part in found.components:
        if part.state == "ended":
            remedy = f"start it: spotmix lab restart {part.name}{option(found.name)}"
            click.echo(f"\n{part.name} has ended by itself; {remedy}\nThe end of {part.log}:\n{part.last_words}")


def _nodes(found: LabStatus) -> str:
    rows = [
        (
            node.name,
            node.pool,
            node.capacity_type,
            node.state if node.ready and node.state == "Ready" else tables.red(node.state),
            str(node.pods),
            f"{node.cpu_requested:g}/{node.cpu:g}",
            f"{tables.mebibytes(node.memory_requested)}/{tables.mebibytes(node.memory)}",
            ",".join(node.taints),
        )
        for node in found.nodes
    ]
    return tables.render(("node", "pool", "capacity", "state", "pods", "cpu", "memory", "taints"), *rows)
