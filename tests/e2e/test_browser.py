"""What a person sees: the fleet view in a real browser, in Airflow below a base path, while a fleet is interrupted."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, FrameLocator, Page, expect, sync_playwright

from airflow_provider_spotmix.lab import cluster as objects
from airflow_provider_spotmix.lab import demo
from airflow_provider_spotmix.lab.airflow import AirflowHarness
from airflow_provider_spotmix.lab.lab import Lab
from tests.e2e.life import nothing_left

pytestmark = [pytest.mark.airflow, pytest.mark.spark, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "build" / "screenshots"
AXE = ROOT / "ui" / "node_modules" / "axe-core" / "axe.min.js"
SECONDS = 1000.0
DAG, TASK = demo.DAG_ID, demo.TASK_ID
EXECUTORS = {"labelSelector": "spark-role=executor,spotmix.io/fleet,spotmix.io/placed-pool=spot"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    found = subprocess.run([ROOT / "tools" / "chromium.sh"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    expect.set_options(timeout=60 * SECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found.stdout.strip())
        yield browser
        browser.close()


class Visitor:
    """A person with a browser of their own, who keeps an eye on what it complains about and whom it talks to."""

    def __init__(self, browser: Browser, airflow: AirflowHarness, *, dark: bool = False) -> None:
        self.airflow = airflow
        self.complaints: list[str] = []
        self.context: BrowserContext = browser.new_context(
            viewport={"width": 1400, "height": 1100}, color_scheme="dark" if dark else "light"
        )
        self.context.set_default_timeout(60 * SECONDS)
        self.page: Page = self.context.new_page()
        self.page.on("request", lambda request: self._note_request(request.url))
        self.page.on("console", lambda message: self._note_message(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))

    def sign_in(self, name: str) -> None:
        """By the form, as a person does."""
        passwords = json.loads((self.airflow.home / "passwords.json").read_text())
        self.page.goto(f"{self.airflow.ui}/")
        self.page.fill("input[name=username]", name)
        self.page.fill("input[name=password]", passwords[name])
        self.page.keyboard.press("Enter")
        self.page.get_by_role("link", name="Dags").first.wait_for()

    def trigger(self) -> str:
        """Trigger the example in the UI and return the run's id."""
        self.page.goto(f"{self.airflow.ui}/dags/{DAG}")
        self.page.get_by_role("button", name="Trigger").first.click()
        self.page.get_by_role("dialog").get_by_role("button", name="Trigger").click()
        self.page.wait_for_url("**/runs/**")
        return urlsplit(self.page.url).path.split("/runs/")[1].split("/")[0]

    def open_fleet(self, run: str) -> FrameLocator:
        """Open the tab of the task instance."""
        self.page.goto(f"{self.airflow.ui}/dags/{DAG}/runs/{run}/tasks/{TASK}")
        self.page.get_by_role("link", name="Fleet", exact=True).click()
        return self.frame

    @property
    def frame(self) -> FrameLocator:
        """What the plugin shows."""
        return self.page.frame_locator("iframe")

    def shoot(self, name: str) -> None:
        """Keep what is to be seen."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")

    def barriers(self) -> list[str]:
        """Return what keeps people with a keyboard, a screen reader or weak eyes out of the plugin's page."""
        frame = next(each for each in self.page.frames if "/spotmix/ui/" in each.url)
        frame.evaluate(AXE.read_text())
        found = frame.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [f"{each['id']}: {node['html']}" for each in found["violations"] for node in each["nodes"]]

    def _note_request(self, url: str) -> None:
        if not url.startswith((self.airflow.url, "blob:", "data:")):
            self.complaints.append(f"asks {url}")

    def _note_message(self, kind: str, text: str) -> None:
        # Airflow itself asks who one is before one has said so, and frames plugins with both of these permissions.
        if kind == "error" and "401 (Unauthorized)" not in text and "403 (Forbidden)" not in text:
            self.complaints.append(text)


@pytest.fixture
def visit(
    request: pytest.FixtureRequest, browser: Browser, airflow: AirflowHarness
) -> Iterator[Callable[..., Visitor]]:
    """Let somebody come; if the test fails, what they saw last is kept."""
    visitors: list[Visitor] = []
    failed_before = request.session.testsfailed

    def come(*, dark: bool = False) -> Visitor:
        visitors.append(Visitor(browser, airflow, dark=dark))
        return visitors[-1]

    yield come
    for number, visitor in enumerate(visitors):
        if request.session.testsfailed > failed_before:
            visitor.shoot(f"failed-{number}")
        visitor.context.close()


