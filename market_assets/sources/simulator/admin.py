"""Endpoints under /__simulator__/ that let another process drive the simulator.

Belongs here: reading and writing the simulator's controls as JSON. Does not belong here: what the controls do.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from market_assets.clock import ensure_utc
from market_assets.sources.simulator.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from market_assets.sources.simulator.app import Simulator

_READERS: dict[str, Callable[[Any], Any]] = {
    "start": lambda text: ensure_utc(datetime.fromisoformat(text), "start"),
    "end": lambda text: ensure_utc(datetime.fromisoformat(text), "end"),
    "session": date.fromisoformat,
    "delay": lambda seconds: timedelta(seconds=seconds),
}


def fault_from_json(entry: dict[str, Any]) -> Fault:
    """Return the fault that `entry` spells: the fields of Fault, instants in ISO 8601, `delay` in seconds.

    Raises:
        ValueError: an unknown field, kind or style, or an instant without time zone.
    """
    known = {item.name for item in fields(Fault)}
    unknown = sorted(set(entry) - known)
    if unknown:
        raise ValueError(f"unknown field {', '.join(unknown)} of a fault; known: {', '.join(sorted(known))}")
    return Fault(**{name: _READERS.get(name, _as_is)(value) for name, value in entry.items() if value is not None})


def fault_to_json(fault: Fault) -> dict[str, Any]:
    """Return `fault` as `fault_from_json` reads it."""
    entry: dict[str, Any] = {}
    for item in fields(Fault):
        value = getattr(fault, item.name)
        if isinstance(value, timedelta):
            entry[item.name] = value.total_seconds()
        else:
            entry[item.name] = value.isoformat() if isinstance(value, date) else value
    return entry


def admin_routes(simulator: Simulator) -> list[Route]:
    """Return the routes under /__simulator__/.

    GET state; POST clock {"now": ISO 8601} or {"offset_seconds": n} or {"advance_seconds": n}; POST faults {fields of
    a fault}; DELETE faults (all, or ?number=n); POST splits {"symbol", "ex_date", "ratio"}. Every answer is the state.
    """

    async def state(_request: Request) -> Response:
        return _state(simulator)

    async def set_clock(request: Request) -> Response:
        wish = await request.json()
        if "now" in wish:
            instant = ensure_utc(datetime.fromisoformat(wish["now"]), "now")
            simulator.offset += instant - simulator.now()
        elif "offset_seconds" in wish:
            simulator.offset = timedelta(seconds=wish["offset_seconds"])
        elif "advance_seconds" in wish:
            simulator.offset += timedelta(seconds=wish["advance_seconds"])
        else:
            raise ValueError("a clock request needs now, offset_seconds or advance_seconds")
        return _state(simulator)

    async def change_faults(request: Request) -> Response:
        if request.method == "POST":
            simulator.faults.add(fault_from_json(await request.json()))
        elif "number" in request.query_params:
            simulator.faults.remove(int(request.query_params["number"]))
        else:
            simulator.faults.clear()
        return _state(simulator)

    async def add_split(request: Request) -> Response:
        wish = await request.json()
        simulator.market.add_split(wish["symbol"], date.fromisoformat(wish["ex_date"]), float(wish["ratio"]))
        return _state(simulator)

    routes: list[tuple[str, list[str], Callable[[Request], Awaitable[Response]]]] = [
        ("state", ["GET"], state),
        ("clock", ["POST"], set_clock),
        ("faults", ["POST", "DELETE"], change_faults),
        ("splits", ["POST"], add_split),
    ]
    return [Route(f"/__simulator__/{name}", _checked(handler), methods=methods) for name, methods, handler in routes]


def _as_is(value: object) -> object:
    return value


def _checked(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return await handler(request)
        except (KeyError, TypeError, ValueError) as error:
            return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 400)

    return endpoint


def _state(simulator: Simulator) -> Response:
    return JSONResponse(
        {
            "now": simulator.now().isoformat(),
            "offset_seconds": simulator.offset.total_seconds(),
            "seed": simulator.market.seed,
            "symbols": list(simulator.market.symbols),
            "faults": {str(number): fault_to_json(fault) for number, fault in simulator.faults.active().items()},
            "requests": len(simulator.requests),
            "in_flight_peak": simulator.in_flight_peak,
        }
    )
