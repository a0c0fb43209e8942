"""Backwards of complex functions that somebody wrote by hand, with ∂L/∂Re z + i ∂L/∂Im z for the gradient of z."""

from __future__ import annotations

import functools

import numpy as np

from benchmarks.rules_case import case
from benchmarks.rules_push import sizes

cplx = functools.partial(case, "complex")


def normal(rng, *shape):
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def holomorphic(name, function, slope, *, convention="pytorch", shift=0.0):
    """Add a function of single entries with a complex derivative, right in one convention."""

    @cplx(f"{name}, {convention}", "conjugate", "conjugated cotangent", "real part", "slope left out")
    def made(rng, bug):
        def backward(dout, z):
            d = np.conj(slope(z)) if (convention == "pytorch") != (bug == "conjugate") else slope(z)
            if bug == "slope left out":
                return dout
            return (dout.conj() if bug == "conjugated cotangent" else dout) * (d.real + 0j if bug == "real part" else d)

        z = normal(rng, *sizes(rng, 2)) + shift
        return lambda z: (function(z), z), backward, (z,), {"convention": convention}


for each in ("pytorch", "jax"):
    holomorphic("square", lambda z: z**2, lambda z: 2 * z, convention=each)
    holomorphic("exponential", np.exp, np.exp, convention=each)
    holomorphic("tanh", np.tanh, lambda z: 1 - np.tanh(z) ** 2, convention=each)
    holomorphic(
        "Möbius", lambda z: (z - 0.3j) / (1 + 0.3j * z), lambda z: (1 - 0.09) / (1 + 0.3j * z) ** 2, convention=each
    )
holomorphic("reciprocal", lambda z: 1 / z, lambda z: -1 / z**2, shift=3.0)
holomorphic("logarithm", np.log, lambda z: 1 / z, shift=4.0)
holomorphic("square root", np.sqrt, lambda z: 0.5 / np.sqrt(z), shift=4.0)


@cplx("squared modulus", "no two", "conjugate", "real part")
def modulus2(rng, bug):
    def backward(dout, z):
        z = {"conjugate": z.conj(), "real part": z.real + 0j}.get(bug, z)
        return (1 if bug == "no two" else 2) * dout * z

    return lambda z: ((z * z.conj()).real, z), backward, (normal(rng, *sizes(rng, 2)),)


@cplx("modulus", "not divided", "conjugate", "half", "no real dtype")
def modulus(rng, bug):
    def backward(dout, z):
        u = z / (1 if bug == "not divided" else abs(z))
        u = u.real if bug == "no real dtype" else u
        return dout * (u.conj() if bug == "conjugate" else u) / (2 if bug == "half" else 1)

    return lambda z: (abs(z), z), backward, (normal(rng, *sizes(rng, 2)),)


@cplx("angle", "i left out", "sign", "modulus for its square")
def angle(rng, bug):
    def backward(dout, z):
        i = 1 if bug == "i left out" else 1j
        below = abs(z) if bug == "modulus for its square" else abs(z) ** 2
        return (-1 if bug == "sign" else 1) * dout * i * z / below

    return lambda z: (np.angle(z), z), backward, (normal(rng, *sizes(rng, 2)) + 2,)


@cplx("product with a conjugate", "conjugate on the wrong one", "no conjugate of the cotangent")
def conjugate_product(rng, bug):
    def backward(dout, cache):
        a, b = cache
        da = (dout.conj() if bug == "conjugate on the wrong one" else dout) * b
        db = (dout if bug == "no conjugate of the cotangent" else dout.conj()) * a
        return da, db

    shape = sizes(rng, 2)
    return lambda a, b: (a * b.conj(), (a, b)), backward, (normal(rng, *shape), normal(rng, *shape))


@cplx("real part times imaginary part", "i left out", "sign of i", "exchanged")
def real_imaginary(rng, bug):
    def backward(dout, z):
        if bug == "exchanged":
            return dout * (z.real + 1j * z.imag)
        return dout * (z.imag + {"i left out": 1, "sign of i": -1j}.get(bug, 1j) * z.real)

    return lambda z: (z.real * z.imag, z), backward, (normal(rng, *sizes(rng, 2)),)


@cplx("complex linear layer", "weights not conjugated", "input not conjugated", "conjugate without transpose")
def linear(rng, bug):
    n = sizes(rng, 1)[0]

    def backward(dout, cache):
        x, W = cache
        Wt = {"weights not conjugated": W.T, "conjugate without transpose": W.conj()}.get(bug, W.conj().T)
        return dout @ Wt, (x.T if bug == "input not conjugated" else x.conj().T) @ dout, dout.sum(0)

    return lambda x, W, b: (x @ W + b, (x, W)), backward, (normal(rng, n, n), normal(rng, n, n), normal(rng, n))


@cplx("real input, complex weights", "imaginary part for the input", "weights not conjugated")
def mixed(rng, bug):
    n, d, m = sizes(rng, 3)

    def backward(dout, cache):
        x, W = cache
        dx = dout @ (W.T if bug == "weights not conjugated" else W.conj().T)
        return dx.imag if bug == "imaginary part for the input" else dx.real, x.T @ dout

    return lambda x, W: (x @ W, (x, W)), backward, (rng.normal(size=(n, d)), normal(rng, d, m))


@cplx("fft", "inverse not scaled back", "transform for its adjoint", "conjugate")
def fft(rng, bug):
    n, m = sizes(rng, 2, 3)

    def backward(dout, _):
        if bug == "transform for its adjoint":
            return np.fft.fft(dout)
        out = np.fft.ifft(dout) * (1 if bug == "inverse not scaled back" else m)
        return out.conj() if bug == "conjugate" else out

    return lambda x: (np.fft.fft(x), None), backward, (normal(rng, n, m),)


