"""Other people's conventions → the house's pair ``(forward, backward)``. Level 1.

``check_backward(*from_x(f), args)`` reads any of them. JAX and PyTorch are imported when their adapter
is called, never before.
"""

from __future__ import annotations

from gradcheck.adapters.autograd_function import from_autograd_function as from_autograd_function
from gradcheck.adapters.custom_jvp import from_custom_jvp as from_custom_jvp
from gradcheck.adapters.custom_vjp import from_custom_vjp as from_custom_vjp
from gradcheck.adapters.jacobians import from_hessian_vector_product as from_hessian_vector_product
from gradcheck.adapters.jacobians import from_jacobian as from_jacobian
from gradcheck.adapters.layers import from_layer as from_layer
from gradcheck.adapters.losses import from_loss_and_grad as from_loss_and_grad
from gradcheck.adapters.losses import from_value_and_gradient as from_value_and_gradient
from gradcheck.adapters.second import from_double_backward as from_double_backward
from gradcheck.adapters.vjps import from_vjp as from_vjp
