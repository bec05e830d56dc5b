"""The plugin's routes in Airflow's own application: who may read what, and what they get."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plugins.conftest import Clients, fleet, summary

FLEETS = "/spotmix/api/v1/fleets"
RUN = "/spotmix/api/v1/dags/etl/runs/run-1/fleets"
TASK = "/spotmix/api/v1/dags/etl/runs/run-1/tasks/spark/-1"
GO = "/spotmix/go/etl/run-1/spark/-1"
DATA = [FLEETS, RUN, TASK, GO]


class TestWhoMayRead:
    @pytest.mark.parametrize("route", DATA)
    def test_nobody_without_credentials(self, clients: Clients, route: str) -> None:
        clients.task("etl", fleet=fleet())
        assert clients.of(None).get(route).status_code == 401

    @pytest.mark.parametrize("route", [RUN, TASK, GO])
    @pytest.mark.parametrize("name", ["nobody", "without-xcoms"])
    def test_nobody_without_the_right_on_the_dag(self, clients: Clients, route: str, name: str) -> None:
        clients.task("etl", fleet=fleet())
        assert clients.of(name).get(route).status_code == 403

    def test_a_list_holds_what_the_user_may_read_and_sums_up_no_more(self, clients: Clients) -> None:
        clients.task("etl", fleet=fleet(saved="1", total="2", all_on_demand="3"))
        clients.task("payroll", fleet=fleet(saved="100", total="200", all_on_demand="300"))
        seen = {name: clients.of(name).get(FLEETS).json() for name in ("root", "anna", "without-xcoms", "nobody")}
        assert {name: [each["dag_id"] for each in found["fleets"]] for name, found in seen.items()} == {
            "root": ["etl", "payroll"],
            "anna": ["etl"],
            "without-xcoms": [],
            "nobody": [],
        }
        assert seen["anna"]["totals"] == [
            {"currency": "USD", "saved": "1", "total": "2", "all_on_demand": "3", "fleets": 1}
        ]
        assert (seen["nobody"]["total"], seen["nobody"]["totals"]) == (0, [])

    def test_whether_a_dag_exists_is_not_told_to_who_may_not_read_it(self, clients: Clients) -> None:
        anna = clients.of("anna")
        assert anna.get(RUN.replace("etl", "payroll")).status_code == 403
        assert anna.get(RUN.replace("etl", "no-such-dag")).status_code == 403

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
    @pytest.mark.parametrize("route", DATA)
    def test_nothing_can_be_changed(self, clients: Clients, route: str, method: str) -> None:
        assert getattr(clients.of("root"), method)(route).status_code == 405

    @pytest.mark.parametrize("route", [*DATA, "/spotmix/ui/task", "/spotmix/static/nothing.js"])
    @pytest.mark.parametrize("name", [None, "anna"])
    def test_every_answer_has_the_policy(self, clients: Clients, route: str, name: str | None) -> None:
        headers = clients.of(name).get(route).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert "frame-ancestors 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


class TestTask:
    def test_a_fleet_that_runs(self, clients: Clients) -> None:
        clients.task("etl", fleet=fleet())
        found = clients.of("anna").get(TASK).json()
        assert found["fleet"]["summary"]["executors"] == 10
        assert (found["report"], found["why_empty"]) == (None, None)
        assert found["task"]["state"] == "deferred"
        assert found["task"]["log_url"] == "/dags/etl/runs/run-1/tasks/spark"

    def test_a_fleet_that_is_over_has_its_report(self, clients: Clients) -> None:
        report = {"fleet": "f-1", "result": "succeeded"}
        clients.task("etl", state="success", fleet=fleet(state="succeeded"), report=report)
        assert clients.of("anna").get(TASK).json()["report"] == report

    def test_a_report_of_another_fleet_is_not_shown(self, clients: Clients) -> None:
        clients.task("etl", state="success", fleet=fleet(), report={"fleet": "f-0"})
        assert clients.of("anna").get(TASK).json()["report"] is None

    def test_a_mapped_task(self, clients: Clients) -> None:
        for index in (0, 1):
            clients.task("etl", map_index=index, fleet=fleet(executors=index))
        found = clients.of("anna").get(TASK.replace("-1", "1").replace("run1", "run-1")).json()
        assert found["fleet"]["summary"]["executors"] == 1
        assert found["task"]["log_url"] == "/dags/etl/runs/run-1/tasks/spark/mapped/1"

    @pytest.mark.parametrize(
        ("operator", "value", "why"),
        [
            ("SparkFleetOperator", None, "nothing submitted yet"),
            ("BashOperator", None, "not a fleet task"),
            ("SparkFleetOperator", "s3://elsewhere/of/an/xcom/backend", "kept elsewhere"),
        ],
    )
    def test_why_there_is_nothing(self, clients: Clients, operator: str, value: Any, why: str) -> None:
        clients.task("etl", operator=operator, fleet=value)
        found = clients.of("anna").get(TASK).json()
        assert (found["fleet"], found["why_empty"]) == (None, why)

    @pytest.mark.parametrize(("state", "shown"), [("failed", "failed"), ("success", "killed"), ("deferred", "running")])
    def test_a_fleet_whose_task_was_killed_does_not_run_for_ever(
        self, clients: Clients, state: str, shown: str
    ) -> None:
        clients.task("etl", state=state, fleet=fleet())
        assert clients.of("anna").get(TASK).json()["fleet"]["summary"]["state"] == shown
        assert clients.of("anna").get(FLEETS).json()["fleets"][0]["summary"]["state"] == shown

    @pytest.mark.parametrize(
        ("route", "status"),
        [
            (TASK.replace("spark", "no-such-task"), 404),
            (TASK.replace("run-1", "no-such-run"), 404),
            (RUN.replace("run-1", "no-such-run"), 404),
            (TASK.replace("/-1", "/one"), 422),
            ("/spotmix/api/v1/nothing", 404),
        ],
    )
    def test_what_there_is_not(self, clients: Clients, route: str, status: int) -> None:
        clients.task("etl", fleet=fleet())
        assert clients.of("anna").get(route).status_code == status

    def test_it_is_sent_again_only_when_it_has_changed(self, clients: Clients) -> None:
        clients.task("etl", fleet=fleet())
        anna = clients.of("anna")
        first = anna.get(TASK)
        again = {"If-None-Match": f"W/{first.headers['etag']}"}
        assert anna.get(TASK, headers=again).status_code == 304
        clients.empty()
        clients.task("etl", fleet=fleet(executors=11))
        assert anna.get(TASK, headers=again).status_code == 200
        assert first.headers["cache-control"] == "private, no-cache"

    def test_names_stay_what_they_are(self, clients: Clients) -> None:
        hostile = "<script>alert(1)<script> ☃ a+b%&{}"
        clients.task("etl", task_id="spark", run_id=hostile, fleet=fleet(fleet=hostile))
        found = clients.of("anna").get(FLEETS).json()["fleets"][0]
        assert (found["run_id"], found["summary"]["fleet"]) == (hostile, hostile)
        from airflow_provider_spotmix.hooks.addresses import task_page

        route = f"/spotmix/api/v1{task_page('etl', hostile, 'spark')}/-1"
        assert clients.of("anna").get(route).json()["task"]["run_id"] == hostile


class TestList:
    def test_a_run_has_its_fleets_in_the_order_in_which_they_began(self, clients: Clients) -> None:
        for task_id, minute in (("late", 2), ("early", 1)):
            clients.task("etl", task_id=task_id, minute=minute, fleet=fleet())
        clients.task("etl", task_id="no-fleet", operator="BashOperator")
        clients.task("etl", run_id="run-2", fleet=fleet())
        found = clients.of("anna").get(RUN).json()["fleets"]
        assert [each["task_id"] for each in found] == ["early", "late"]

    def test_filters(self, clients: Clients) -> None:
        clients.task("etl", "run-1", state="deferred", minute=1, fleet=fleet())
        clients.task("etl", "run-2", state="success", minute=2, fleet=fleet(state="succeeded"))
        clients.task("quiet", "run_%", state="failed", minute=3, fleet=fleet(state="failed"))
        anna = clients.of("anna")

        def runs(**params: str) -> list[str]:
            return [each["run_id"] for each in anna.get(FLEETS, params=params).json()["fleets"]]

        assert runs() == ["run_%", "run-2", "run-1"]
        assert runs(state="running") == ["run-1"]
        assert runs(state="ended") == ["run_%", "run-2"]
        assert runs(dag_id="quiet") == ["run_%"]
        assert runs(q="N-2") == ["run-2"]
        assert runs(q="%") == ["run_%"]
        assert runs(q="nothing") == []

    def test_pages_are_of_one_order_and_totals_of_all(self, clients: Clients) -> None:
        for number, saved in enumerate(["9", "10", "-1", None]):
            clients.task("etl", f"run-{number}", fleet=fleet(saved=saved), state="success", minute=number)
        anna = clients.of("anna")
        query = {"order_by": "-saved", "limit": "2"}
        pages = [anna.get(FLEETS, params={**query, "offset": offset}).json() for offset in ("0", "2")]
        assert [each["summary"]["saved"] for page in pages for each in page["fleets"]] == ["10", "9", "-1", None]
        assert {page["total"] for page in pages} == {4}
        assert pages[0]["totals"] == pages[1]["totals"]
        assert pages[0]["totals"] == [
            {"currency": "USD", "saved": "18", "total": "19.5", "all_on_demand": "30", "fleets": 3}
        ]
        rising = anna.get(FLEETS, params={"order_by": "saved"}).json()["fleets"]
        assert [each["summary"]["saved"] for each in rising] == ["-1", "9", "10", None]

    @pytest.mark.parametrize(
        "params", [{"order_by": "password"}, {"limit": "201"}, {"limit": "0"}, {"offset": "-1"}, {"state": "odd"}]
    )
    def test_a_question_that_makes_no_sense_is_refused(self, clients: Clients, params: dict[str, str]) -> None:
        assert clients.of("anna").get(FLEETS, params=params).status_code == 422

    @pytest.mark.parametrize(
        "value",
        ["text", 7, ["list"], {"summary": "text"}, {"summary": {"saved": "lots", "currency": 5, "started_at": {}}}],
        ids=str,
    )
    def test_what_others_wrote_into_the_xcom_harms_nobody(self, clients: Clients, value: Any) -> None:
        clients.task("quiet", fleet=value)
        clients.task("etl", fleet=fleet(saved="1"))
        for order in ("-saved", "started_at", "executors"):
            answer = clients.of("anna").get(FLEETS, params={"order_by": order})
            assert answer.status_code == 200
            assert [each["saved"] for each in answer.json()["totals"]] == ["1"]


class TestLinks:
    def drivers(self) -> dict[str, Any]:
        driver = {"application": "etl-1", "pod": "etl-1-driver", "spark_application": "spark-0a1b"}
        return {**fleet(), "drivers": [driver]}

    def test_leading_on(self, clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__SPOTMIX__SPARK_UI_URL", "https://ui.example/{namespace}/{application}/")
        monkeypatch.setenv(
            "AIRFLOW__SPOTMIX__HISTORY_SERVER_URL", "https://history.example/history/{spark_application}"
        )
        clients.task("etl", fleet=self.drivers())
        anna = clients.of("anna")
        links = anna.get(TASK).json()["fleet"]["drivers"][0]["links"]
        assert links == {
            "spark_ui": "https://ui.example/spark/etl-1/",
            "history_server": "https://history.example/history/spark-0a1b",
        }
        assert anna.get(GO).status_code == 302
        assert anna.get(GO).headers["location"] == links["spark_ui"]
        clients.empty()
        clients.task("etl", state="success", fleet={**self.drivers(), "summary": summary(state="succeeded")})
        assert anna.get(GO).headers["location"] == links["history_server"]

    @pytest.mark.parametrize(
        "template", ["", "javascript:alert(1)", "https://ui.example/{password}", "https://{", "/x"]
    )
    def test_what_is_not_configured_or_cannot_be_used_is_no_link(
        self, clients: Clients, monkeypatch: pytest.MonkeyPatch, template: str
    ) -> None:
        monkeypatch.setenv("AIRFLOW__SPOTMIX__SPARK_UI_URL", template)
        clients.task("etl", fleet=self.drivers())
        answer = clients.of("anna").get(GO)
        assert answer.status_code == 404
        assert answer.json() == {
            "detail": "nobody has said where it is: set [spotmix] spark_ui_url or history_server_url"
        }

    def test_there_is_no_link_until_there_is_a_driver(self, clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__SPOTMIX__SPARK_UI_URL", "https://ui.example/{driver_pod}/")
        clients.task("etl", fleet=fleet())
        assert "try again" in clients.of("anna").get(GO).json()["detail"]
