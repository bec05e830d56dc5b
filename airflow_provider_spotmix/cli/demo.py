"""`spotmix demo`, `spotmix up`, `spotmix down`: the whole thing on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from airflow_provider_spotmix.core.cost import Costs
from airflow_provider_spotmix.core.pools import PRESETS
from airflow_provider_spotmix.fleet.overhead import Overhead
from airflow_provider_spotmix.fleet.preflight import Level
from airflow_provider_spotmix.lab import borrowed, borrowed_checks, progress, stage
from airflow_provider_spotmix.lab import demo as story
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.lab import DEFAULT_NAME

_NAME = click.option("--name", default=DEFAULT_NAME, show_default=True, help="Which lab: several can run side by side.")


@click.command()
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("build/demo/report.json"),
    show_default=True,
    help="Where to write the report.",
)
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Play it on this cluster, not on a lab.")
@click.option("--context", help="A context of that kubeconfig. Default: its current one.")
@click.option(
    "--namespace", default=borrowed.NAMESPACE, show_default=True, help="There; made and removed if it is new."
)
@click.option("--service-account", default="spark", show_default=True, help="Of the driver, there.")
@click.option("--image", default="spark:4.0.4", show_default=True, help="Spark with Python, for there.")
@click.option("--pools", type=click.Choice(list(PRESETS)), default="karpenter", show_default=True, help="Nodes there.")
@click.option("--yes", is_flag=True, help="Do not ask before changing anything there.")
def demo(report: Path, kubeconfig: Path | None, *, yes: bool, **there: str | None) -> None:
    """Show a real Spark job keep its 40:60 mix through an interruption.

    It starts a cluster and an Airflow of its own, runs the example DAG, takes a spot node away in mid-run, kills the
    triggerer with -9 before the replacement is placed, brings it back, and removes everything again.

    With --kubeconfig it is played on that cluster: what is missing there is told first, and nothing is changed before
    you have said yes. There, a node is only announced to go: it is tainted, and the demo's own executor is evicted.
    """
    display = progress.for_person()
    logs = report.parent / "logs"
    if kubeconfig is None:
        _refuse_lone_options()
        with stage.ephemeral(display, logs=logs) as (lab, airflow):
            told = story.run(lab, airflow, progress=display)
    else:
        told = _on_borrowed(_borrowed(kubeconfig, there), display, logs, yes=yes)
    story.write_report(told, report)
    _show(told.report, told.seconds)
    click.echo(f"\n{told.job_result}\nreport: {report}")


def _borrowed(kubeconfig: Path, there: dict[str, str | None]) -> borrowed.Borrowed:
    names = {name: value for name, value in there.items() if name not in {"context", "pools"} and value}
    return borrowed.Borrowed(kubeconfig, there["context"], preset=there["pools"] or "karpenter", **names)


def _refuse_lone_options() -> None:
    """Options for a cluster of somebody's mean nothing on the lab: whoever gives one has forgotten --kubeconfig."""
    context = click.get_current_context()
    for name in ("context", "namespace", "service_account", "image", "pools", "yes"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} is for a cluster of yours: give its --kubeconfig, too")


def _on_borrowed(place: borrowed.Borrowed, display: progress.Progress, logs: Path, *, yes: bool) -> story.Story:
    findings = borrowed_checks.look(place)
    for finding in findings:
        click.echo(str(finding))
    if any(finding.level is Level.MISSING for finding in findings):
        raise LabError("the demo cannot be played there: see what is missing; nothing was changed")
    plan = (
        f"In namespace {place.namespace!r} this runs a driver and five executors of image {place.image}, taints one"
        " spot node for about a minute (no new pods go there), and evicts the demo's own executor from it."
    )
    if not yes:
        click.confirm(f"{plan} All of it is undone at the end. Go on?", abort=True)
    with place.moved_in():
        with display.step("Trying out operator and image") as step:
            borrowed_checks.try_out(place, step)
        with stage.on_borrowed(place, display, logs=logs) as airflow:
            setting = story.Setting(namespace=place.namespace, pools=place.pools, start_seconds=900)
            return story.run(place, airflow, progress=display, setting=setting)


@click.command()
@_NAME
def up(name: str) -> None:
    """Start the lab and an Airflow with the example DAGs, and leave them running."""
    lab, airflow = stage.up(name, progress.for_person())
    click.echo(f"Airflow:  {airflow.url}  (user admin, password {airflow.password})")
    click.echo(f"Cluster:  export KUBECONFIG={lab.kubeconfig}")
    click.echo("Try:      trigger the DAG spotmix_minimal, then `spotmix lab interrupt spot-1 --lead 30`")


@click.command()
@_NAME
def down(name: str) -> None:
    """Stop what `spotmix up` started and remove it."""
    with progress.for_person().step("Stopping Airflow and the lab"):
        stopped = stage.down(name)
    click.echo("stopped" if stopped else "nothing was running")


def _show(report: dict[str, Any], seconds: dict[str, float]) -> None:
    """Print the report for a person."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Fleet {report['fleet']}: {report['result']}", title_justify="left")
    table.add_column("pool")
    for column in ("target", "placed at first", "replacements", "executor seconds"):
        table.add_column(column, justify="right")
    for pool, target in report["target"].items():
        account = report["ledger"].get(pool, {})
        replaced = report["replacements_by_pool"].get(pool, 0)
        held = account.get("executor_seconds", 0)
        table.add_row(pool, str(target), str(report["initial"].get(pool, 0)), str(replaced), f"{held:.0f}")
    console = Console()
    console.print(table)
    for loss in report["interruptions"]:
        console.print(f"lost      {loss['executor']} ({loss['pool']}, {loss['node']}): {loss['cause']}")
    for replacement in report["replacements"]:
        console.print(f"replaced  by {replacement['executor']} on {replacement['pool']}")
    if costs := report["costs"]:
        said = str(msgspec.convert(costs, Costs)).removeprefix("executors cost ")
        console.print(f"cost      {said}")
    if overhead := report["overhead"]:
        said = str(msgspec.convert(overhead, Overhead)).removeprefix("interruptions cost ")
        console.print(f"work      {said}")
    gate = report["gate_latency_ms"]
    console.print(f"gate      lifted {gate['count']} times, median {gate.get('p50')} ms, slowest {gate.get('max')} ms")
    console.print("time      " + ", ".join(f"{act} {length:.1f} s" for act, length in seconds.items()))
