"""`SparkFleetOperator`: one Spark application, or several, with an exact spot : on-demand mix.

Heavy imports happen when the task runs: a DAG file is parsed again and again (bench/dag_import.py measures it).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowException, BaseOperator

from airflow_provider_spotmix.hooks.xcom import XCOM_FLEET
from airflow_provider_spotmix.operators.announcement import announcement
from airflow_provider_spotmix.operators.arguments import check_counts, check_flags, with_arguments
from airflow_provider_spotmix.operators.ending import has_failed, is_over, report_of
from airflow_provider_spotmix.operators.links import FleetLink, SparkUiLink
from airflow_provider_spotmix.operators.peer_arguments import without_peers
from airflow_provider_spotmix.operators.worker import Work

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_spotmix.core.spec import FleetSpec
    from airflow_provider_spotmix.fleet.plan import FleetPlan
    from airflow_provider_spotmix.hooks.spotmix import SpotmixHook
    from airflow_provider_spotmix.operators.cluster_work import ClusterWork
    from airflow_provider_spotmix.operators.manifest import Application

T = TypeVar("T")

# What Airflow resumes a task with whose trigger timed out or broke (TRIGGER_FAIL_REPR, which moved between versions).
_FAIL = "__fail__"


class SparkFleetOperator(BaseOperator):
    """Run a SparkApplication whose executors are split between pools, and keep the split through interruptions.

    The return value is the fleet report (docs/operators.md has its schema). The XCom ``spotmix_fleet`` says which fleet
    it is as soon as it is submitted.

    Args:
        application_file: path of the SparkApplication's YAML or JSON, or its content. Templated.
        template_spec: the SparkApplication as a mapping; instead of ``application_file``. Templated.
        ratio: ``"40:60"`` (spot:on-demand), a share on spot such as ``0.4``, or weights by pool name. Templated.
        on_demand_base: executors that are on-demand before the ratio applies. Templated.
        placement: how the mix is enforced; ``template`` or ``groups``.
        groups: for placement ``groups``, how many groups or which; by default one for each pool. Templated.
        success_policy: how many groups have to succeed: ``all``, ``any``, a number or ``{"quorum": 2}``. Templated.
        pools: name of a preset (``karpenter``), or a list of pools.
        policy: how patient to be, such as ``{"node_lost_after_seconds": 30}``; docs/connection.md lists the keys.
        fallback: what a spot seat does when spot is not to be had: ``on_demand``, ``wait``, ``spot_only`` or ``fail``
            (docs/fallback.md); by default what the policy says.
        spot_pending_timeout_seconds: how long an executor on spot may find no node; by default what the policy says.
        controller: who looks after it: ``airflow`` (the triggerer), or ``agent`` (a namespace agent, docs/agent.md).
        namespace: where it runs; by default the manifest's, then the connection's. Templated.
        name: base of the application's name; by default the manifest's ``metadata.name``. Templated.
        spotmix_conn_id: connection of type ``spotmix``. Templated.
        kubernetes_conn_id: connection of type ``kubernetes``, before the one that the spotmix connection names.
            Templated.
        in_cluster: True: the service account of the pod that works for the task; before the connection.
        config_file: path of a kubeconfig, where the task and the triggerer run; before the connection.
        cluster_context: a context of the kubeconfig; before the connection's.
        image: in place of the manifest's ``spec.image``. Templated.
        code_path: in place of the manifest's ``spec.mainApplicationFile``. Templated.
        startup_timeout_seconds: how long a driver may take until it runs; by default what the policy says.
        get_logs: show the end of each driver's log when it is over.
        driver_log_lines: lines of each driver's log to show at the end; 0 for none.
        follow_driver_log: show what the drivers write while they run, too: up to 200 lines in five seconds of each.
        log_events_on_failure: when the application fails, show the last Events of it and its driver.
        random_name_suffix: end the application's name with a suffix that no other try has; False: the exact name.
        reattach_on_restart: take over the fleet that an earlier try left running, if it is what this try would submit;
            False: delete it first.
        delete_on_termination: delete the application when it is over, whatever its outcome. One that may still run when
            the task is over (killed, timed out) is always deleted.
        deferrable: look after the fleet in the triggerer, which outlives workers; False: in the worker, for a person
            who runs no triggerer. Not governed by ``[operators] default_deferrable``, whose default is False.

    Raises:
        AirflowException: the application failed; the message says why.
        InvalidInputError: something in the input cannot be used; nothing was submitted.

    """

    template_fields: Sequence[str] = (
        "application_file",
        "template_spec",
        "ratio",
        "on_demand_base",
        "groups",
        "success_policy",
        "namespace",
        "name",
        "spotmix_conn_id",
        "kubernetes_conn_id",
        "image",
        "code_path",
    )
    template_ext: Sequence[str] = (".yaml", ".yml", ".json")
    template_fields_renderers = {"application_file": "yaml", "template_spec": "py"}  # noqa: RUF012 - Airflow's own style
    ui_color = "#f2a154"
    operator_extra_links = (FleetLink(), SparkUiLink())

    def __init__(
        self,
        *,
        application_file: str | None = None,
        template_spec: Mapping[str, Any] | None = None,
        ratio: str | float | Mapping[str, Any] | None = None,
        on_demand_base: int | str | None = None,
        placement: str | None = None,
        groups: int | str | Sequence[Mapping[str, Any]] | None = None,
        success_policy: str | int | Mapping[str, Any] = "all",
        pools: str | Sequence[Mapping[str, Any]] | None = None,
        policy: Mapping[str, Any] | None = None,
        fallback: str | None = None,
        spot_pending_timeout_seconds: float | None = None,
        controller: str | None = None,
        namespace: str | None = None,
        name: str | None = None,
        spotmix_conn_id: str = "spotmix_default",
        kubernetes_conn_id: str | None = None,
        in_cluster: bool | None = None,
        config_file: str | None = None,
        cluster_context: str | None = None,
        image: str | None = None,
        code_path: str | None = None,
        startup_timeout_seconds: float | None = None,
        get_logs: bool = True,
        driver_log_lines: int = 100,
        follow_driver_log: bool = False,
        log_events_on_failure: bool = False,
        random_name_suffix: bool = True,
        reattach_on_restart: bool = True,
        delete_on_termination: bool = True,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**without_peers(kwargs))
        if (application_file is None) == (template_spec is None):
            raise ValueError("give exactly one of application_file and template_spec")
        check_counts(driver_log_lines=driver_log_lines)
        check_flags(
            get_logs=get_logs,
            follow_driver_log=follow_driver_log,
            log_events_on_failure=log_events_on_failure,
            random_name_suffix=random_name_suffix,
            reattach_on_restart=reattach_on_restart,
            delete_on_termination=delete_on_termination,
            deferrable=deferrable,
            **({} if in_cluster is None else {"in_cluster": in_cluster}),
        )
        self.policy = with_arguments(
            policy,
            startup_timeout_seconds=startup_timeout_seconds,
            fallback=fallback,
            spot_pending_timeout_seconds=spot_pending_timeout_seconds,
        )
        self.application_file = application_file
        self.template_spec = template_spec
        self.ratio = ratio
        self.on_demand_base = on_demand_base
        self.placement = placement
        self.groups = groups
        self.success_policy = success_policy
        self.pools = pools
        self.fallback = fallback
        self.spot_pending_timeout_seconds = spot_pending_timeout_seconds
        self.controller = controller
        self.namespace = namespace
        self.name = name
        self.spotmix_conn_id = spotmix_conn_id
        self.kubernetes_conn_id = kubernetes_conn_id
        self.in_cluster = in_cluster
        self.config_file = config_file
        self.cluster_context = cluster_context
        self.image = image
        self.code_path = code_path
        self.startup_timeout_seconds = startup_timeout_seconds
        self.get_logs = get_logs
        self.driver_log_lines = driver_log_lines
        self.follow_driver_log = follow_driver_log
        self.log_events_on_failure = log_events_on_failure
        self.random_name_suffix = random_name_suffix
        self.reattach_on_restart = reattach_on_restart
        self.delete_on_termination = delete_on_termination
        self.deferrable = deferrable
        self._cluster_work: ClusterWork | None = None
        self._current: Work | None = None
        self._running: FleetSpec | None = None

    # -- life of a task

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit the fleet, then wait for its end in the triggerer or here."""
        self._in_cluster()
        plan = self._plan(context, self.log.info)
        self._running = plan.spec
        how: Any = {"reattach": self.reattach_on_restart, "note": partial(self._note, context)}
        if not self.deferrable:
            from airflow_provider_spotmix.hooks.metrics import FleetMetrics

            how["show"] = partial(context["ti"].xcom_push, XCOM_FLEET)
            how["follow_driver_log"] = self.follow_driver_log
            how["watch"] = FleetMetrics(self.dag_id, self.task_id).observe
            return self._finish(lambda: self._work(lambda: self._in_cluster().run(plan, **how)))
        try:
            self._work(lambda: self._in_cluster().submit(plan, **how))
        except BaseException:
            self._delete_running()
            raise
        self.defer(
            trigger=self._trigger(self._running), method_name="execute_complete", timeout=self._time_left(context["ti"])
        )
        raise AssertionError("defer() does not return")  # pragma: no cover

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Take over from the trigger."""
        import msgspec

        from airflow_provider_spotmix.core.spec import FleetSpec

        self._running = msgspec.convert(event["spec"], FleetSpec)
        return self._finish(lambda: event)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Let Airflow resume the task; when the trigger timed out or broke, delete the fleet that it left behind.

        A trigger's ``on_kill`` is not called then, and Airflow tells us no more than that the task has to fail.
        """
        if next_method != _FAIL:
            return super().resume_execution(next_method, next_kwargs, context)
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        finally:
            self._delete_unattended(context)

    def on_kill(self) -> None:
        """Stop what this worker does and delete the fleet. While the task is deferred, the trigger sees to it."""
        if self._current is not None:
            self._current.stop()
        self._delete_running()

    # -- inside

    def _hook(self) -> SpotmixHook:
        from airflow_provider_spotmix.hooks.spotmix import SpotmixHook

        return SpotmixHook(self.spotmix_conn_id, self.kubernetes_conn_id, **self._where())

    def _plan(self, context: Context, tell: Callable[..., None]) -> FleetPlan:
        """Find everything that can be wrong with the input, before anything is submitted."""
        from airflow_provider_spotmix.operators.planning import plan

        def namespace() -> str:
            return self._in_cluster().cluster.resolve_namespace()

        return plan(self, context, hook=self._hook(), application=self._application(), namespace=namespace, tell=tell)

    def _application(self) -> Application:
        from airflow_provider_spotmix.operators.manifest import load_application

        return load_application(self.application_file, self.template_spec)

    def _where(self) -> dict[str, Any]:
        """Where the cluster is: arguments, and what stands beside the application; the connections say the rest."""
        beside = self._application().cluster
        own = {"in_cluster": self.in_cluster, "config_file": self.config_file, "cluster_context": self.cluster_context}
        return {name: beside.get(name) if value is None else value for name, value in own.items()}

    def _in_cluster(self) -> ClusterWork:
        """Ask Airflow once where the cluster is: a signal's handler and an event loop should not have to."""
        from airflow_provider_spotmix.operators.cluster_work import ClusterWork

        if self._cluster_work is None:
            self._cluster_work = ClusterWork(self._hook().cluster(), self._tell)
        return self._cluster_work

    def _announce(self, context: Context, spec: FleetSpec) -> None:
        """Say which fleet it is, for tasks that run beside this one. The fleet itself does not depend on it."""
        try:
            context["ti"].xcom_push(key=XCOM_FLEET, value=announcement(spec))
        except Exception as error:  # noqa: BLE001 - whatever an XCom backend raises
            self.log.warning("cannot write XCom %s: %s", XCOM_FLEET, error)

    def _work(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do it in such a way that `on_kill` can stop it.

        Raises:
            AirflowException: it was stopped, or the cluster refused.

        """
        from airflow_provider_spotmix.kube.errors import KubeError

        self._current = Work()
        try:
            return self._current.run(work)
        except asyncio.CancelledError:
            raise AirflowException("the task was killed, and its fleet with it") from None
        except KubeError as error:
            raise AirflowException(str(error)) from error
        finally:
            self._current = None

    def _finish(self, wait: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Wait for the fleet's end and return its report; leave no fleet behind that may still run."""
        try:
            event = wait()
            why = self._tell_end(event)
            if not self.delete_on_termination and is_over(event):
                self._running = None  # it is over, and the person wants to look at it
            self._tell_costs(event)
            report = report_of(event, why)
            self.log.info("executors by pool: %s; %d interruptions", report["initial"], len(report["interruptions"]))
            return report
        finally:
            self._delete_running()

    def _tell_end(self, event: Mapping[str, Any]) -> str:
        """Show what a person looks at first, and return what the drivers' pods say of a failure.

        Not in the trigger: Airflow loses a burst of lines before its event.
        """
        spec, failed = self._running, has_failed(event)
        is_told = self.follow_driver_log and not failed  # line by line, already
        lines = self.driver_log_lines if self.get_logs and not is_told else 0
        if spec is None or not (lines or failed):
            return ""
        what: Any = {"lines": lines, "failed": failed, "events": self.log_events_on_failure}
        try:
            return Work().run(lambda: self._in_cluster().tell_end(spec, **what))
        except Exception as error:  # noqa: BLE001 - the task's own outcome must not be lost over it
            self.log.warning("cannot show how the drivers ended: %s", error)
            return ""

    def _note(self, context: Context, spec: FleetSpec) -> None:
        """It is this fleet from now on, which an earlier try may have submitted."""
        self._running = spec
        self._announce(context, spec)

    def _delete_running(self) -> None:
        """Delete the fleet, if it was not deleted before. A failure is told: the task's own outcome matters more."""
        spec, self._running = self._running, None
        if spec is None:
            return
        try:
            Work().run(lambda: self._in_cluster().delete(spec))
        except Exception as error:  # noqa: BLE001 - the task's own outcome must not be lost over it
            names = " ".join(application.name for application in spec.applications)
            self.log.warning(
                "cannot delete fleet %s, delete it yourself (kubectl --namespace %s delete sparkapplication %s): %s",
                spec.fleet_id,
                spec.namespace,
                names,
                error,
            )

    def _time_left(self, ti: Any) -> timedelta | None:
        """What is left of the execution timeout, which counts from the task's start, not from here."""
        if self.execution_timeout is None:
            return None
        spent: timedelta = datetime.now(UTC) - ti.start_date
        return max(self.execution_timeout - spent, timedelta(seconds=1))

    def _delete_unattended(self, context: Context) -> None:
        """Delete the fleet of this try, of which nothing is known but what can be planned again."""
        try:
            plan = self._plan(context, self.log.debug)
            self._running = Work().run(lambda: self._in_cluster().fleet_of(plan))
            self.log.info("nobody looks after fleet %s any more: deleting it", self._running.fleet_id)
            self._delete_running()
        except Exception:  # the task has its own failure to tell
            self.log.warning("cannot tell which fleet this task left behind: it is not deleted", exc_info=True)

    def _trigger(self, spec: FleetSpec) -> Any:
        import msgspec

        from airflow_provider_spotmix.triggers.spark_fleet import SparkFleetTrigger

        return SparkFleetTrigger(
            spec=msgspec.to_builtins(spec),
            spotmix_conn_id=self.spotmix_conn_id,
            kubernetes_conn_id=self.kubernetes_conn_id,
            follow_driver_log=self.follow_driver_log,
            **self._where(),
        )

    def _tell_costs(self, event: Mapping[str, Any]) -> None:
        import msgspec

        from airflow_provider_spotmix.core.cost import Costs

        if costs := event.get("report", {}).get("costs"):
            self.log.info("%s", msgspec.convert(costs, Costs))
        if overhead := event.get("report", {}).get("overhead"):
            from airflow_provider_spotmix.fleet.overhead import Overhead

            self.log.info("%s", msgspec.convert(overhead, Overhead))

    def _tell(self, message: str, warning: bool) -> None:
        (self.log.warning if warning else self.log.info)("%s", message)
