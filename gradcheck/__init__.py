"""gradcheck: is a hand-written backward pass right, and how do you know?

The public names are imported when they are first used, so that ``import gradcheck`` costs what NumPy costs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradcheck.adapters import *  # noqa: F403  (every adapter is public)
    from gradcheck.blindness.blind_spots import blind_spots as blind_spots
    from gradcheck.blindness.spots import BlindSpot as BlindSpot
    from gradcheck.blindness.spots import BlindSpots as BlindSpots
    from gradcheck.check import check_backward as check_backward
    from gradcheck.check import examine_backward as examine_backward
    from gradcheck.derivation import Derivation as Derivation
    from gradcheck.equations.equation import Equation as Equation
    from gradcheck.equations.equation import Judgement as Judgement
    from gradcheck.equations.equation import judge_equation as judge_equation
    from gradcheck.equations.statement import Claim as Claim
    from gradcheck.equations.statement import Definition as Definition
    from gradcheck.equations.statement import Gradient as Gradient
    from gradcheck.equations.statement import Update as Update
    from gradcheck.errors import ContractError as ContractError
    from gradcheck.errors import GradientError as GradientError
    from gradcheck.errors import InconclusiveError as InconclusiveError
    from gradcheck.jacobians.check import check_hessian as check_hessian
    from gradcheck.jacobians.check import check_jacobian as check_jacobian
    from gradcheck.jacobians.check import examine_hessian as examine_hessian
    from gradcheck.jacobians.check import examine_jacobian as examine_jacobian
    from gradcheck.oracles import Estimate as Estimate
    from gradcheck.oracles import OracleError as OracleError
    from gradcheck.oracles import autodiff as autodiff
    from gradcheck.oracles import central_difference as central_difference
    from gradcheck.oracles import complex_step as complex_step
    from gradcheck.pushforward.check import check_pushforward as check_pushforward
    from gradcheck.pushforward.check import examine_pushforward as examine_pushforward
    from gradcheck.report import Report as Report
    from gradcheck.report import Verdict as Verdict
    from gradcheck.rules import RulesReport as RulesReport
    from gradcheck.rules import check_rules as check_rules
    from gradcheck.rules import examine_rules as examine_rules
    from gradcheck.shapes.point import point as point
    from gradcheck.survey.check import check_shapes as check_shapes
    from gradcheck.survey.check import examine_shapes as examine_shapes
    from gradcheck.survey.report import ShapesReport as ShapesReport

__version__ = "0.1.0"

_HOME = {
    "BlindSpot": "blindness.spots",
    "BlindSpots": "blindness.spots",
    "blind_spots": "blindness.blind_spots",
    "check_backward": "check",
    "examine_backward": "check",
    "Derivation": "derivation",
    "Claim": "equations.statement",
    "Definition": "equations.statement",
    "Equation": "equations.equation",
    "Gradient": "equations.statement",
    "Judgement": "equations.equation",
    "Update": "equations.statement",
    "judge_equation": "equations.equation",
    "check_hessian": "jacobians.check",
    "check_jacobian": "jacobians.check",
    "examine_hessian": "jacobians.check",
    "examine_jacobian": "jacobians.check",
    "ContractError": "errors",
    "GradientError": "errors",
    "InconclusiveError": "errors",
    "Estimate": "oracles",
    "OracleError": "oracles",
    "autodiff": "oracles",
    "central_difference": "oracles",
    "complex_step": "oracles",
    "RulesReport": "rules",
    "check_rules": "rules",
    "examine_rules": "rules",
    "check_pushforward": "pushforward.check",
    "examine_pushforward": "pushforward.check",
    "Report": "report",
    "Verdict": "report",
    "ShapesReport": "survey.report",
    "check_shapes": "survey.check",
    "examine_shapes": "survey.check",
    "point": "shapes.point",
    "from_autograd": "adapters",
    "from_autograd_function": "adapters",
    "from_custom_jvp": "adapters",
    "from_custom_vjp": "adapters",
    "from_double_backward": "adapters",
    "from_hessian_vector_product": "adapters",
    "from_jacobian": "adapters",
    "from_function_jvp": "adapters",
    "from_gradient_in_place": "adapters",
    "from_jax": "adapters",
    "from_layer": "adapters",
    "from_loss_and_grad": "adapters",
    "from_mygrad": "adapters",
    "from_pullback": "adapters",
    "from_torch": "adapters",
    "from_value_and_gradient": "adapters",
    "from_vjp": "adapters",
}
__all__ = ["__version__", *sorted(_HOME)]  # noqa: PLE0604  (strings, all of them)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gradcheck' has no attribute {name!r}")
    return getattr(importlib.import_module(f"gradcheck.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
