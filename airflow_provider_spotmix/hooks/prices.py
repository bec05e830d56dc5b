"""Where prices come from, and what a person may write there: pydantic at the edge, an error that names the remedy.

Whatever its source, a price is fixed when the fleet is submitted: it travels in the fleet's spec, and what a source
says later changes nothing about a fleet that runs.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import pkgutil
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from airflow_provider_spotmix.core.cost import Price, Prices
from airflow_provider_spotmix.core.errors import InvalidInputError, shown
from airflow_provider_spotmix.hooks.currencies import CURRENCIES
from airflow_provider_spotmix.hooks.document import MAX_CHARACTERS, parse, plain
from airflow_provider_spotmix.hooks.models import STRICT, Place, mapping, number, read_model
from airflow_provider_spotmix.hooks.settings import CONFIG

GIVEN, FILE, OWN = "prices", "price_file", "price_source"
_MAX_PRICE = 1_000_000
_PARTS = "give core_hour and gib_hour, or executor_hour, or instance_hour with instance_cores and instance_gib"


class PriceSource(Protocol):
    """Tells what pools cost. A class of one's own is named by ``[spotmix] price_source`` and made without arguments."""

    @property
    def name(self) -> str:
        """What the task's log calls it."""

    def prices(self, pools: Sequence[str], at: dt.datetime) -> Mapping[str, Any] | Awaitable[Mapping[str, Any]]:
        """Return the content of a price file: ``{"currency": "EUR", "prices": {"spot": {"core_hour": "0.012"}}}``.

        Args:
            pools: names of the fleet's pools. Others may be in the answer.
            at: when the fleet is submitted, UTC.

        """


class Given:
    """Prices that are written where settings are."""

    def __init__(self, prices: Any, currency: str | None, origin: str) -> None:
        self.name = origin
        self._prices = prices
        self._currency = currency

    def prices(self, pools: Sequence[str], at: dt.datetime) -> Mapping[str, Any]:
        """Return them."""
        del pools, at
        given = {"prices": mapping("prices", self._prices, self.name)}
        return given if self._currency is None else {**given, "currency": self._currency}


class PriceFile:
    """A file of prices, YAML or JSON, that is read anew for each fleet."""

    def __init__(self, path: str, origin: str) -> None:
        self.name = f"{FILE} {path}, {origin}"
        self._path = path

    def prices(self, pools: Sequence[str], at: dt.datetime) -> Mapping[str, Any]:
        """Read it.

        Raises:
            InvalidInputError: it is not there, cannot be read, or is no mapping.

        """
        del pools, at
        field, path = f"{FILE} {shown(self._path)}", Path(self._path)
        if not path.is_absolute():
            raise InvalidInputError(
                f"{field} is no absolute path; write it from / on, workers have no common directory"
            )
        try:
            if not path.is_file():
                raise InvalidInputError(f"{field} is no file on this worker; mount it there, or correct the path")
            with path.open(encoding="utf-8") as file:
                text = file.read(MAX_CHARACTERS + 1)
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise InvalidInputError(f"{field} cannot be read: {why}; correct that on the worker") from None
        documents = parse(text, field)
        if len(documents) != 1 or not isinstance(documents[0], Mapping):
            raise InvalidInputError(
                f"{field} is not one mapping; write {{currency: ..., prices: {{pool: ...}}}} into it"
            )
        found: dict[str, Any] = plain(documents[0], field)
        return found


class Own:
    """Somebody's own class."""

    def __init__(self, path: str) -> None:
        self.name = f"{OWN} {path}"
        self._path = path

    def prices(self, pools: Sequence[str], at: dt.datetime) -> Mapping[str, Any] | Awaitable[Mapping[str, Any]]:
        """Ask it. Whatever its code raises is raised."""
        found: PriceSource = pkgutil.resolve_name(self._path)()
        return found.prices(pools, at)


async def _awaited(found: Awaitable[Mapping[str, Any]]) -> Mapping[str, Any]:
    return await found


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("Input should be a date, or a date with time, as text")  # noqa: TRY004 - what pydantic expects
    return value


def _code(value: str) -> str:
    if value not in CURRENCIES:
        raise ValueError("Input should be a code of ISO 4217 that is in use, such as USD, EUR or INR")
    return value


