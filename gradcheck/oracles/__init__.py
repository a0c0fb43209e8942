"""Oracles: who pushes a tangent forward, and how well. Level 1.

An oracle is a function ``oracle(f, x) -> pushforward``. The first stage does the work that all directions
share; ``pushforward(v) -> Estimate(value, error)`` gives the derivative of ``f`` at ``x`` along ``v`` and a bound
of its error. ``f`` maps a float array to a number or an array; ``x`` and ``v`` have one shape.
"""

from gradcheck.oracles.autodiff import autodiff as autodiff
from gradcheck.oracles.complex_step import complex_step as complex_step
from gradcheck.oracles.difference import central_difference as central_difference
from gradcheck.oracles.estimate import Estimate as Estimate
from gradcheck.oracles.estimate import Oracle as Oracle
from gradcheck.oracles.estimate import OracleError as OracleError
from gradcheck.oracles.estimate import Pushforward as Pushforward
