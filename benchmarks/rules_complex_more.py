"""More complex functions: activations, linear algebra, iterations, and rules in JAX's convention."""

from __future__ import annotations

import numpy as np

from benchmarks.rules_complex import cplx, normal
from benchmarks.rules_push import sizes


@cplx("modReLU", "phase does not turn", "bias by the modulus", "no mask")
def modrelu(rng, bug):
    def forward(z, b):
        r = abs(z)
        return np.where(r + b > 0, (r + b) * z / r, 0), (z, b, r)

    def backward(dout, cache):
        z, b, r = cache
        mask = r + b > (-9 if bug == "no mask" else 0)
        u = z / r
        along = (dout * u.conj()).real
        across = dout - along * u
        dz = mask * (along * u + (1 + b / r) * across * (bug != "phase does not turn"))
        return dz, (mask * along / (r if bug == "bias by the modulus" else 1)).sum(0)

    n, m = sizes(rng, 2, 4)
    return forward, backward, (normal(rng, n, m), -np.linspace(0.6, 1.2, m))


@cplx("inverse of a complex matrix", "transpose for the adjoint", "sign", "one side")
def inverse(rng, bug):
    n = sizes(rng, 1)[0]

    def forward(A):
        B = np.linalg.inv(A)
        return B, B

    def backward(dout, B):
        Bh = B.T if bug == "transpose for the adjoint" else B.conj().T
        out = -Bh @ dout @ (np.eye(n) if bug == "one side" else Bh)
        return -out if bug == "sign" else out

    return forward, backward, (normal(rng, n, n) + 3 * np.eye(n),)


@cplx("log of the modulus of a determinant", "not conjugated", "not transposed", "half")
def logdet(rng, bug):
    n = sizes(rng, 1)[0]

    def backward(dout, A):
        B = np.linalg.inv(A)
        B = {"not conjugated": B.T, "not transposed": B.conj()}.get(bug, B.conj().T)
        return dout * B / (2 if bug == "half" else 1)

    return lambda A: (np.linalg.slogdet(A)[1], A), backward, (normal(rng, n, n) + 3 * np.eye(n),)


@cplx("solve", "adjoint not conjugated", "solution not conjugated", "sign")
def solve(rng, bug):
    n = sizes(rng, 1)[0]

    def forward(A, b):
        x = np.linalg.solve(A, b)
        return x, (A, x)

    def backward(dout, cache):
        A, x = cache
        db = np.linalg.solve(A.T if bug == "adjoint not conjugated" else A.conj().T, dout)
        dA = -np.outer(db, x if bug == "solution not conjugated" else x.conj())
        return -dA if bug == "sign" else dA, db

    return forward, backward, (normal(rng, n, n) + 3 * np.eye(n), normal(rng, n))


@cplx("radius and angle to a complex number", "i not conjugated", "radius left out")
def polar(rng, bug):
    def forward(r, a):
        u = np.exp(1j * a)
        return r * u, (r, u)

    def backward(dout, cache):
        r, u = cache
        i = 1j if bug == "i not conjugated" else -1j
        return (dout * u.conj()).real, (i * dout * u.conj()).real * (1 if bug == "radius left out" else r)

    n = sizes(rng, 1)[0]
    return forward, backward, (rng.uniform(0.5, 2, n), rng.normal(size=n))


@cplx("cross correlation", "conjugate forgotten", "kernel not flipped", "delayed by one")
def correlation(rng, bug):
    n = int(rng.integers(5, 9))

    def forward(x, w):
        return np.fft.ifft(np.fft.fft(x) * np.fft.fft(w).conj()), (x, w)

    def backward(dout, cache):
        x, w = (np.fft.fft(each) for each in cache)
        D = np.fft.fft(dout)
        dx = np.fft.ifft(D * (w.conj() if bug == "kernel not flipped" else w))
        dw = np.fft.ifft((D if bug == "conjugate forgotten" else D.conj()) * x)
        return (np.roll(dx, 1) if bug == "delayed by one" else dx), dw

    return forward, backward, (normal(rng, n), normal(rng, n))


@cplx("iterations of a Julia set", "one iteration less", "constant not added up", "not conjugated")
def julia(rng, bug):
    steps = int(rng.integers(2, 5))

    def forward(z, c):
        zs = [z]
        for _ in range(steps):
            zs.append(zs[-1] ** 2 + c)
        return zs[-1], zs

    def backward(dout, zs):
        dc = 0 * dout
        for z in reversed(zs[int(bug == "one iteration less") : -1]):
            dc = dout if bug == "constant not added up" else dc + dout
            dout = 2 * (z if bug == "not conjugated" else z.conj()) * dout
        return dout, dc

    n = sizes(rng, 1)[0]
    return forward, backward, (normal(rng, n) / 2, normal(rng, n) / 3)


