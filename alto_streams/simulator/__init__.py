"""A whole deployment of a pipeline in virtual time: the product's own decisions, with no broker and no clock around."""

from alto_streams.simulator.experiment import Observer as Observer
from alto_streams.simulator.experiment import SimulatedOutcome as SimulatedOutcome
from alto_streams.simulator.experiment import SimulatedRequest as SimulatedRequest
from alto_streams.simulator.experiment import SimulatedSystem as SimulatedSystem
from alto_streams.simulator.run import simulate as simulate
from alto_streams.simulator.virtual import SimulationError as SimulationError
