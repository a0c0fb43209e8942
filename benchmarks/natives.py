"""LeNet-5 written in the arrays of the peers themselves, as their users would write it, and differentiated by them.

Each function takes the image and the 14 parameter arrays in the order of ``derivations.lenet5`` and returns the mean
loss. It computes what the NumPy network computes, layer by layer, with what its library offers for each layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from derivations.lenet5 import LINKS_C3

__all__ = ["in_autograd", "in_torch"]


def in_autograd(labels: np.ndarray) -> Callable[..., Any]:
    """Return the network in ``autograd.numpy``, whose convolution flips its kernel, as the mathematical one does."""
    import autograd.numpy as anp
    from autograd.scipy.signal import convolve
    from autograd.scipy.special import logsumexp

    one_hot = np.eye(10)[labels]

    def conv(x, W, b):
        planes = convolve(x, W[:, :, ::-1, ::-1], axes=([2, 3], [2, 3]), dot_axes=([1], [1]), mode="valid")
        return planes + b[:, None, None]

    def pool(x, omega, a):
        n, d, h, w = x.shape
        mean = anp.mean(anp.reshape(x, (n, d, h // 2, 2, w // 2, 2)), axis=(3, 5))
        return omega[:, None, None] * mean + a[:, None, None]

    def network(X, W1, b1, o2, a2, W3, b3, o4, a4, W5, b5, W6, b6, W7, b7):
        x = anp.tanh(pool(anp.tanh(conv(X, W1, b1)), o2, a2))
        x = anp.tanh(pool(anp.tanh(conv(x, W3 * LINKS_C3.T[:, :, None, None], b3)), o4, a4))
        x = anp.tanh(conv(x, W5, b5)[:, :, 0, 0])
        z = anp.tanh(x @ W6 + b6) @ W7 + b7
        return anp.mean(logsumexp(z, axis=1) - anp.sum(z * one_hot, axis=1))

    return network


def in_torch(labels: np.ndarray) -> Callable[..., Any]:
    """Return the network in ``torch.nn.functional``."""
    import torch
    from torch.nn import functional

    target, links = torch.from_numpy(labels), torch.from_numpy(LINKS_C3.T[:, :, None, None].astype(np.float64))

    def pool(x, omega, a):
        return omega[:, None, None] * functional.avg_pool2d(x, 2) + a[:, None, None]

    def network(X, W1, b1, o2, a2, W3, b3, o4, a4, W5, b5, W6, b6, W7, b7):
        x = torch.tanh(pool(torch.tanh(functional.conv2d(X, W1, b1)), o2, a2))
        x = torch.tanh(pool(torch.tanh(functional.conv2d(x, W3 * links, b3)), o4, a4))
        x = torch.tanh(functional.conv2d(x, W5, b5)[:, :, 0, 0])
        z = torch.tanh(x @ W6 + b6) @ W7 + b7
        return functional.cross_entropy(z, target)

    return network
