"""Rules that the first contact did not have: what was tried by hand afterwards, and judged wrongly then."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from benchmarks.rules_complex import normal
from benchmarks.rules_jacobian import jac
from benchmarks.rules_push import push, sizes


@push("product of two, by what moves", "a term lost where both move", "both terms of the first")
def branches(rng, bug):
    n = sizes(rng, 1)[0]

    def jvp(primals, tangents):
        (x, y), (xt, yt) = primals, tangents
        out = 0 * x
        if np.any(xt):
            out = out + xt * y
        if np.any(yt) and not (bug == "a term lost where both move" and np.any(xt)):
            out = out + x * (xt if bug == "both terms of the first" else yt)
        return x * y, out

    return lambda x, y: x * y, jvp, (rng.normal(size=n), rng.normal(size=n))


@push("straight through a rounding", "not straight", "half")
def rounding(rng, bug):
    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        return np.round(x), {"not straight": 0 * t, "half": t / 2}.get(bug, t + 0)

    return np.round, jvp, (rng.normal(size=sizes(rng, 2)) * 3,), {"surrogate": lambda x: x}


@push("complex step function with a smooth slope", "conjugate", "of the step")
def smooth(rng, bug):
    def jvp(primals, tangents):
        (z,), (t,) = primals, tangents
        slope = {"of the step": 0 * z, "conjugate": np.cos(z).conj()}.get(bug, np.cos(z))
        return np.round(z), slope * t

    return np.round, jvp, (normal(rng, *sizes(rng, 2)),), {"surrogate": np.sin}


@jac("a linear operator with two directions", "product transposed, adjoint right", "adjoint wrong, product right")
def operator(rng, bug):
    n = sizes(rng, 1, 3)[0]
    A = rng.normal(size=(n, n))

    def jacobian(x):
        J = A * np.exp(x)
        forth, back = J, J.T
        if bug.startswith("product"):
            forth = J.T
        if bug.startswith("adjoint"):
            back = J
        return LinearOperator((n, n), matvec=lambda v: forth @ v, rmatvec=lambda v: back @ v, dtype=float)

    return lambda x: A @ np.exp(x), jacobian, (rng.normal(size=n),)


@jac("couplings in a dictionary of keys", "one coupling twice", "sign below the diagonal")
def couplings(rng, bug):
    n = sizes(rng, 1, 3, 7)[0]

    def f(x):
        y = x**2
        y[1:] -= x[:-1]
        return y

    def jacobian(x):
        J = sparse.dok_matrix((n, n))
        for i in range(n):
            J[i, i] = 2 * x[i]
        for i in range(1, n):
            J[i, i - 1] = 1.0 if bug == "sign below the diagonal" else -1.0
        if bug == "one coupling twice":
            J[1, 0] = -2.0
        return J

    return f, jacobian, (rng.normal(size=n),)


@jac("partials without an input that nothing reads", "a factor", "the other output's")
def unread(rng, bug):
    n = sizes(rng, 1, 3)[0]

    def f(load, spare):  # noqa: ARG001
        return {"stress": load**2, "strain": np.sin(load)}

    def jacobian(load, spare):  # noqa: ARG001
        strain = np.diag(2 * load if bug == "the other output's" else np.cos(load))
        return {("stress", "load"): np.diag((1 if bug == "a factor" else 2) * load), ("strain", "load"): strain}

    return f, jacobian, (rng.normal(size=n), rng.normal(size=n))


@push("maximum, ties within rounding, split", "counted twice", "none of them", tie=True)
def close(rng, bug):
    x = rng.normal(size=sizes(rng, 2, 3))
    x[:, 0] = x[:, 1] = 4.0

    def jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        top = x.max(1, keepdims=True)
        mask = np.isclose(x, top)
        share = 1 if bug == "counted twice" else mask.sum(1)
        return top[:, 0], (mask * t).sum(1) / share * (not (bug == "none of them" and mask.sum() > len(x)))

    return lambda x: x.max(1), jvp, (x,)


@jac("relu at zero, a zero within rounding", "two at zero", "minus one at zero", tie=True)
def zero(rng, bug):
    x = rng.normal(size=sizes(rng, 1, 3)[0])
    x[0] = 0

    def jacobian(x):
        at = {"two at zero": 2.0, "minus one at zero": -1.0}.get(bug, 0.5)
        return np.diag(np.where(abs(x) < 1e-10, at, x > 0))

    return lambda x: np.maximum(x, 0), jacobian, (x,)
