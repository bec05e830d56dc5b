"""`SparkFleetSensor`: wait until a fleet, or any SparkApplication, is in a state, has its executors or has its mix."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_spotmix.core.wish import Judgement, Wish
    from airflow_provider_spotmix.fleet.picture import Target
    from airflow_provider_spotmix.hooks.spotmix import SpotmixHook
    from airflow_provider_spotmix.kube.config import ClusterConfig

# Key in Airflow's store of the task's state (not an XCom: those are deleted whenever a task is started anew).
_SEEN_IN_TRY = "spotmix_seen_in_try"


class SparkFleetSensor(BaseSensorOperator):
    """Wait for a fleet. It only reads, and works on SparkApplications of other operators too.

    Which fleet: exactly one of ``fleet_task_id``, ``fleet``, ``name`` and ``label_selector``. What to wait for:
    ``wait_for``, ``executors_running`` and ``mix``; all that are given must hold at once, ``succeeded`` when none is.

    It fails at once when the fleet has failed, was deleted, or is over without ever having been as wished; and after
    ``missing_timeout`` when it is not there. The return value is what was seen: the applications' states, and running
    executors by pool.

    Args:
        fleet_task_id: the task of the same DAG run whose latest try submits the fleet. Templated.
        fleet: id of a fleet, or what the XCom ``spotmix_fleet`` of a `SparkFleetOperator` holds. Templated.
        name: name of one SparkApplication. Templated.
        label_selector: labels of SparkApplications, such as ``team=etl,stage in (a, b)``. Templated.
        wait_for: ``running`` (every driver has begun to run), ``succeeded``, or ``over`` (whatever the outcome).
        executors_running: at least so many executors run: a count, or a share (``0.8``, ``"80%"``) of those that the
            applications start with. Templated.
        mix: the running executors are split like this; in the forms of the operator's ``ratio``. Without
            ``executors_running`` all executors must run. Templated.
        on_demand_base: executors that are on-demand before the mix applies.
        tolerance: by how many executors each pool may differ from the mix.
        pools: pools that the mix refers to; by default those of the connection.
        map_index: of the task that ``fleet_task_id`` names, if it is mapped.
        namespace: where it runs; by default the fleet's, then the connection's. Templated.
        missing_timeout: seconds to wait for the fleet to be there.
        spotmix_conn_id: connection of type ``spotmix``. Templated.
        kubernetes_conn_id: connection of type ``kubernetes``, before the one that the spotmix connection names.
            Templated.
        deferrable: wait in the triggerer; by default what ``[operators] default_deferrable`` says.

    Raises:
        AirflowException: the fleet is not there, or can never be as wished; the message says why.
        InvalidInputError: something in the input cannot be used.

    """

    template_fields: Sequence[str] = (
        "fleet_task_id",
        "fleet",
        "name",
        "label_selector",
        "executors_running",
        "mix",
        "namespace",
        "spotmix_conn_id",
        "kubernetes_conn_id",
    )
    ui_color = "#f6c89a"

    def __init__(
        self,
        *,
        fleet_task_id: str | None = None,
        fleet: str | Mapping[str, Any] | None = None,
        name: str | None = None,
        label_selector: str | None = None,
        wait_for: str | None = None,
        executors_running: float | str | None = None,
        mix: str | float | Mapping[str, Any] | None = None,
        on_demand_base: int = 0,
        tolerance: int = 1,
        pools: str | Sequence[Mapping[str, Any]] | None = None,
        map_index: int | None = None,
        namespace: str | None = None,
        missing_timeout: float = 600.0,
        spotmix_conn_id: str = "spotmix_default",
        kubernetes_conn_id: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if sum(given is not None for given in (fleet_task_id, fleet, name, label_selector)) != 1:
            raise ValueError("give exactly one of fleet_task_id, fleet, name and label_selector")
        if wait_for not in (None, "running", "succeeded", "over"):
            raise ValueError(f"wait_for is {wait_for!r}; give 'running', 'succeeded' or 'over'")
        if missing_timeout < 0 or tolerance < 0:
            raise ValueError(f"missing_timeout ({missing_timeout}) and tolerance ({tolerance}) must be 0 or more")
        self.fleet_task_id = fleet_task_id
        self.fleet = fleet
        self.name = name
        self.label_selector = label_selector
        self.wait_for = wait_for
        self.executors_running = executors_running
        self.mix = mix
        self.on_demand_base = on_demand_base
        self.tolerance = tolerance
        self.pools = pools
        self.map_index = map_index
        self.namespace = namespace
        self.missing_timeout = missing_timeout
        self.spotmix_conn_id = spotmix_conn_id
        self.kubernetes_conn_id = kubernetes_conn_id
        self.deferrable = deferrable
        self._was_there = False

    def execute(self, context: Context) -> Any:
        """Wait in the triggerer, or here as any sensor does."""
        if not self.deferrable:
            return super().execute(context)
        import msgspec

        from airflow_provider_spotmix.triggers.spark_fleet_sensor import SparkFleetSensorTrigger

        target, wish = self._target(context), self._wish()
        judgement, seen = self._look(target, wish) or (None, {})
        if judgement and self._is_satisfied(judgement):
            return seen
        return self.defer(
            trigger=SparkFleetSensorTrigger(
                target=msgspec.to_builtins(target),
                wish=msgspec.to_builtins(wish),
                missing_seconds=self.missing_timeout,
                spotmix_conn_id=self.spotmix_conn_id,
                kubernetes_conn_id=self.kubernetes_conn_id,
            ),
            method_name="execute_complete",
            timeout=dt.timedelta(seconds=self.timeout),
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Take over from the trigger."""
        if "error" in event:
            raise AirflowException(event["error"])
        if not event["satisfied"]:
            raise AirflowException(event["why"])
        self.log.info("%s", event["why"])
        seen: dict[str, Any] = event["seen"]
        return seen

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        from airflow_provider_spotmix.fleet.observe import missing

        target = self._target(context)
        found = self._look(target, self._wish())
        if found is None:
            return PokeReturnValue(is_done=False)
        judgement, seen = found
        if judgement is not None:
            self._note_sight(context)
            return PokeReturnValue(is_done=self._is_satisfied(judgement), xcom_value=seen)
        if self.fleet_task_id is None and self._has_seen_it(context):
            self._fail(f"{target} was there and is gone, and nobody saw how it ended")
        if self._waited_seconds(context) > self.missing_timeout:
            self._fail(missing(target, self.missing_timeout))
        self.log.info("there is no %s yet", target)
        return PokeReturnValue(is_done=False)

    # -- inside

    def _is_satisfied(self, judgement: Judgement) -> bool:
        from airflow_provider_spotmix.core.wish import Verdict

        if judgement.verdict is Verdict.HOPELESS:
            self._fail(judgement.why)
        self.log.info("%s", judgement.why)
        return judgement.verdict is Verdict.SATISFIED

    def _fail(self, why: str) -> NoReturn:
        """Fail, or skip where a person wants that: Airflow itself sees to it only for some exceptions."""
        raise AirflowSkipException(why) if self.soft_fail or self.never_fail else AirflowException(why)

    def _note_sight(self, context: Context) -> None:
        """Remember that it is there, also for the next look, which in mode ``reschedule`` another process has."""
        if not self._has_seen_it(context):
            if store := self._store(context):
                store.set(_SEEN_IN_TRY, context["ti"].try_number)
            self._was_there = True

    def _has_seen_it(self, context: Context) -> bool:
        """Whether this try has seen it. Before Airflow 3.3 nothing is kept from one process to the next."""
        if not self._was_there and (store := self._store(context)):
            self._was_there = store.get(_SEEN_IN_TRY) == context["ti"].try_number
        return self._was_there

    def _store(self, context: Context) -> Any:
        return context.get("task_state_store") if self.reschedule else None

    def _waited_seconds(self, context: Context) -> float:
        """How long it has waited: since the first look, which in mode ``reschedule`` another process had."""
        ti = context["ti"]
        first = ti.get_first_reschedule_date(context) if self.reschedule else None
        return (dt.datetime.now(dt.UTC) - (first or ti.start_date)).total_seconds()

    def _look(self, target: Target, wish: Wish) -> tuple[Judgement | None, dict[str, Any]] | None:
        """Look once; None while the API server is away."""
        import asyncio

        from airflow_provider_spotmix.fleet.observe import look
        from airflow_provider_spotmix.kube.errors import KubeError
        from airflow_provider_spotmix.kube.retry import harmless_to_repeat

        cluster = self._cluster()

        async def once() -> tuple[Judgement | None, dict[str, Any]]:
            kube = await cluster.connect()
            try:
                return await look(kube, target, wish)
            finally:
                await kube.close()

        try:
            return asyncio.run(once())
        except KubeError as error:
            if not harmless_to_repeat(error, repeatable=True):
                raise AirflowException(str(error)) from error
            self.log.warning("waiting for the API server: %s", error)
            return None

    def _target(self, context: Context) -> Target:
        from airflow_provider_spotmix.sensors.inputs import read_target

        return read_target(
            fleet=self.fleet,
            name=self.name,
            label_selector=self.label_selector,
            task=self._task(context),
            namespace=self.namespace,
            default_namespace=lambda: self._cluster().resolve_namespace(),
        )

    def _task(self, context: Context) -> dict[str, str] | None:
        """Labels of what a task of this run submits."""
        if self.fleet_task_id is None:
            return None
        ti = context["ti"]
        task = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": self.fleet_task_id}
        return task if self.map_index is None else {**task, "map_index": str(self.map_index)}

    def _wish(self) -> Wish:
        from airflow_provider_spotmix.sensors.inputs import read_wish

        mix = None
        if self.mix is not None:
            given = {"ratio": self.mix, "on_demand_base": self.on_demand_base, "pools": self.pools}
            mix = self._hook().choose(given, priced=False).mix
        return read_wish(
            wait_for=self.wait_for, executors_running=self.executors_running, mix=mix, tolerance=self.tolerance
        )

    def _hook(self) -> SpotmixHook:
        from airflow_provider_spotmix.hooks.spotmix import SpotmixHook

        return SpotmixHook(self.spotmix_conn_id, self.kubernetes_conn_id)

    def _cluster(self) -> ClusterConfig:
        return self._hook().cluster()
