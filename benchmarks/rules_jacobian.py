"""Jacobians that somebody wrote by hand: dense, sparse, diagonal, of several arguments and several outputs."""

from __future__ import annotations

import functools

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from benchmarks.rules_case import case
from benchmarks.rules_push import sizes
from benchmarks.rules_second import softmaxed

jac = functools.partial(case, "jacobian")


@jac("planar arm", "own angle for the sum", "inner links only", "sign of x")
def arm(rng, bug):
    n = sizes(rng, 1)[0]
    lengths = rng.uniform(0.5, 1.5, n)

    def f(q):
        a = np.cumsum(q)
        return np.array([lengths @ np.cos(a), lengths @ np.sin(a)])

    def jacobian(q):
        a = q if bug == "own angle for the sum" else np.cumsum(q)
        dx, dy = -lengths * np.sin(a), lengths * np.cos(a)
        J = np.stack([-dx if bug == "sign of x" else dx, dy])
        return np.cumsum(J, 1) if bug == "inner links only" else np.cumsum(J[:, ::-1], 1)[:, ::-1]

    return f, jacobian, (rng.normal(size=n),)


@jac("pinhole camera, a point", "depth not squared", "sign of the last column")
def camera(rng, bug):
    fx, fy = rng.uniform(300, 600, 2)

    def jacobian(p):
        x, y, z = p
        w = z if bug == "depth not squared" else z**2
        s = 1 if bug.startswith("sign") else -1
        return np.array([[fx / z, 0, s * fx * x / w], [0, fy / z, s * fy * y / w]])

    args = (np.array([rng.normal(), rng.normal(), rng.uniform(2, 5)]),)
    return lambda p: np.array([fx * p[0] / p[2] + 320, fy * p[1] / p[2] + 240]), jacobian, args


def skew(v):
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])


@jac("rotation about z, pose and point", "rotation transposed", "angle's sign", "translation left out")
def pose(rng, bug):
    def turn(a):
        return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])

    def f(angle, shift, p):
        return turn(angle[0]) @ p + shift

    def jacobian(angle, _shift, p):
        R = turn(angle[0])
        turned = skew(np.array([0, 0, 1.0])) @ R @ p
        return (
            (-turned if bug == "angle's sign" else turned)[:, None],
            np.zeros((3, 3)) if bug == "translation left out" else np.eye(3),
            R.T if bug == "rotation transposed" else R,
        )

    return f, jacobian, (rng.normal(size=1), rng.normal(size=3), rng.normal(size=3))


@jac("Lorenz system", "sign of y", "row and column exchanged")
def lorenz(rng, bug):
    def f(s):
        x, y, z = s
        return np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

    def jacobian(s):
        x, y, z = s
        J = np.array([[-10, 10, 0], [28 - z, 1 if bug == "sign of y" else -1, -x], [y, x, -8 / 3]])
        return J.T if bug == "row and column exchanged" else J

    return f, jacobian, (rng.normal(size=3) * 5,)


@jac("Robertson's kinetics", "one entry not squared", "rows do not add to zero")
def robertson(rng, bug):
    def f(y):
        fast = 3e7 * y[1] ** 2
        slow = -0.04 * y[0] + 1e4 * y[1] * y[2]
        return np.array([slow, -slow - fast, fast])

    def jacobian(y):
        a, b = 1e4 * y[2], 1e4 * y[1]
        c = 3e7 * y[1] if bug == "one entry not squared" else 6e7 * y[1]
        last = [0, c, 1.0] if bug == "rows do not add to zero" else [0, c, 0]
        return np.array([[-0.04, a, b], [0.04, -a - c, -b], last])

    return f, jacobian, (np.array([rng.uniform(0.5, 1), rng.uniform(1e-5, 1e-4), rng.uniform(0.1, 0.5)]),)


@jac("fit of a damped oscillation", "phase column", "decay sign", "weights left out")
def residuals(rng, bug):
    t = np.linspace(0, 3, 12)
    y, w = rng.normal(size=12), rng.uniform(0.5, 2, 12)

    def f(theta):
        a, k, om, ph = theta
        return w * (a * np.exp(-k * t) * np.cos(om * t + ph) - y)

    def jacobian(theta):
        a, k, om, ph = theta
        e, c, s = np.exp(-k * t), np.cos(om * t + ph), np.sin(om * t + ph)
        decay = a * t * e * c
        phase = -a * e * (c if bug == "phase column" else s)
        J = np.stack([e * c, decay if bug == "decay sign" else -decay, -a * t * e * s, phase], 1)
        return J if bug == "weights left out" else w[:, None] * J

    return f, jacobian, (np.array([1 + rng.random(), 0.5, 2 + rng.random(), rng.normal()]),)


