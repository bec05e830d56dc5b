"""What a sensor knows of a fleet that others run: its applications and executors, as they were last seen. No calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_spotmix.backends import backend
from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.events import ApplicationPhase
from airflow_provider_spotmix.core.wish import ApplicationSeen, Judgement, Seen, Verdict, Wish, judge
from airflow_provider_spotmix.fleet.hub import FeedItem
from airflow_provider_spotmix.kube.objects import Pod, Raw
from airflow_provider_spotmix.kube.watch import Changed, Synced
from airflow_provider_spotmix.manifests import labels
from airflow_provider_spotmix.manifests.identity import GroupNames

# The operator's own label of an application's pods (sparkoperator.k8s.io/v1beta2).
OPERATOR_APPLICATION = "sparkoperator.k8s.io/app-name"
TASK, TRY, MAP_INDEX = "task_id", "try_number", "map_index"
# A group that has failed may be submitted again: whoever looks after the fleet decides that within seconds.
SETTLE_SECONDS = 15.0


class Target(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which applications to look at: those of a fleet, one by its name, what a task submits, or what labels select.

    ``task``: labels of what a task instance submits; of several tries only the latest counts.
    """

    namespace: str
    fleet: str = ""
    name: str = ""
    task: dict[str, str] = {}
    selector: str = ""
    backend: str = "kubeflow"

    def __str__(self) -> str:
        kind = backend(self.backend).resource.kind
        what = f"{kind} {self.name!r}" if self.name else f"{kind} of fleet {self.fleet!r}"
        if self.task:
            what = f"{kind} of task {self.task.get(TASK)!r} in this run"
        if self.selector:
            what = f"{kind} with labels {self.selector!r}"
        return f"{what} in namespace {self.namespace!r}"

    def means(self, labels_of: Mapping[str, str], name: str) -> bool:
        """Whether an application of this name and labels is one of them, as far as the watch has not seen to that."""
        if self.task:
            return all(labels_of.get(key) == value for key, value in self.task.items())
        return not self.name or self.name == name