@cplx("inverse fft in two dimensions", "scale of one axis", "not scaled")
def ifft2(rng, bug):
    n, m = sizes(rng, 2, 3)

    def backward(dout, _):
        return np.fft.fft2(dout) / {"scale of one axis": n, "not scaled": 1}.get(bug, n * m)

    return lambda x: (np.fft.ifft2(x), None), backward, (normal(rng, n, m),)


@cplx("rfft of a real signal", "irfft itself", "imaginary part kept", "doubled frequencies")
def rfft(rng, bug):
    n = sizes(rng, 1, 4, 9)[0]

    def backward(dout, _):
        if bug == "irfft itself":
            return np.fft.irfft(dout, n) * n
        full = np.zeros(n, complex)
        full[: dout.size] = dout
        if bug == "doubled frequencies":
            full[1 : dout.size] *= 2
        out = np.fft.ifft(full) * n
        return out.imag if bug == "imaginary part kept" else out.real

    return lambda x: (np.fft.rfft(x), None), backward, (rng.normal(size=n),)


@cplx("power of a beamformer", "no two", "covariance transposed", "conjugate of the weights")
def beamformer(rng, bug):
    n = sizes(rng, 1)[0]
    R = normal(rng, n, n)
    R = R @ R.conj().T

    def backward(dout, w):
        S = R.T if bug == "covariance transposed" else R
        out = (1 if bug == "no two" else 2) * dout * (S @ w)
        return out.conj() if bug == "conjugate of the weights" else out

    return lambda w: ((w.conj() @ R @ w).real, w), backward, (normal(rng, n),)


@cplx("beamformer's gain towards an angle", "steering vector not conjugated", "angle without its real part")
def steering(rng, bug):
    n = sizes(rng, 1)[0]
    k = np.arange(n)

    def forward(w, theta):
        a = np.exp(1j * np.pi * k * np.sin(theta))
        s = w.conj() @ a
        return abs(s) ** 2, (w, theta, a, s)

    def backward(dout, cache):
        w, theta, a, s = cache
        at = 1j * np.pi * k * np.cos(theta) * a
        inner = s.conj() * (w.conj() @ at)
        dw = 2 * dout * s.conj() * (a.conj() if bug.startswith("steering") else a)
        return dw, np.asarray(2 * dout * (inner.imag if bug.startswith("angle") else inner.real))

    return forward, backward, (normal(rng, n), np.asarray(rng.normal()))


@cplx("phase retrieval", "transpose for the adjoint", "factor two", "amplitude for intensity")
def retrieval(rng, bug):
    n, m = sizes(rng, 2, 3)
    A, y = normal(rng, m, n), rng.uniform(1, 4, m)

    def forward(z):
        s = A @ z
        return ((abs(s) ** 2 - y) ** 2).sum(), s

    def backward(dout, s):
        inner = (abs(s) - np.sqrt(y) if bug == "amplitude for intensity" else abs(s) ** 2 - y) * s
        return (2 if bug == "factor two" else 4) * dout * ((A.T if bug.startswith("transpose") else A.conj().T) @ inner)

    return forward, backward, (normal(rng, n),)


@cplx("eigenvalues of a Hermitian matrix", "not conjugated", "lower triangle doubled", "only the diagonal")
def hermitian(rng, bug):
    n = sizes(rng, 1, 2, 4)[0]

    def forward(A):
        w, V = np.linalg.eigh((A + A.conj().T) / 2)
        return w, V

    def backward(dout, V):
        G = (V * dout) @ (V.T if bug == "not conjugated" else V.conj().T)
        if bug == "lower triangle doubled":
            return np.tril(G, -1) * 2 + np.diag(np.diag(G))
        return np.diag(np.diag(G)) if bug == "only the diagonal" else G

    return forward, backward, (np.diag(2.0 * np.arange(n)) + 0.4 * normal(rng, n, n),)


@cplx("expectation of a normalised state", "not normalised", "energy not subtracted", "bra for ket")
def expectation(rng, bug):
    n = sizes(rng, 1)[0]
    H = normal(rng, n, n)
    H = H + H.conj().T

    def forward(psi):
        s = (abs(psi) ** 2).sum()
        e = (psi.conj() @ H @ psi).real / s
        return e, (psi, s, e)

    def backward(dout, cache):
        psi, s, e = cache
        out = 2 * dout * (H @ psi - e * psi * (bug != "energy not subtracted")) / (1 if bug == "not normalised" else s)
        return out.conj() if bug == "bra for ket" else out

    return forward, backward, (normal(rng, n),)


@cplx("rotation gates with real angles", "half angle", "sign of i", "last gate only")
def gates(rng, bug):
    n = sizes(rng, 1)[0]
    X, Z = np.array([[0, 1], [1, 0]], complex), np.diag([1, -1]).astype(complex)

    def gate(t, i):
        return np.cos(t / 2) * np.eye(2) - 1j * np.sin(t / 2) * (X, Z)[i % 2]

    def forward(theta):
        states = [np.array([1, 1j]) / np.sqrt(2)]
        for i, t in enumerate(theta):
            states.append(gate(t, i) @ states[-1])
        return states[-1], (theta, states)

    def backward(dout, cache):
        theta, states = cache
        out, bar = np.zeros_like(theta), dout
        for i in reversed(range(len(theta))):
            moved = (0.5j if bug == "sign of i" else -0.5j) * ((X, Z)[i % 2] @ states[i + 1])
            out[i] = (bar.conj() @ moved).real * (2 if bug == "half angle" else 1)
            bar = gate(theta[i], i).conj().T @ bar if bug != "last gate only" else 0 * bar
        return out

    return forward, backward, (rng.normal(size=n),)
