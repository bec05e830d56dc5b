"""A new version goes on where an earlier one has stopped."""

from __future__ import annotations

import json
from importlib import import_module

import msgspec

from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core.history import Cause
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.core.state import FleetState
from tests.support import previous


def test_checkpoint_is_restored() -> None:
    class_path, arguments = previous.recorded("trigger")
    module, name = class_path.rsplit(".", 1)
    trigger = getattr(import_module(module), name)(**arguments)
    spec = msgspec.convert(trigger.spec, FleetSpec)
    saved = cp.decode(json.dumps(previous.recorded("checkpoint")))
    state = cp.restore(FleetState.new(spec), saved)
    application = state.applications[previous.APPLICATION]
    assert application.submission == previous.SUBMISSION
    ((seat, vacancy),) = application.vacancies.items()
    assert (seat, vacancy.loss.seat_pool, vacancy.loss.cause) == (1, "spot", Cause.SPOT_INTERRUPTION)
    assert state.losses == (vacancy.loss,)
    assert state.initial == {"spot": 1, "on-demand": 2}
