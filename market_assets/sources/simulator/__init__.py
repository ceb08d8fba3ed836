"""A local server that speaks Yahoo's wire protocol over a simulated market.

Belongs here: everything needed to develop, test and demonstrate the collector without Yahoo. Does not belong here:
anything the collector itself needs in production, and any client of Yahoo.
"""

from market_assets.sources.simulator.app import RecordedRequest, Simulator
from market_assets.sources.simulator.faults import BadStyle, Fault, FaultBook, FaultKind
from market_assets.sources.simulator.instruments import Instrument, Split
from market_assets.sources.simulator.market import Market
from market_assets.sources.simulator.server import SimulatorServer, serve_forever

__all__ = [
    "BadStyle",
    "Fault",
    "FaultBook",
    "FaultKind",
    "Instrument",
    "Market",
    "RecordedRequest",
    "Simulator",
    "SimulatorServer",
    "Split",
    "serve_forever",
]
