"""One decision in the making: the state so far and the actions so far. Internal to the core."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import AnyAction, SaveCheckpoint, Tell, Topic
from airflow_provider_spotmix.core.ledger import entered
from airflow_provider_spotmix.core.state import Account, ApplicationState, Executor, FleetState, OpenAccount


class Turn:
    """One decision in the making: the state so far and the actions so far."""

    def __init__(self, state: FleetState, event: ev.AnyEvent) -> None:
        self.state = state
        self.at = event.at
        self.cause = event.id or type(event).__name__
        self.actions: list[AnyAction] = []
        self._save = False

    # -- changing the state

    def application(self, name: str, **changes: Any) -> ApplicationState:
        """Change what an application is said to be."""
        return self.keep(replace(self.state.applications[name], **changes))

    def keep(self, app: ApplicationState) -> ApplicationState:
        """Take over a changed application."""
        self.state = replace(self.state, applications={**self.state.applications, app.name: app})
        return app

    def executor(self, app: str, executor: Executor, **changes: Any) -> Executor:
        """Add or change an executor."""
        changed = replace(executor, **changes)
        self.keep(self.state.applications[app].with_executor(changed))
        return changed

    def save(self) -> None:
        """Ask for a checkpoint at the end of the turn."""
        self._save = True

    def tell(self, message: str, *, warning: bool = False, topic: Topic | None = None, application: str = "") -> None:
        """Ask for a line in the task log, and with a topic for an Event on the application."""
        said = Tell(cause=self.cause, message=message, warning=warning, topic=topic, application=application)
        self.actions.append(said)

    def close(self) -> None:
        """Finish the turn: one checkpoint at most."""
        if self._save and not self.state.finished:
            self.actions.append(SaveCheckpoint(cause=self.cause))

    def account(self, name: str, executor: Executor, until: float, *, estimated: bool = False) -> None:
        """Close the executor's account: how long it held a node of its pool."""
        pod = executor.pod
        if executor.accounted or pod.scheduled_at is None or not executor.placed_pool:
            return
        self.executor(name, executor, accounted=True)
        opened = OpenAccount(executor.placed_pool, pod.scheduled_at, executor.seen_at)
        self.enter(name, opened, until, estimated=estimated)

    def close_open_accounts(self, name: str) -> None:
        """Close the accounts of executors that ended unseen: at some time before now."""
        app = self.state.applications[name]
        here = {executor.pod.executor_id for executor in app.executors.values()}
        for number, account in app.open_accounts.items():
            if number not in here:
                self.enter(name, account, self.at, estimated=True)
                self.save()
        self.application(name, open_accounts={})

    def doubt_accounts(self) -> None:
        """Somebody may have been on any pool, unseen."""
        pools = [share.pool for share in self.state.spec.mix.shares]
        ledger = self.state.ledger
        doubted = {pool: replace(ledger.get(pool, Account()), estimated=True, incomplete=True) for pool in pools}
        self.state = replace(self.state, ledger={**ledger, **doubted})

    def enter(self, name: str, opened: OpenAccount, until: float, *, estimated: bool) -> None:
        """Add a closed account to the ledger."""
        request = next(each for each in self.state.spec.applications if each.name == name)
        account = self.state.ledger.get(opened.pool, Account())
        account = entered(account, request, opened, until=until, estimated=estimated)
        self.state = replace(self.state, ledger={**self.state.ledger, opened.pool: account})
