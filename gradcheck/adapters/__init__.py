"""Other people's conventions → the house's pair ``(forward, backward)``. Level 1.

``check_backward(*from_x(f), args)`` reads any of them. A framework is imported when its adapter is called, never
before.
"""

from __future__ import annotations

from gradcheck.adapters.autograd_function import from_autograd_function as from_autograd_function
from gradcheck.adapters.custom_jvp import from_custom_jvp as from_custom_jvp
from gradcheck.adapters.custom_jvp import from_function_jvp as from_function_jvp
from gradcheck.adapters.custom_vjp import from_custom_vjp as from_custom_vjp
from gradcheck.adapters.double_backward import from_double_backward as from_double_backward
from gradcheck.adapters.frameworks import from_autograd as from_autograd
from gradcheck.adapters.frameworks import from_jax as from_jax
from gradcheck.adapters.frameworks import from_mygrad as from_mygrad
from gradcheck.adapters.in_place import from_gradient_in_place as from_gradient_in_place
from gradcheck.adapters.jacobians import from_hessian_vector_product as from_hessian_vector_product
from gradcheck.adapters.jacobians import from_jacobian as from_jacobian
from gradcheck.adapters.layers import from_layer as from_layer
from gradcheck.adapters.losses import from_loss_and_grad as from_loss_and_grad
from gradcheck.adapters.losses import from_value_and_gradient as from_value_and_gradient
from gradcheck.adapters.pullbacks import from_pullback as from_pullback
from gradcheck.adapters.torch_functions import from_torch as from_torch
from gradcheck.adapters.vjps import from_vjp as from_vjp