@jac("reaction and diffusion, sparse", "periodic ends", "no reaction", "step not squared")
def diffusion(rng, bug):
    n = sizes(rng, 1, 5, 12)[0]
    h = 1 / n

    def laplacian():
        L = sparse.diags([1.0, -2.0, 1.0], [-1, 0, 1], shape=(n, n)).tolil()
        if bug == "periodic ends":
            L[0, -1] = L[-1, 0] = 1
        return L.tocsr() / (h if bug == "step not squared" else h**2)

    def f(u):
        v = np.pad(u, 1)
        return (v[2:] - 2 * u + v[:-2]) / h**2 + u - u**3

    def jacobian(u):
        return (laplacian() + sparse.diags((1 - 3 * u**2) * (bug != "no reaction"))).tocsr()

    return f, jacobian, (rng.normal(size=n) * 3,)


@jac("Brusselator, sparse", "cross term's sign", "a block forgotten")
def brusselator(rng, bug):
    n = sizes(rng, 1, 2, 6)[0]

    def f(s):
        u, v = s[:n], s[n:]
        return np.concatenate([1 + u**2 * v - 4 * u, 3 * u - u**2 * v])

    def jacobian(s):
        u, v = s[:n], s[n:]
        d = sparse.diags
        cross = u**2 if bug == "cross term's sign" else -(u**2)
        return sparse.bmat(
            [[d(2 * u * v - 4), d(u**2 * (bug != "a block forgotten"))], [d(3 - 2 * u * v), d(cross)]], format="csc"
        ).tocsr()

    return f, jacobian, (rng.uniform(0.5, 2, 2 * n),)


@jac("activation, diagonal", "the square left out", "shifted by one")
def diagonal(rng, bug):
    def jacobian(x):
        d = 1 - np.tanh(x) ** (1 if bug == "the square left out" else 2)
        return np.roll(d, 1) if bug == "shifted by one" else d

    return np.tanh, jacobian, (rng.normal(size=sizes(rng, 1, 3)[0]),)


@jac("softmax", "diagonal only", "sign of the outer product")
def softmax(rng, bug):
    def jacobian(x):
        p = softmaxed(x)
        sign = {"diagonal only": 0, "sign of the outer product": -1}.get(bug, 1)
        return np.diag(p) - sign * np.outer(p, p)

    return softmaxed, jacobian, (rng.normal(size=sizes(rng, 1)[0]),)


@jac("polar to Cartesian, by name", "radius left out", "sine and cosine exchanged")
def polar(rng, bug):
    def f(r, a):
        return np.array([r[0] * np.cos(a[0]), r[0] * np.sin(a[0])])

    def jacobian(r, a):
        c, s = np.cos(a[0]), np.sin(a[0])
        c, s = (s, c) if bug == "sine and cosine exchanged" else (c, s)
        radius = 1 if bug == "radius left out" else r[0]
        return {"r": np.array([[c], [s]]), "a": radius * np.array([[-s], [c]])}

    return f, jacobian, (rng.uniform(1, 2, 1), rng.normal(size=1))


