"""Real data for the derivations: the handwritten digits that come with scikit-learn."""

import numpy as np
from jaxtyping import Float64, Integer
from numpy import ndarray


def digits(n: int) -> tuple[Float64[ndarray, "{n} 8 8"], Integer[ndarray, "{n}"]]:
    """Return the first n of the 1797 digits: images (n, 8, 8) with grey levels in [0, 1], labels (n,) from 0 to 9.

    Raises:
        ValueError: n is not between 1 and 1797.

    Source: the test set of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    total = len(data.target)
    if not 1 <= n <= total:
        raise ValueError(f"digits must be asked for 1 to {total} images, but n is {n}. Choose n within that range.")
    return np.array(data.images[:n] / 16), np.array(data.target[:n])
