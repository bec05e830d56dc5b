"""Ask the drivers of a fleet that has lost executors what that has cost in work, for its report and its progress."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from airflow_provider_spotmix.core.state import FleetState
from airflow_provider_spotmix.fleet.overhead import Overhead, SparkUi
from airflow_provider_spotmix.fleet.progress import Progress
from airflow_provider_spotmix.fleet.voice import TellPerson


async def _asked(address: str, application: str) -> Overhead:
    return await SparkUi(address, application).overhead()


class OverheadWatch:
    """Keeps each driver's last answer: a driver that is over answers no more.

    Args:
        progress: shows the sum.
        tell: told, once, that a driver cannot be asked from here.
        ask: a driver's UI at an address, for an application of Spark's.

    """

    def __init__(
        self, progress: Progress, tell: TellPerson, ask: Callable[[str, str], Awaitable[Overhead]] = _asked
    ) -> None:
        self._progress = progress
        self._tell = tell
        self._ask = ask
        self._found: dict[str, Overhead] = {}
        self._is_told = False

    @property
    def total(self) -> Overhead | None:
        """What all drivers have said; None when none of them ever has."""
        return sum(self._found.values(), Overhead()) if self._found else None

    async def look(self, state: FleetState) -> None:
        """Ask every driver that runs, if the fleet has lost anything."""
        if not state.losses_by_cause:
            return
        for app in state.applications.values():
            driver = app.driver
            if driver is None or not driver.ui or not driver.submission or not driver.started or driver.ended:
                continue
            try:
                self._found[driver.submission] = await self._ask(driver.ui, driver.submission)
            except (OSError, ValueError) as error:
                self._tell_once(driver.submission, f"{driver.ui}: {error}")
            else:
                self._progress.lost_work(self.total)

    def _tell_once(self, submission: str, why: str) -> None:
        """Not of a driver that has answered before: it is about to end."""
        if self._is_told or submission in self._found:
            return
        self._is_told = True
        self._tell(
            f"what interruptions cost in work is not known: the driver's UI cannot be asked from here ({why})", False
        )