@jac("rotation matrix of a quaternion", "a sign", "no two", "transposed")
def quaternion(rng, bug):
    def f(q):
        w, x, y, z = q
        return np.array(
            [
                [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
            ]
        )

    def jacobian(q):
        w, x, y, z = q
        s = w if bug == "a sign" else -w
        J = np.array(
            [
                [[w, x, -y, -z], [-z, y, x, -w], [y, z, w, x]],
                [[z, y, x, w], [w, -x, y, -z], [-x, -w, z, y]],
                [[-y, z, s, x], [x, w, z, y], [w, -x, -y, z]],
            ]
        ) * (1 if bug == "no two" else 2)
        return J.transpose(1, 0, 2) if bug == "transposed" else J

    return f, jacobian, (rng.normal(size=4),)


@jac("unicycle in a Kalman filter, state and control", "no step", "heading's column", "lower sign")
def unicycle(rng, bug):
    h = 0.1 + rng.random()

    def f(s, u):
        return s + h * np.array([u[0] * np.cos(s[2]), u[0] * np.sin(s[2]), u[1]])

    def jacobian(s, u):
        c, n = np.cos(s[2]), np.sin(s[2])
        F = np.eye(3)
        if bug != "heading's column":
            F[:2, 2] = h * u[0] * np.array([-n if bug != "lower sign" else n, c])
        return F, (1 if bug == "no step" else h) * np.array([[c, 0], [n, 0], [0, 1]])

    return f, jacobian, (rng.normal(size=3), rng.normal(size=2))


@jac("circle fit, points and circle", "radius' sign", "points do not move")
def circle(rng, bug):
    n = sizes(rng, 1, 3, 7)[0]

    def f(points, c):
        return np.hypot(points[:, 0] - c[0], points[:, 1] - c[1]) - c[2]

    def jacobian(points, c):
        u = (points - c[:2]) / np.hypot(*(points - c[:2]).T)[:, None]
        J = np.zeros((n, n, 2))
        J[np.arange(n), np.arange(n)] = u * (bug != "points do not move")
        return J, np.hstack([-u, np.full((n, 1), 1.0 if bug == "radius' sign" else -1.0)])

    return f, jacobian, (rng.normal(size=(n, 2)) + 3, np.array([0.1, -0.2, 2.0]) + rng.normal(size=3) / 9)


@jac(
    "partials of a wing, in the manner of OpenMDAO", "lift by the area", "drag by the lift's partial", "a pair left out"
)
def partials(rng, bug):
    n = sizes(rng, 1, 3)[0]

    def f(alpha, area, speed):
        lift = np.pi * alpha * area * speed**2
        return {"lift": lift, "drag": 0.02 * area * speed**2 + 0.1 * alpha**2}

    def jacobian(alpha, area, speed):
        q = speed**2
        J = {
            ("lift", "alpha"): np.diag(np.pi * area * q),
            ("lift", "area"): np.diag(np.pi * (area if bug == "lift by the area" else alpha) * q),
            ("lift", "speed"): np.diag(2 * np.pi * alpha * area * speed),
            ("drag", "alpha"): np.diag(0.2 * alpha),
            ("drag", "area"): np.diag((np.pi * alpha if bug.startswith("drag") else 0.02) * q),
            ("drag", "speed"): np.diag(0.04 * area * speed),
        }
        if bug == "a pair left out":
            del J["lift", "speed"]
        return J

    return f, jacobian, tuple(rng.uniform(1, 2, (3, n)))


@jac("two outputs in a tuple", "exchanged blocks", "sign in the second")
def outputs(rng, bug):
    n = sizes(rng, 1)[0]
    A = rng.normal(size=(n, n))

    def jacobian(x):
        second = (x[None] if bug == "sign in the second" else -x[None]) / np.linalg.norm(x)
        first = A * np.cos(x)
        return (A.T * np.cos(x) if bug == "exchanged blocks" else first), second

    return lambda x: (A @ np.sin(x), -np.linalg.norm(x, keepdims=True)), jacobian, (rng.normal(size=n),)


@jac("a linear operator", "adjoint for the product", "scaled")
def operator(rng, bug):
    n = sizes(rng, 1, 3)[0]
    A = rng.normal(size=(n, n))

    def jacobian(x):
        J = A * np.exp(x) * (2 if bug == "scaled" else 1)
        J = J.T if bug == "adjoint for the product" else J
        return LinearOperator((n, n), matvec=lambda v: J @ v, rmatvec=lambda v: J.T @ v, dtype=float)

    return lambda x: A @ np.exp(x), jacobian, (rng.normal(size=n),)


@jac("Michaelis-Menten, batch", "denominator not squared", "constant for concentration")
def michaelis(rng, bug):
    s = rng.uniform(0.2, 3, sizes(rng, 1, 4, 9)[0])

    def jacobian(theta):
        v, k = theta
        below = (k + s) ** (1 if bug == "denominator not squared" else 2)
        return np.stack([(k if bug.startswith("constant") else s) / (k + s), -v * s / below], 1)

    return lambda theta: theta[0] * s / (theta[1] + s), jacobian, (rng.uniform(0.5, 2, 2),)


@jac("a matrix times a matrix", "kron the other way", "transposed block")
def kron(rng, bug):
    n = sizes(rng, 1, 2, 4)[0]

    def jacobian(A, B):
        eye = np.eye(n)
        first = np.kron(B.T, eye) if bug == "kron the other way" else np.kron(eye, B.T)
        return first, np.kron(A.T if bug == "transposed block" else A, eye)

    return lambda A, B: A @ B, jacobian, tuple(rng.normal(size=(2, n, n)))


@jac("stereographic projection", "no second term", "sign of the second term")
def stereographic(rng, bug):
    n = sizes(rng, 1)[0]

    def f(x):
        return np.append(2 * x, x @ x - 1) / (x @ x + 1)

    def jacobian(x):
        s = x @ x + 1
        sign = {"no second term": 0, "sign of the second term": -1}.get(bug, 1)
        return np.vstack([2 * np.eye(n) / s - sign * 4 * np.outer(x, x) / s**2, 4 * x / s**2])

    return f, jacobian, (rng.normal(size=n),)


@jac("a step of Runge and Kutta", "first stage only", "half step")
def runge(rng, bug):
    h = rng.uniform(0.1, 0.4)

    def slope(s):
        return np.array([s[1], (1 - s[0] ** 2) * s[1] - s[0]])

    def inner(s):
        return np.array([[0, 1], [-2 * s[0] * s[1] - 1, 1 - s[0] ** 2]])

    def jacobian(s):
        middle = s + h / 2 * slope(s)
        stage = np.eye(2) + (h if bug == "half step" else h / 2) * inner(s)
        return np.eye(2) + h * inner(s if bug == "first stage only" else middle) @ stage

    return lambda s: s + h * slope(s + h / 2 * slope(s)), jacobian, (rng.normal(size=2),)
