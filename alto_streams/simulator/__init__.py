"""A whole deployment of a pipeline in virtual time: the product's own decisions, with no broker and no clock around."""

from alto_streams.simulator.run import simulate as simulate
from alto_streams.simulator.virtual import SimulationError as SimulationError
from alto_streams.simulator.words import Observer as Observer
from alto_streams.simulator.words import SimulatedOutcome as SimulatedOutcome
from alto_streams.simulator.words import SimulatedRequest as SimulatedRequest
from alto_streams.simulator.words import SimulatedSystem as SimulatedSystem
