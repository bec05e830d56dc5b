"""`SparkFleetOperator`: one Spark application, or several, with an exact spot : on-demand mix.

Heavy imports happen when the task runs: a DAG file is parsed again and again (bench/dag_import.py measures it).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, BaseOperator, conf

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_spotmix.core.spec import FleetSpec
    from airflow_provider_spotmix.fleet.plan import FleetPlan
    from airflow_provider_spotmix.hooks.spotmix import SpotmixHook


class SparkFleetOperator(BaseOperator):
    """Run a SparkApplication whose executors are split between pools, and keep the split through interruptions.

    The return value is the fleet report (docs/operators.md has its schema).

    Args:
        application_file: path of the SparkApplication's YAML or JSON, or its content. Templated.
        template_spec: the SparkApplication as a mapping; instead of ``application_file``. Templated.
        ratio: ``"40:60"`` (spot:on-demand), a share on spot such as ``0.4``, or weights by pool name. Templated.
        on_demand_base: executors that are on-demand before the ratio applies. Templated.
        placement: how the mix is enforced; ``template``.
        pools: name of a preset (``karpenter``), or a list of pools.
        namespace: where it runs; by default the manifest's, then the connection's. Templated.
        name: base of the application's name; by default the manifest's ``metadata.name``. Templated.
        spotmix_conn_id: connection of type ``spotmix``. Templated.
        kubernetes_conn_id: connection of type ``kubernetes``, before the one that the spotmix connection names.
            Templated.
        driver_log_lines: lines of each driver's log to show at the end; 0 for none.
        delete_on_termination: delete the application when the task is over, whatever its outcome.
        deferrable: look after the fleet in the triggerer, which outlives workers; False: in the worker, for a person who
            runs no triggerer. Not governed by ``[operators] default_deferrable``: its default is False.

    Raises:
        AirflowException: the application failed; the message says why.
        InvalidInputError: something in the input cannot be used; nothing was submitted.

    """

    template_fields: Sequence[str] = (
        "application_file",
        "template_spec",
        "ratio",
        "on_demand_base",
        "namespace",
        "name",
        "spotmix_conn_id",
        "kubernetes_conn_id",
    )
    template_ext: Sequence[str] = (".yaml", ".yml", ".json")
    template_fields_renderers = {"application_file": "yaml", "template_spec": "py"}  # noqa: RUF012 - Airflow's own style
    ui_color = "#f2a154"

    def __init__(
        self,
        *,
        application_file: str | None = None,
        template_spec: Mapping[str, Any] | None = None,
        ratio: str | float | Mapping[str, Any] | None = None,
        on_demand_base: int | str | None = None,
        placement: str | None = None,
        pools: str | Sequence[Mapping[str, Any]] | None = None,
        namespace: str | None = None,
        name: str | None = None,
        spotmix_conn_id: str = "spotmix_default",
        kubernetes_conn_id: str | None = None,
        driver_log_lines: int = 100,
        delete_on_termination: bool = True,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (application_file is None) == (template_spec is None):
            raise ValueError("give exactly one of application_file and template_spec")
        self.application_file = application_file
        self.template_spec = template_spec
        self.ratio = ratio
        self.on_demand_base = on_demand_base
        self.placement = placement
        self.pools = pools
        self.namespace = namespace
        self.name = name
        self.spotmix_conn_id = spotmix_conn_id
        self.kubernetes_conn_id = kubernetes_conn_id
        self.driver_log_lines = driver_log_lines
        self.delete_on_termination = delete_on_termination
        self.deferrable = deferrable
        self._running: FleetSpec | None = None

    # -- life of a task

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit the fleet, then wait for its end in the triggerer or here."""
        plan = self._plan(context)
        self._running = plan.spec
        if not self.deferrable:
            return asyncio.run(self._run_here(plan))
        asyncio.run(self._submit(plan))
        self.defer(trigger=self._trigger(plan.spec), method_name="execute_complete", timeout=self._time_left())
        raise AssertionError("defer() does not return")  # pragma: no cover

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Take over from the trigger."""
        import msgspec

        from airflow_provider_spotmix.core.spec import FleetSpec

        spec = msgspec.convert(event["spec"], FleetSpec)
        try:
            return self._outcome(event)
        finally:
            if self.delete_on_termination:
                asyncio.run(self._delete(spec))

    def on_kill(self) -> None:
        """Delete the fleet when this worker's task is killed. Deferred, the trigger sees to it."""
        if self._running is not None:
            asyncio.run(self._delete(self._running))

    # -- inside

    def _hook(self) -> SpotmixHook:
        from airflow_provider_spotmix.hooks.spotmix import SpotmixHook

        return SpotmixHook(self.spotmix_conn_id, self.kubernetes_conn_id)

    def _plan(self, context: Context) -> FleetPlan:
        """Everything that can be wrong with the input is found here, before anything is submitted."""
        from airflow_provider_spotmix.fleet.plan import plan_fleet
        from airflow_provider_spotmix.hooks import settings
        from airflow_provider_spotmix.hooks.ratio import parse_mix
        from airflow_provider_spotmix.operators.manifest import identity, load_manifest, task_labels

        manifest = load_manifest(self.application_file, self.template_spec)
        hook = self._hook()
        chosen = settings.resolve(
            {name: getattr(self, name) for name in settings.DEFAULTS},
            hook.settings().model_dump(exclude_none=True),
            {name: conf.get("spotmix", name, fallback=None) for name in settings.DEFAULTS},
        )
        for name, (value, origin) in chosen.items():
            self.log.info("%s = %s (from %s)", name, value, origin)
        pools = settings.read_pools(chosen["pools"][0])
        metadata = manifest.get("metadata") or {}
        return plan_fleet(
            manifest,
            identity=identity(context),
            mix=parse_mix(chosen["ratio"][0], chosen["on_demand_base"][0], pools),
            pools=pools,
            namespace=self.namespace or metadata.get("namespace") or hook.cluster().resolve_namespace(),
            placement=chosen["placement"][0],
            object_labels=task_labels(context),
            name=self.name,
        )

    def _trigger(self, spec: FleetSpec) -> Any:
        import msgspec

        from airflow_provider_spotmix.triggers.spark_fleet import SparkFleetTrigger

        return SparkFleetTrigger(
            spec=msgspec.to_builtins(spec),
            spotmix_conn_id=self.spotmix_conn_id,
            kubernetes_conn_id=self.kubernetes_conn_id,
            driver_log_lines=self.driver_log_lines,
        )

    def _time_left(self) -> timedelta | None:
        return self.execution_timeout

    async def _submit(self, plan: FleetPlan) -> None:
        from airflow_provider_spotmix.fleet.submit import submit

        kube = await self._hook().cluster().connect()
        try:
            await submit(kube, plan, tell=self._tell)
        finally:
            await kube.close()

    async def _run_here(self, plan: FleetPlan) -> dict[str, Any]:
        from airflow_provider_spotmix.fleet.hub import Hub
        from airflow_provider_spotmix.fleet.runner import run_fleet

        hub = Hub.shared()
        try:
            await self._submit(plan)
            report = await run_fleet(
                hub, self._hook().cluster(), plan.spec, tell=self._tell, driver_log_lines=self.driver_log_lines
            )
            return self._outcome({"report": report.to_dict()})
        finally:
            await hub.close()
            if self.delete_on_termination:
                await self._delete(plan.spec)

    async def _delete(self, spec: FleetSpec) -> None:
        from airflow_provider_spotmix.fleet.submit import delete_fleet

        kube = await self._hook().cluster().connect()
        try:
            await delete_fleet(kube, spec)
        finally:
            await kube.close()

    def _outcome(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return the report of a fleet that succeeded.

        Raises:
            AirflowException: it did not.

        """
        if "error" in event:
            raise AirflowException(event["error"])
        report: dict[str, Any] = event["report"]
        if report["result"] != "succeeded":
            raise AirflowException(f"fleet {report['fleet']} failed: {report['message']}")
        self.log.info("executors by pool: %s; %d interruptions", report["initial"], len(report["interruptions"]))
        return report

    def _tell(self, message: str, warning: bool) -> None:
        (self.log.warning if warning else self.log.info)("%s", message)