_Amount = Annotated[Decimal, BeforeValidator(number), Field(ge=0, le=_MAX_PRICE, max_digits=18)]
_Size = Annotated[Decimal, BeforeValidator(number), Field(gt=0, le=_MAX_PRICE, max_digits=18)]


class PriceModel(BaseModel):
    """A pool's price, as a person writes it."""

    model_config = STRICT

    core_hour: _Amount = Decimal(0)
    gib_hour: _Amount = Decimal(0)
    executor_hour: _Amount = Decimal(0)
    instance_hour: _Amount | None = None
    instance_cores: _Size | None = None
    instance_gib: _Size | None = None

    @model_validator(mode="after")
    def _is_given(self) -> PriceModel:
        instance = (self.instance_hour, self.instance_cores, self.instance_gib)
        if not self.model_fields_set:
            raise ValueError(_PARTS)
        if None in instance and instance != (None, None, None):
            raise ValueError("instance_hour, instance_cores and instance_gib belong together; give all three of them")
        return self

    def to_price(self) -> Price:
        """Return what the core works with."""
        return Price(**self.model_dump(exclude_none=True))


_ByPool = Annotated[dict[str, PriceModel], Field(min_length=1)]


class PeriodModel(BaseModel):
    """Prices from a time on. A time without a zone is UTC."""

    model_config = STRICT

    valid_from: Annotated[dt.datetime, BeforeValidator(_text)]
    prices: _ByPool

    @property
    def since(self) -> dt.datetime:
        """That time, with its zone."""
        return self.valid_from if self.valid_from.tzinfo else self.valid_from.replace(tzinfo=dt.UTC)


class PricesModel(BaseModel):
    """Prices by pool and their currency, as a person writes them: always the same, or by time."""

    model_config = STRICT

    prices: _ByPool | None = None
    periods: Annotated[tuple[PeriodModel, ...], Field(min_length=1)] | None = None
    currency: Annotated[str, AfterValidator(_code)] = "USD"

    @model_validator(mode="after")
    def _is_given(self) -> PricesModel:
        if (self.prices is None) == (self.periods is None):
            raise ValueError("give either prices by pool, or periods: a list of valid_from and prices")
        return self

    def valid(self, now: dt.datetime) -> Prices | None:
        """Return the prices of that time; None before the first period."""
        periods = sorted((each for each in self.periods or () if each.since <= now), key=lambda each: each.since)
        found = self.prices or (periods[-1].prices if periods else None)
        if found is None:
            return None
        by_pool = {pool: price.to_price() for pool, price in found.items()}
        return Prices(by_pool=by_pool, currency=self.currency)


def source(settings: Mapping[str, Any], origin: str) -> PriceSource | None:
    """Return the source of prices that settings name; None when they name none.

    Only the configuration may name a class: it runs with the worker's rights, so an administrator has to want it.

    Raises:
        InvalidInputError: they name several.

    """
    names = (GIVEN, FILE, OWN) if origin == CONFIG else (GIVEN, FILE)
    given = [name for name in names if settings.get(name) is not None]
    if len(given) > 1:
        raise InvalidInputError(f"{' and '.join(given)} are both given (from {origin}); keep one of them")
    if GIVEN in given:
        return Given(settings[GIVEN], settings.get("currency"), origin)
    if FILE in given:
        return PriceFile(str(settings[FILE]), origin)
    return Own(str(settings[OWN])) if given else None


def ask(asked: PriceSource, pools: Sequence[str], now: dt.datetime) -> Prices:
    """Return the prices that hold now.

    Raises:
        InvalidInputError: the source has none, or what it has cannot be used.

    """
    document = asked.prices(tuple(pools), now)
    if inspect.isawaitable(document):
        document = asyncio.run(_awaited(document))
    model = read_model(PricesModel, document, field="", origin=asked.name, known=_known)
    prices = model.valid(now)
    if prices is None:
        first = min(each.since for each in model.periods or ())
        raise InvalidInputError(
            f"periods begin with {first.isoformat()}, and it is {now.isoformat(timespec='seconds')}; add one that is"
            f" valid now (from {asked.name})"
        )
    return prices


def _known(place: Place) -> Iterable[str]:
    """Names of the fields there: of the whole, of a period, of a pool's price."""
    if len(place) == 1:
        return PricesModel.model_fields
    return PeriodModel.model_fields if isinstance(place[-2], int) else PriceModel.model_fields