class Picture:
    """The last state of a target's applications, by name, and of the executors."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._api = backend(target.backend)
        self._applications: dict[str, Raw] = {}
        self._pods: dict[str, Pod] = {}
        self._gone = ""  # the last application, which went without having been over

    @property
    def is_empty(self) -> bool:
        """Whether no application has been there yet."""
        return not self._applications and not self._gone

    def take_application(self, item: FeedItem[Raw]) -> None:
        """Draw what is new of the applications. What is over stays in the picture when its object goes."""
        match item:
            case Synced(objects):
                here = {each.metadata.uid for each in objects}
                for each in [each for each in self._applications.values() if each.metadata.uid not in here]:
                    self._erase(each, "is gone, and nobody saw how it ended")
                for each in objects:
                    self._draw(each)
            case Changed("DELETED", application):
                self._erase(application, "was deleted before it was over")
            case Changed(_, application):
                self._draw(application)

    def take_executor(self, item: FeedItem[Pod]) -> None:
        """Draw what is new of the executors."""
        match item:
            case Synced(objects):
                self._pods = {pod.metadata.uid: pod for pod in objects}
            case Changed("DELETED", pod):
                self._pods.pop(pod.metadata.uid, None)
            case Changed(_, pod):
                self._pods[pod.metadata.uid] = pod

    def judge(self, wish: Wish, *, settled: bool = True) -> Judgement:
        """Judge what there is. ``settled``: nobody submits a failed group again any more."""
        if not self._applications:
            if self._gone:
                return Judgement(Verdict.HOPELESS, self._gone)
            return Judgement(Verdict.WAITING, f"there is no {self._target} yet")
        if self._target.task and MAP_INDEX not in self._target.task and any(map(_map_index, self._chosen())):
            return Judgement(Verdict.HOPELESS, f"task {self._target.task.get(TASK)!r} is mapped; give map_index")
        return judge(wish, self.seen(settled=settled))

    def is_unsettled(self) -> bool:
        """Whether a group has failed that may be submitted again."""
        return self.seen(settled=False) != self.seen()

    def seen(self, *, settled: bool = True) -> Seen:
        """What there is, in a stable order."""
        chosen = self._chosen()
        names = {application.metadata.name for application in chosen}
        here = [pod for pod in self._pods.values() if _is_running_executor(pod) and _application(pod) in names]
        marks = [pod.metadata.labels for pod in here]
        running = _counted(each.get(labels.PLACED_POOL, "unknown") for each in marks)
        fallen_back = _counted(each[labels.FALLBACK] for each in marks if labels.FALLBACK in each)
        groups = next((found for each in chosen if (found := _groups(each))), None)
        applications = {each.metadata.name: self._application(each) for each in chosen}
        if groups is None:
            return Seen(applications=tuple(applications.values()), running=running, fallen_back=fallen_back)
        return Seen(
            applications=tuple(_latest(attempts, applications, settled=settled) for attempts in groups.attempts),
            quorum=groups.quorum,
            running=running,
            fallen_back=fallen_back,
        )

    def _chosen(self) -> list[Raw]:
        found = [self._applications[name] for name in sorted(self._applications)]
        if self._target.task:
            newest = max(map(_try, found), default=0)
            found = [each for each in found if _try(each) == newest]
        return found

    def _application(self, found: Raw) -> ApplicationSeen:
        status = self._api.status(found)
        return ApplicationSeen(
            name=found.metadata.name,
            phase=status.phase,
            state=status.state,
            message=status.message,
            executors=self._count(found),
        )

    def _count(self, found: Raw) -> int:
        """Of somebody else's application, which nobody has checked, it may not be readable."""
        try:
            return self._api.executor_count({"spec": found.spec}).initial
        except (InvalidInputError, KeyError, TypeError, AttributeError):
            return 1

    def _draw(self, application: Raw) -> None:
        if self._target.means(application.metadata.labels, application.metadata.name):
            self._gone = ""
            self._applications[application.metadata.name] = application

    def _erase(self, application: Raw, why: str) -> None:
        """Of several, one may go: a group's first attempt, an earlier try's."""
        name = application.metadata.name
        known = self._applications.get(name)
        if known is None or known.metadata.uid != application.metadata.uid:
            return
        if self._api.status(application).phase.over:
            self._applications[name] = application
            return
        del self._applications[name]
        if not self._applications and not self._target.task:
            self._gone = f"{name} {why}"


def _latest(attempts: tuple[str, ...], there: Mapping[str, ApplicationSeen], *, settled: bool) -> ApplicationSeen:
    """A group, as its latest attempt is."""
    found = next((there[name] for name in reversed(attempts) if name in there), None)
    if found is None:
        return ApplicationSeen(name=attempts[0], phase=ApplicationPhase.PENDING)
    if not settled and found.phase is ApplicationPhase.FAILED and found.name != attempts[-1]:
        return replace(found, phase=ApplicationPhase.PENDING)
    return found


def _groups(application: Raw) -> GroupNames | None:
    return GroupNames.read(application.metadata.annotations.get(labels.GROUPS, ""))


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _is_running_executor(pod: Pod) -> bool:
    is_executor = pod.metadata.labels.get(labels.SPARK_ROLE) == "executor"
    return is_executor and pod.status.phase == "Running" and pod.metadata.deletion_timestamp is None


def _application(pod: Pod) -> str:
    marks = pod.metadata.labels
    return marks.get(labels.APPLICATION) or marks.get(OPERATOR_APPLICATION, "")


def _map_index(application: Raw) -> str:
    return application.metadata.labels.get(MAP_INDEX, "")


def _try(application: Raw) -> int:
    number = application.metadata.labels.get(TRY, "")
    return int(number) if number.isdecimal() else 0