@cplx("overlap of two states", "not conjugated", "two for both", "one state")
def overlap(rng, bug):
    def forward(a, b):
        s = np.vdot(a, b)
        return abs(s) ** 2, (a, b, s)

    def backward(dout, cache):
        a, b, s = cache
        da = 2 * dout * (s if bug == "not conjugated" else s.conj()) * b
        db = 2 * dout * s * a
        return da * (2 if bug == "two for both" else 1), db * (bug != "one state")

    n = sizes(rng, 1)[0]
    return forward, backward, (normal(rng, n), normal(rng, n))


@cplx("recurrent network with unit weights", "last step only", "weights not conjugated", "derivative not conjugated")
def unitary(rng, bug):
    time, n = sizes(rng, 2)

    def forward(x, phase):
        u, h, hs = np.exp(1j * phase), 0 * x[0], []
        for step in x:
            hs.append(h)
            h = u * h + step
        return h, (u, hs)

    def backward(dout, cache):
        u, hs = cache
        dx, dphase = [], np.zeros(n)
        for h in reversed(hs):
            dx.append(dout)
            dphase = dphase + (dout.conj() * (1 if bug.startswith("derivative") else 1j) * u * h).real
            if bug == "last step only":
                dout = 0 * dout
            dout = (u if bug == "weights not conjugated" else u.conj()) * dout
        return np.stack(dx[::-1]), dphase

    return forward, backward, (normal(rng, time, n), rng.normal(size=n))


@cplx("modulus squared in complex64", "no two", "conjugate", "complex128 for complex64")
def single(rng, bug):
    def backward(dout, z):
        out = np.float32(1 if bug == "no two" else 2) * dout * (z.conj() if bug == "conjugate" else z)
        return out.astype(np.complex128) if bug.startswith("complex128") else out

    n, m = sizes(rng, 2)
    return lambda z: ((z * z.conj()).real, z), backward, (normal(rng, n, m).astype(np.complex64),)


@cplx("cotangents of a dict, parameters in one", "one not conjugated", "shared one not added")
def parameters(rng, bug):
    n = sizes(rng, 1)[0]

    def forward(params):
        a, b = params["a"], params["b"]
        return {"product": a * b, "power": abs(a) ** 2}, (a, b)

    def backward(dout, cache):
        a, b = cache
        da = dout["product"] * b.conj() + 2 * a * dout["power"] * (bug != "shared one not added")
        return ({"a": da, "b": dout["product"] * (a if bug == "one not conjugated" else a.conj())},)

    return forward, backward, ({"a": normal(rng, n), "b": normal(rng, n)},)


JAX = {"convention": "jax"}


@cplx("squared modulus, jax", "the other convention", "no two")
def modulus_jax(rng, bug):
    def backward(dout, z):
        return (1 if bug == "no two" else 2) * dout * (z if bug.startswith("the other") else z.conj())

    return lambda z: (abs(z) ** 2, z), backward, (normal(rng, *sizes(rng, 2)),), JAX


@cplx("complex linear layer, jax", "conjugated as elsewhere", "not transposed")
def linear_jax(rng, bug):
    n = sizes(rng, 1)[0]

    def backward(dout, cache):
        x, W = cache
        Wt = {"conjugated as elsewhere": W.conj().T, "not transposed": W}.get(bug, W.T)
        return dout @ Wt, x.T @ dout

    return lambda x, W: (x @ W, (x, W)), backward, (normal(rng, n, n), normal(rng, n, n)), JAX


@cplx("fft, jax", "adjoint for the transpose", "scaled")
def fft_jax(rng, bug):
    n = sizes(rng, 1, 3)[0]

    def backward(dout, _):
        return np.fft.ifft(dout) * n if bug.startswith("adjoint") else np.fft.fft(dout) / (n if bug == "scaled" else 1)

    return lambda x: (np.fft.fft(x), None), backward, (normal(rng, n),), JAX


@cplx("conjugate, jax", "linear", "sign")
def conjugate_jax(rng, bug):
    def backward(dout, _):
        return {"linear": dout, "sign": -dout.conj()}.get(bug, dout.conj())

    return lambda z: (z.conj(), None), backward, (normal(rng, *sizes(rng, 2)),), JAX


@cplx("expectation of a normalised state, jax", "ket for bra", "energy not subtracted")
def expectation_jax(rng, bug):
    n = sizes(rng, 1)[0]
    H = normal(rng, n, n)
    H = H + H.conj().T

    def forward(psi):
        s = (abs(psi) ** 2).sum()
        return (psi.conj() @ H @ psi).real / s, (psi, s, (psi.conj() @ H @ psi).real / s)

    def backward(dout, cache):
        psi, s, e = cache
        out = 2 * dout * (H @ psi - e * psi * (bug != "energy not subtracted")) / s
        return out if bug == "ket for bra" else out.conj()

    return forward, backward, (normal(rng, n),), JAX
