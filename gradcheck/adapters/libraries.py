"""Arrays of other libraries ↔ NumPy's: PyTorch, JAX, and whatever follows the array API standard. Level 1.

No library is imported: an array of it can only be given where it is. What comes back has the dtype and the device of
the array that it is to be like, so that code for a GPU is run on it. Where a check measures code of 16 bits, in which
no difference shows a slope, it is called with 32, unless it refuses these.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from gradcheck.trees import is_number, leaves

__all__ = ["Kind", "in_double", "in_precision_of", "is_tensor", "kind_of", "made_like", "to_numpy"]

HALF = 2  # bytes
DOUBLE = ("float64", "complex128")


class Kind(NamedTuple):
    """What an array was, so that another can be made like it: whose it is, its dtype and its device.

    ``library`` is None for NumPy. ``number`` says that it was a single number and no array, ``asks`` that a tensor of
    PyTorch requires a gradient.
    """

    library: Any
    dtype: Any
    device: Any = None
    number: bool = False
    asks: bool = False

    @property
    def is_complex(self) -> bool:
        """Whether it holds complex numbers."""
        return "complex" in str(self.dtype)


def kind_of(leaf: Any) -> Kind | None:
    """Return what ``leaf`` is; None of what needs no other form: real arrays of NumPy, and what is no array."""
    if isinstance(leaf, np.ndarray | np.generic):
        return Kind(None, leaf.dtype, number=not isinstance(leaf, np.ndarray)) if leaf.dtype.kind == "c" else None
    if is_tensor(leaf):
        return Kind(sys.modules["torch"], leaf.dtype, leaf.device, asks=leaf.requires_grad)
    if not hasattr(type(leaf), "__array_namespace__") or str(leaf.dtype).startswith("key<"):  # a random key of JAX
        return None
    if isinstance(leaf.dtype, np.dtype) and not is_number(leaf):
        return None
    return Kind(leaf.__array_namespace__(), leaf.dtype, getattr(leaf, "device", None))


def to_numpy(leaf: Any) -> Any:
    """Return an array of another library as one of NumPy, a fresh one; anything else as it is.

    Raises:
        TypeError: it is a sparse tensor.
    """
    kind = kind_of(leaf)
    if kind is None or kind.library is None:
        return leaf
    if is_tensor(leaf):
        return _of_tensor(kind.library, leaf.detach())
    try:
        return np.array(leaf)
    except Exception:  # noqa: BLE001  (a library whose arrays lie elsewhere refuses in its own way)
        return np.array(np.from_dlpack(leaf, device="cpu"))


def made_like(kind: Kind, array: Any) -> Any:
    """Return ``array`` in the library, the dtype and on the device of ``kind``; one of NumPy keeps its precision.

    Raises:
        TypeError: it is in a precision that no other library has.
    """
    array = np.asarray(array)
    if kind.library is None:
        return array[()] if kind.number else array
    if array.dtype.kind == "f" and array.dtype.itemsize > HALF and str(kind.dtype).endswith("float16"):
        kind = kind._replace(dtype=kind.library.float32)
    if array.dtype.kind in "fc" and array.dtype.itemsize > (16 if array.dtype.kind == "c" else 8):
        raise TypeError(f"an array of {kind.library.__name__} must have a dtype of its own, but it is {array.dtype}")
    if kind.library.__name__ == "torch":
        plain = array.astype(np.float32) if array.dtype.name == "bfloat16" else np.array(array)
        tensor = kind.library.from_numpy(plain).to(dtype=kind.dtype, device=kind.device)
        return tensor.requires_grad_() if kind.asks else tensor
    dtype = kind.dtype if isinstance(kind.dtype, np.dtype) else array.dtype
    return kind.library.asarray(np.array(array, dtype=dtype), dtype=kind.dtype, device=kind.device)


def in_precision_of(kinds: Iterable[Kind]) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which JAX keeps the 64 bits of an array that has them."""
    return _in_double(kind.dtype for kind in kinds if getattr(kind.library, "__name__", "") == "jax.numpy")


def _bfloat16() -> Any:
    """Return the dtype of bfloat16, of which NumPy has none."""
    try:
        import ml_dtypes
    except ImportError as error:
        raise ImportError(
            "a check of bfloat16 must be able to import ml_dtypes, but could not. Install ml_dtypes."
        ) from error
    return ml_dtypes.bfloat16


def in_double(tree: Any) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which JAX, if it is there, keeps the 64 bits of what ``tree`` holds with as many."""
    return _in_double(getattr(leaf, "dtype", None) for _, leaf in leaves(tree, ""))


def _in_double(dtypes: Iterable[Any]) -> contextlib.AbstractContextManager[Any]:
    jax, named = sys.modules.get("jax"), {str(dtype).removeprefix("torch.") for dtype in dtypes}
    return contextlib.nullcontext() if jax is None or named.isdisjoint(DOUBLE) else jax.enable_x64(True)


def is_tensor(leaf: Any) -> bool:
    """Whether ``leaf`` is a tensor of PyTorch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(leaf, torch.Tensor)


def _of_tensor(torch: Any, tensor: Any) -> Any:
    if tensor.layout is not torch.strided:
        raise TypeError(
            f"a tensor must be dense, but its layout is {tensor.layout}. Pass its values, and build it in the forward."
        )
    if tensor.dtype is torch.bfloat16:
        return np.array(tensor.float().numpy(force=True), dtype=_bfloat16())
    return np.array(tensor.resolve_conj().resolve_neg().numpy(force=True))