@pytest.fixture
def _whole_nodes(lab: Lab) -> Iterator[None]:
    yield
    for node in lab.status().nodes:
        if not node.ready:
            lab.restore(node.name)
    _cordon(lab, unschedulable=False)
    nothing_left(lab, objects.SPARK_NAMESPACE)


@pytest.mark.usefixtures("_whole_nodes")
def test_a_person_watches_a_fleet_through_an_interruption(
    lab: Lab, airflow: AirflowHarness, visit: Callable[..., Visitor]
) -> None:
    _cordon(lab, unschedulable=True)  # so that there is time to see that nothing runs yet
    admin, dark = visit(), visit(dark=True)
    admin.sign_in("admin")
    run = admin.trigger()
    frame = admin.open_fleet(run)
    headline = frame.get_by_test_id("headline")
    expect(headline).to_contain_text("Submitted; no executor is placed yet. The mix asks for 2 on spot and 3 on")
    admin.page.evaluate("window.neverReloaded = true")

    _cordon(lab, unschedulable=False)
    expect(headline).to_contain_text("Running: 5 executors, 2 on spot and 3 on on-demand", timeout=180 * SECONDS)
    dark.sign_in("viewer")
    dark.open_fleet(run)

    node = lab.api.items(f"/api/v1/namespaces/{objects.SPARK_NAMESPACE}/pods", **EXECUTORS)[0]["spec"]["nodeName"]
    lab.interrupt(node, lead_seconds=demo.LEAD_SECONDS)
    events = frame.get_by_test_id("events")
    for kind in ("notice", "loss", "replacement"):
        expect(
            events.get_by_role("row").or_(events.get_by_role("listitem")).filter(has_text=kind).first
        ).to_be_visible()
    expect(headline).to_contain_text("1 on spot and 4 on on-demand")
    expect(headline).to_contain_text("In fallback: 1 spot seat on on-demand (spot-interruption)")
    expect(frame.get_by_test_id("tile-saved")).to_contain_text("USD")
    admin.shoot("fleet-light")
    expect(dark.frame.get_by_test_id("headline")).to_contain_text("In fallback")
    assert dark.page.frame_locator("iframe").locator("html").get_attribute("data-theme") == "dark"
    dark.shoot("fleet-dark")
    assert admin.barriers() + dark.barriers() == []

    expect(headline).to_contain_text("Succeeded", timeout=180 * SECONDS)
    expect(headline).to_contain_text("1 interruption, 1 replacement.")
    expect(frame.get_by_test_id("report")).to_be_visible()
    assert admin.page.evaluate("window.neverReloaded")
    assert airflow.api.wait_for_run(DAG, run.replace("%3A", ":").replace("%2B", "+"), timeout=60) == "success"

    admin.page.goto(f"{airflow.ui}/plugin/spotmix_fleets")
    expect(frame.get_by_test_id("fleet-row").filter(has_text=DAG).first).to_contain_text("succeeded")
    expect(frame.get_by_test_id("totals")).to_contain_text("USD")
    admin.shoot("fleets-light")
    admin.page.goto(f"{airflow.ui}/dags/{DAG}/runs/{run}/plugin/spotmix_run")
    expect(headline).to_contain_text("Succeeded")  # the only fleet of the run: itself, not a list of one
    assert admin.barriers() == []

    nobody = visit()
    nobody.sign_in("nobody")
    nobody.page.goto(f"{airflow.ui}/plugin/spotmix_fleets")
    expect(nobody.frame.get_by_test_id("state-empty")).to_be_visible()
    assert DAG not in nobody.frame.locator("body").inner_text()
    nobody.page.goto(f"{airflow.ui}/spotmix/ui/task?dag_id={DAG}&run_id={run}&task_id={TASK}&map_index=-1")
    expect(nobody.page.get_by_test_id("state-forbidden")).to_be_visible()
    assert "spot seat" not in nobody.page.locator("body").inner_text()

    stranger = visit()
    stranger.page.goto(f"{airflow.ui}/spotmix/ui/fleets")
    expect(stranger.page.get_by_test_id("state-signed-out")).to_be_visible()
    assert [each.complaints for each in (admin, dark, nobody, stranger)] == [[], [], [], []]


def _cordon(lab: Lab, *, unschedulable: bool) -> None:
    for node in lab.status().nodes:
        lab.api.patch(f"/api/v1/nodes/{node.name}", {"spec": {"unschedulable": unschedulable or None}})
