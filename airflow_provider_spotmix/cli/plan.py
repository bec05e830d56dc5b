"""`spotmix plan`: what an application would be submitted as. Needs neither a cluster nor Airflow's configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import yaml

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.pools import PRESETS
from airflow_provider_spotmix.core.spec import CONTROLLERS
from airflow_provider_spotmix.fleet.plan import FleetPlan, plan_fleet
from airflow_provider_spotmix.hooks.groups import parse_groups
from airflow_provider_spotmix.hooks.ratio import parse_mix
from airflow_provider_spotmix.hooks.settings import DEFAULTS, read_pools
from airflow_provider_spotmix.manifests.identity import Identity
from airflow_provider_spotmix.operators.manifest import load_application

# Every try of a task has an identity, and so a suffix, of its own; this one stands for all.
NOBODY = Identity(instance="plan", task_instance="00000000-0000-0000-0000-000000000000")


@click.command()
@click.argument("application", type=click.File("r"))
@click.option("--ratio", default=DEFAULTS["ratio"], show_default=True, help='"40:60", 0.4 or {"spot": 40, ...}.')
@click.option("--on-demand-base", default=DEFAULTS["on_demand_base"], show_default=True, metavar="COUNT")
@click.option(
    "--pools",
    default=DEFAULTS["pools"],
    show_default=True,
    help=f"A preset ({', '.join(PRESETS)}), or a file with a list of pools.",
)
@click.option("--placement", default=DEFAULTS["placement"], show_default=True)
@click.option("--groups", help="For placement 'groups': how many, or a JSON list of them.")
@click.option("--controller", type=click.Choice(CONTROLLERS), default=DEFAULTS["controller"], show_default=True)
@click.option("-n", "--namespace", help="Default: the manifest's, then 'default'.")
@click.option("--name", help="Base of the application's name. Default: the manifest's.")
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
def plan(
    application: Any,
    ratio: str,
    on_demand_base: int,
    pools: str,
    placement: str,
    groups: str | None,
    controller: str,
    namespace: str | None,
    name: str | None,
    output: str,
) -> None:
    """Show what APPLICATION (a file, or - for standard input) would be submitted as.

    The manifests go to standard output, a summary to standard error. Nothing is submitted and no cluster is asked.
    """
    manifest = load_application(_text(application), None).manifest
    chosen = read_pools(_pools(pools))
    metadata = manifest.get("metadata") or {}
    found = plan_fleet(
        manifest,
        identity=NOBODY,
        mix=parse_mix(ratio, on_demand_base, chosen),
        pools=chosen,
        namespace=namespace or metadata.get("namespace") or "default",
        placement=placement,
        groups=parse_groups(groups),
        controller=controller,
        name=name,
    )
    _summarize(manifest, found)
    _show(found.applications, output)


def _text(application: Any) -> str:
    try:
        # A line break, so that the text is never taken for the name of a file.
        return str(application.read()) + "\n"
    except ValueError as error:
        raise InvalidInputError(f"{application.name} is no text ({error}); give YAML or JSON") from None


def _pools(value: str) -> Any:
    """A preset's name, or the content of a file."""
    if value in PRESETS or not value.endswith((".yaml", ".yml", ".json")):
        return value
    try:
        return yaml.safe_load(Path(value).read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InvalidInputError(f"--pools {value} cannot be read ({error}); give YAML or JSON") from None


def _summarize(manifest: dict[str, Any], found: FleetPlan) -> None:
    written = (manifest["spec"].get("sparkConf") or {}).keys()
    for spec, rendered in zip(found.spec.first_attempts, found.applications, strict=True):
        seats = ", ".join(f"{count} {pool}" for pool, count in found.spec.seats(spec).items())
        start = " to start with" if spec.dynamic else ""
        click.echo(f"{spec.name} in namespace {found.spec.namespace}: {spec.executors} executors{start}", err=True)
        click.echo(f"  seats: {seats}; driver: {found.spec.fallback_pool}", err=True)
        added = [key for key in rendered["spec"]["sparkConf"] if key not in written]
        click.echo(f"  added Spark properties: {', '.join(added) or 'none'}", err=True)
    click.echo("The suffix of a name is another one for every try of a task.", err=True)


def _show(applications: tuple[dict[str, Any], ...], output: str) -> None:
    if output == "json":
        several = {"apiVersion": "v1", "kind": "List", "items": list(applications)}
        click.echo(json.dumps(applications[0] if len(applications) == 1 else several, indent=2))
    else:
        click.echo(yaml.safe_dump_all(applications, sort_keys=False, explicit_start=len(applications) > 1), nl=False)
