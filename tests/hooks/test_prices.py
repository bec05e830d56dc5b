"""Where prices come from: which source wins, what a file may say, and a class of one's own."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_spotmix.core.cost import Price, Prices
from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.hooks.choice import choose

SPOT, ON_DEMAND = Price(core_hour=Decimal("0.012")), Price(core_hour=Decimal("0.040"))
PRICES = {"spot": {"core_hour": "0.012"}, "on-demand": {"core_hour": "0.040"}}
EUROS = Prices(by_pool={"spot": SPOT, "on-demand": ON_DEMAND}, currency="EUR")
NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)

IN_YAML = """
currency: EUR
prices:
  spot: {core_hour: 0.012}
  on-demand: {core_hour: "0.040"}
"""
Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a price file, and return its path."""

    def written(text: str) -> str:
        path = tmp_path / "prices.yaml"
        path.write_text(text, "utf-8")
        return str(path)

    return written


@pytest.mark.parametrize("text", [IN_YAML, json.dumps({"currency": "EUR", "prices": PRICES})], ids=["yaml", "json"])
def test_a_file(write: Write, text: str) -> None:
    path = write(text)
    found = choose({}, {"price_file": path}, {"prices": PRICES})
    assert found.prices == EUROS
    assert found.origins["prices"] == ("of spot, on-demand in EUR", f"price_file {path}, connection")


def test_a_file_is_read_anew_for_each_fleet(write: Write) -> None:
    settings = {"price_file": write(IN_YAML)}
    before = choose({}, {}, settings).prices
    write(IN_YAML.replace("EUR", "CHF"))
    after = choose({}, {}, settings).prices
    assert before is not None
    assert after is not None
    assert (before.currency, after.currency) == ("EUR", "CHF")


PERIODS = """
periods:
  - {valid_from: 2026-11-23T13:00:00+01:00, prices: {spot: {core_hour: 2}, on-demand: {core_hour: 9}}}
  - {valid_from: 2026-12-01, prices: {spot: {core_hour: 3}, on-demand: {core_hour: 9}}}
  - {valid_from: 2026-01-01, prices: {spot: {core_hour: 1}, on-demand: {core_hour: 9}}}
"""


@pytest.mark.parametrize(
    ("now", "price"),
    [
        pytest.param(NOW - dt.timedelta(seconds=1), 1, id="the-newest-that-has-begun"),
        pytest.param(NOW, 2, id="from-its-first-moment-on"),
        pytest.param(dt.datetime(2026, 12, 1, tzinfo=dt.UTC), 3, id="utc-without-a-zone"),
    ],
)
def test_periods(write: Write, now: dt.datetime, price: int) -> None:
    found = choose({}, {"price_file": write(PERIODS)}, {}, now=now).prices
    assert found
    assert found.by_pool["spot"].core_hour == price


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "is not one mapping; write {currency: ..., prices:", id="empty"),
        pytest.param("prices", "is not one mapping; write", id="word"),
        pytest.param("{}", r"^give either prices by pool, or periods: a list of .* \(from price_file", id="nothing"),
        pytest.param("prices: [", r"is no YAML: .* \(line 1, column", id="no-yaml"),
        pytest.param("prices: {spot: {}, spot: {}}", "key 'spot' is there twice, keep one", id="twice"),
        pytest.param("prise: 1", "unknown field prise; known: prices, periods, currency", id="unknown"),
        pytest.param(
            "prices: {spot: {core_hour: -1}}",
            r"^prices.spot.core_hour is -1: .* than or equal to 0 \(from price_file /.*/prices.yaml, connection\)$",
            id="value",
        ),
        pytest.param(
            "periods: [{valid_from: 2026-12-01, prices: {spot: {core_hour: 1}}}]",
            r"periods begin with 2026-12-01T00:00:00\+00:00, and it is 2026-11-23T12:00:00\+00:00; add one that is",
            id="not-yet",
        ),
        pytest.param(
            "periods: [{valid_from: 5, prices: {spot: {core_hour: 1}}}]",
            r"periods\[0\].valid_from is 5: Input should be a date",
            id="no-date",
        ),
        pytest.param(
            "periods: [{until: 1}]", r"unknown field periods\[0\].until; known: valid_from, prices", id="period"
        ),
        pytest.param("x" * 1_000_001, "larger than 1,000,000 characters", id="huge"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(write: Write, text: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        choose({}, {"price_file": write(text)}, {}, now=NOW)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prices").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInputError, match="cannot be read: it is no text"):
        choose({}, {"price_file": str(tmp_path / "prices")}, {})


def test_what_never_ends_is_not_read(tmp_path: Path) -> None:
    """A pipe that nobody writes into would hold the task up for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInputError, match="is no file on this worker"):
        choose({}, {"price_file": str(tmp_path / "pipe")}, {})


class PriceList:
    """One's own source."""

    name = "list"

    def prices(self, pools: Sequence[str], at: dt.datetime) -> Mapping[str, Any]:
        assert (pools, at) == (("spot", "on-demand"), NOW)
        return {"currency": "EUR", "prices": PRICES}


class Slow(PriceList):
    """One that is asked over a network."""

    async def prices(self, pools: Sequence[str], at: dt.datetime) -> Mapping[str, Any]:  # type: ignore[override]
        return super().prices(pools, at)


class Broken(PriceList):
    """One that does not answer."""

    def prices(self, pools: Sequence[str], at: dt.datetime) -> Mapping[str, Any]:
        raise OSError("no route to host")


class Wrong(PriceList):
    """One that answers with something else."""

    def prices(self, pools: Sequence[str], at: dt.datetime) -> Mapping[str, Any]:
        return {"prices": 1}


@pytest.mark.parametrize("name", ["PriceList", "Slow"])
def test_a_class_of_ones_own(name: str) -> None:
    assert choose({}, {}, {"price_source": f"{__name__}.{name}"}, now=NOW).prices == EUROS


@pytest.mark.parametrize(
    ("path", "told"),
    [
        pytest.param(f"{__name__}.Broken", "OSError: 'no route to host'", id="raises"),
        pytest.param(f"{__name__}.Wrong", "InvalidInputError: 'prices is 1: ", id="says-something-else"),
        pytest.param(f"{__name__}.Nobody", "AttributeError: ", id="is-not-there"),
        pytest.param("nowhere.Nobody", "ModuleNotFoundError: ", id="no-such-module"),
        pytest.param("not a path", "ValueError: ", id="no-path"),
    ],
)
def test_no_task_fails_for_a_source_that_does_not_know(path: str, told: str) -> None:
    found = choose({}, {}, {"price_source": path}, now=NOW)
    assert found.prices is None
    said, origin = found.origins["prices"]
    assert said.startswith(f"not known, so there will be no costs: {told}")
    assert origin == f"price_source {path}"


@pytest.mark.parametrize("where", [0, 1], ids=["argument", "connection"])
def test_code_is_named_by_administrators_alone(where: int) -> None:
    given: list[dict[str, Any]] = [{}, {}]
    given[where]["price_source"] = f"{__name__}.PriceList"
    assert choose(given[0], given[1], {}).prices is None
