"""Play one schedule in a namespace of its own: a fleet with its nodes, Spark, controllers and faults.

Nothing here judges. What comes of it is for the oracle: the audit log's lines, what is left, what was said.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from airflow_provider_spotmix.fleet.leftovers import delete_leftover, find_leftovers
from airflow_provider_spotmix.fleet.plan import FleetPlan
from airflow_provider_spotmix.fleet.submit import delete_patiently, submit
from airflow_provider_spotmix.kube.errors import KubeError
from airflow_provider_spotmix.kube.objects import Pod
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS, LEASES, PODS, Resource
from airflow_provider_spotmix.kube.watch import Changed, Reflector, Synced
from tests.chaos import actors
from tests.chaos.audit import Line
from tests.chaos.controller import GIVES_UP, Order
from tests.chaos.processes import Controller
from tests.chaos.schedule import Schedule
from tests.chaos.spark import APPLICATIONS
from tests.chaos.theatre import Theatre
from tests.chaos.wire import Wire, wire

SETTLED_SECONDS = 1.0
STALL_SECONDS = 0.1
# After an outage Kubernetes' garbage collector takes its time.
GARBAGE_SECONDS = 60.0
# Of what these delete, the rest goes by garbage collection, which begins some time after its lab.
NEED_COLLECTION = {"application-deleted", "namespace-deleted", "driver-restarts"}
LEFT: tuple[Resource[Any], ...] = (PODS, CONFIG_MAPS, LEASES, APPLICATIONS)


class Evidence(Struct, frozen=True, kw_only=True):
    """What the oracle gets to see.

    ``report`` is what the first controller to end has told; ``logs`` what all have said; ``left`` the names of objects
    in the end, ``unswept`` those that only a sweep has removed, but for the Leases of killed controllers; ``secrets``
    what may be nowhere; ``stalled_seconds``: for how long altogether this machine had no time for the play; ``struck``:
    the faults that hit something.
    """

    schedule: Schedule
    lines: list[Line]
    report: dict[str, Any] | None
    logs: dict[str, str]
    left: list[str]
    unswept: list[str]
    secrets: list[str]
    stuck: str = ""
    stalled_seconds: float = 0.0
    struck: list[str] = []


async def play(theatre: Theatre, schedule: Schedule) -> Evidence:
    """Play a schedule from the submission to the sweep."""
    from tests.chaos.played import PlayedRun  # both need what is here
    from tests.chaos.real import RealRun

    if {fault.name for fault in schedule.faults} & NEED_COLLECTION:
        await asyncio.shield(theatre.collecting)
    async with AsyncExitStack() as stack:
        line = await stack.enter_async_context(wire(theatre.server, theatre.session))
        run: Run = (RealRun if schedule.real else PlayedRun)(theatre, schedule, line)
        stack.push_async_callback(run.close)
        await run.set_up()
        await run.to_its_end()
        return await run.evidence()


class Run(ABC):
    """One schedule as it is played: what there is whatever the nodes and Spark are."""

    def __init__(self, theatre: Theatre, schedule: Schedule, line: Wire) -> None:
        self.theatre = theatre
        self.schedule = schedule
        self.wire = line
        self.stage = f"chaos-{schedule.seed}-{secrets.token_hex(2)}"
        self.directory = theatre.directory / self.stage
        self.canaries = [f"canary-{secrets.token_hex(8)}" for _ in range(2)]
        self.pods: dict[str, Pod] = {}
        self.controllers: list[Controller] = []
        self.killed: set[int] = set()
        self.stuck = ""
        self.stalled_seconds = 0.0
        self.struck: list[str] = []
        self._begun = 0.0
        self._orders = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self.plan: FleetPlan

    # -- what nodes and Spark are

    @abstractmethod
    async def build(self) -> FleetPlan:
        """Make the namespace and its nodes; plan the fleet."""

    @abstractmethod
    def perform(self) -> None:
        """Begin with Spark's part: the application is submitted."""

    @property
    @abstractmethod
    def is_whole(self) -> bool:
        """Whether all executors that are wanted run, and none is about to go."""

    @abstractmethod
    def executors(self) -> list[Pod]:
        """Executors of the current submission."""

    @abstractmethod
    async def end(self) -> None:
        """Let the application end well, if it does not by itself."""

    @abstractmethod
    def victims(self) -> list[str]:
        """Nodes that something may happen to."""

    @abstractmethod
    def is_dead(self, node: str) -> bool:
        """Whether that node cannot say that a pod has ended."""

    @abstractmethod
    def machinery(self) -> Any:
        """What a provider can do to machines: `kill` and so on, each with a node's name."""

    def see(self, pod: Pod) -> None:  # noqa: B027 - real kubelets see for themselves
        """A pod is there, or has changed."""

    async def recover(self) -> None:  # noqa: B027 - likewise
        """The API server is back."""

    @abstractmethod
    async def tear_down(self) -> None:
        """Remove nodes and namespace, or put them right."""

    # -- what is there before the curtain rises

    async def set_up(self) -> None:
        """Namespace, nodes, the submitted application, Spark's part, one controller."""
        self.directory.mkdir(parents=True)
        self.plan = await self.build()
        self.spawn(self._feel_stalls())
        self.spawn(self._mirror_pods())
        await submit(self.theatre.clients[actors.STAGE], self.plan, tell=lambda *_: None)
        self._begun = asyncio.get_running_loop().time()
        for _ in range(self.schedule.setup.controllers):
            await self.start_controller()
        self.perform()

    async def start_controller(self) -> Controller:
        """One more controller process."""
        self._orders += 1
        name = f"controller-{self._orders}"
        access = actors.acting_as(self.theatre.kubeconfig, f"{actors.CONTROLLER}-{self._orders}", self.wire.address)
        order = Order(
            name=name,
            kubeconfig=access.kube_config or "",
            spec=self.plan.spec,
            directory=str(self.directory),
            skew_seconds=self.schedule.setup.skew_seconds,
            defect=self.schedule.defect,
        )
        controller = await self.theatre.nursery.start(order)
        self.controllers.append(controller)
        return controller

    def running(self) -> list[Controller]:
        """Controllers that are there."""
        return [each for each in self.controllers if each.is_running]

    # -- the play

    async def to_its_end(self) -> None:
        """Let the faults come; then the application ends well, unless it has ended already."""
        from tests.chaos.faults import strike  # it needs this class

        if self.schedule.once_running:
            await self._until_running()
        for fault in self.schedule.faults:
            self.spawn(self._at(fault.at, partial(strike, self, fault)))
        # What is moved back to spot where there is none is hardly ever whole for long.
        settled_seconds = 0.0 if self.schedule.setup.active_return_seconds else SETTLED_SECONDS
        deadline = self.schedule.last_fault + self.schedule.patience_seconds
        settled_at: float | None = None
        while not self.reports() and not self.is_given_up():
            await asyncio.sleep(0.1)
            await self._try_again()
            if self.clock > deadline + self.stalled_seconds:
                self.stuck = self._picture()
                return
            if not self.is_whole or self.clock < self.schedule.last_fault:
                settled_at = None
            elif settled_at is None:
                settled_at = self.clock
            elif self.clock - settled_at > settled_seconds:
                await self.end()
        with suppress(TimeoutError):
            async with asyncio.timeout(10):  # the deletion, and the farewell
                await asyncio.gather(*(each.ended() for each in self.controllers[:1]))

    async def _until_running(self) -> None:
        """Until all executors run; not for ever, since a defect may be in the way."""
        give_up = self.schedule.patience_seconds
        while not (self.is_whole or self.reports()) and self.clock < give_up:  # noqa: ASYNC110 - a poll
            await asyncio.sleep(0.1)
        self._begun = asyncio.get_running_loop().time()

    async def _try_again(self) -> None:
        """Airflow's next try, when no controller is left and no fault is about to bring one."""
        last = max((f.at + f.seconds for f in self.schedule.faults if f.name.startswith("controller")), default=0.0)
        if self.clock > last + 2.0 and not self.running() and not self.reports():
            await self.start_controller()

    @property
    def clock(self) -> float:
        """Seconds since the submission."""
        return asyncio.get_running_loop().time() - self._begun

    def is_given_up(self) -> bool:
        """Whether nobody can look after the fleet any more: its namespace is going."""
        if "namespace-deleted" not in self.struck:
            return False
        return any(f"\n{GIVES_UP}: " in f"\n{path.read_text()}" for path in self.directory.glob("*.log"))

    def reports(self) -> list[Path]:
        """Reports there are, the first one first."""
        return sorted(self.directory.glob("report*.json"), key=lambda path: path.stat().st_mtime_ns)

    async def _at(self, moment: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await asyncio.sleep(max(0.0, moment - self.clock))
        await work()

    def _picture(self) -> str:
        def shown(pod: Pod) -> str:
            gone = ", deleting" if pod.metadata.deletion_timestamp else ""
            gated = ", gated" if pod.spec.scheduling_gates else ""
            return f"{pod.metadata.name}: {pod.status.phase} on {pod.spec.node_name or 'no node'}{gated}{gone}"

        pods = "; ".join(sorted(map(shown, self.pods.values())))
        return f"after {self.clock:.0f} s: {len(self.running())} controllers; {pods}"

    async def _feel_stalls(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            await asyncio.sleep(STALL_SECONDS)
            late = loop.time() - begun - STALL_SECONDS
            self.stalled_seconds += late if late > STALL_SECONDS else 0.0

    async def _mirror_pods(self) -> None:
        kube = self.theatre.clients[actors.KUBELET]
        async for item in Reflector(kube, PODS, self.stage).stream():
            match item:
                case Synced(objects):
                    self.pods = {pod.metadata.uid: pod for pod in objects}
                    for pod in objects:
                        self.see(pod)
                case Changed("DELETED", pod):
                    self.pods.pop(pod.metadata.uid, None)
                case Changed(_, pod):
                    self.pods[pod.metadata.uid] = pod
                    self.see(pod)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let something go on until the end."""
        self._tasks.append(asyncio.create_task(work))

    # -- afterwards

    async def evidence(self) -> Evidence:
        """Kill who is still there, do as the next try's sweep does, and collect."""
        kube = self.theatre.clients[actors.STAGE]
        await asyncio.shield(self.theatre.collecting)
        for each in self.running():
            self.killed.add(each.pid)
            each.send(signal.SIGKILL)
        done = [task for task in self._tasks if task.done() and not task.cancelled()]
        failed = [repr(error) for task in done if (error := task.exception())]
        with suppress(KubeError):
            await delete_patiently(kube, self.plan.spec)
        unswept = [name for name in await self._left(without="leases/") if not self._is_of_the_killed(name)]
        with suppress(KubeError):
            for leftover in await find_leftovers(kube, self.stage):
                await delete_leftover(kube, leftover)
        left = await self._left()
        return Evidence(
            schedule=self.schedule,
            lines=self.lines(),
            report=json.loads(reports[0].read_text()) if (reports := self.reports()) else None,
            logs={path.name: path.read_text() for path in self.directory.glob("*.log")},
            left=left,
            unswept=unswept,
            secrets=[*self.canaries, actors.token(self.theatre.kubeconfig)],
            stalled_seconds=self.stalled_seconds,
            struck=self.struck,
            stuck=self.stuck or "; ".join(f"the play itself failed: {each}" for each in failed),
        )

    def lines(self) -> list[Line]:
        """What the audit log says."""
        return self.theatre.tail.take(self.stage)

    async def _left(self, *, without: str = "none") -> list[str]:
        """What is there, once Kubernetes has collected its garbage; ``without``: what it is not waited for."""
        kube = self.theatre.clients[actors.STAGE]
        left: list[str] = []
        give_up = self.clock + min(GARBAGE_SECONDS, self.schedule.patience_seconds)
        while self.clock < give_up:
            left = []
            for resource in LEFT:
                found = [each for each in (await kube.list(resource, self.stage)).items if not self._is_stranded(each)]
                left += [f"{resource.plural}/{each.metadata.name}" for each in found]
            left = [name for name in left if name != "configmaps/kube-root-ca.crt"]
            if all(name.startswith(without) for name in left):
                break
            await asyncio.sleep(0.2)
        return left

    def _is_of_the_killed(self, name: str) -> bool:
        return any(f"-{pid}-" in name for pid in self.killed) and name.startswith("leases/")

    def _is_stranded(self, thing: Any) -> bool:
        """A pod that is deleted, but whose dead machine does not say so: it goes when the cloud deletes the Node."""
        return (
            isinstance(thing, Pod)
            and thing.metadata.deletion_timestamp is not None
            and self.is_dead(thing.spec.node_name)
        )

    async def close(self) -> None:
        """End everything that belongs to this run."""
        for each in self.controllers:
            each.send(signal.SIGKILL)
        for task in self._tasks:
            task.cancel()
        if self.theatre.closing:
            return
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.tear_down()
