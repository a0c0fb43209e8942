"""Wrong passes in the styles of research code and small libraries: developed on after a first contact."""

import itertools

import numpy as np

from tests.strangers.case import Case, from_cost, from_layers, normal, planted, planted_case

_FOUND = []
_TURN = itertools.count()


def _rest(edits):
    rest = dict(edits.pop()) if edits and isinstance(edits[-1], dict) else {}
    rest.setdefault("source", next(_TURN) % 2 == 0)
    return rest


def _pair(prefix, forward, right, args, *rows, helpers=()):
    for name, mistake, wrong, *edits in rows:
        rest = _rest(edits)
        _FOUND.append(
            planted_case(f"{prefix}: {name}", forward, right, args, mistake, wrong, *edits, helpers=helpers, **rest)
        )


def _cost(prefix, right, args, *rows):
    for name, mistake, wrong, *edits in rows:
        rest = _rest(edits)
        pairs = from_cost(right, planted(right, *edits, source=rest["source"]))
        _FOUND.append(Case(f"{prefix}: {name}", *pairs, args, mistake, tuple(wrong.split()), **rest))


def _closure(prefix, factory, args, *rows):
    forward, right = factory()
    for name, mistake, wrong, *edits in rows:
        rest = _rest(edits)
        _, backward = planted(factory, *edits, source=rest["source"])()
        _FOUND.append(Case(f"{prefix}: {name}", forward, backward, right, args, mistake, tuple(wrong.split()), **rest))


def _layer(prefix, right, made, args, *rows, parameters=None):
    for name, mistake, wrong, *edits in rows:
        rest = _rest(edits)
        pairs = from_layers(made(right), made(planted(right, *edits, source=rest["source"])), parameters)
        _FOUND.append(Case(f"{prefix}: {name}", *pairs, args, mistake, tuple(wrong.split()), **rest))


def _single(*shapes, then=()):
    return lambda rng: (*(rng.standard_normal(shape).astype(np.float32) for shape in shapes), *then)


# ---------------------------------------------------------------- kernels and Gaussian processes


def rbf(x, y, log_length, log_scale):
    l = np.exp(log_length)
    diff = (x[:, None, :] - y[None, :, :]) / l
    K = np.exp(2 * log_scale) * np.exp(-0.5 * (diff**2).sum(-1))
    return K, (diff, K, l)


def rbf_backward(dK, cache):
    diff, K, l = cache
    G = dK * K
    dx = -(G[:, :, None] * diff).sum(axis=1) / l
    dy = (G[:, :, None] * diff).sum(axis=0) / l
    dlog_length = np.einsum("ij,ijd->d", G, diff**2)
    dlog_scale = 2 * G.sum()
    return dx, dy, dlog_length, dlog_scale


_pair(
    "ARD kernel",
    rbf,
    rbf_backward,
    lambda rng: (*normal((5, 2), (4, 2), 2)(rng), np.array(0.3)),
    ("scalar comes back as a row", "B2", "log_scale", ("dlog_scale = 2 * G.sum()", "dlog_scale = 2 * G.sum(keepdims=True)")),
    ("first argument's sign for both", "A1", "y", ("dy = (G[", "dy = -(G[")),
)


def gram(X, gamma):
    sq = (X**2).sum(axis=1)
    D = sq[:, None] + sq[None, :] - 2 * X @ X.T
    K = np.exp(-gamma * D)
    return K, {"X": X, "D": D, "K": K, "gamma": gamma}


def gram_backward(dK, c):
    dD = -c["gamma"] * dK * c["K"]
    S = dD + dD.T
    dX = 2 * (S.sum(axis=1)[:, None] * c["X"] - S @ c["X"])
    dgamma = -np.sum(dK * c["K"] * c["D"])
    return dX, dgamma


_pair(
    "Gram matrix",
    gram,
    gram_backward,
    lambda rng: (rng.standard_normal((5, 3)), np.array(0.2)),
    ("K in place of D", "B6", "gamma", ('* c["D"])', '* c["K"])')),
)


def kde_logpdf(q, data, h):
    """Return the log density of a Gaussian KDE with bandwidth h at the query points."""
    n, d = data.shape
    delta = q[:, None] - data[None]
    e = -0.5 * (delta**2).sum(-1) / h**2
    top = e.max(axis=1, keepdims=True)
    w = np.exp(e - top)
    total = w.sum(axis=1, keepdims=True)
    out = (top + np.log(total))[:, 0] - np.log(n) - d * np.log(h) - 0.5 * d * np.log(2 * np.pi)
    return out, (delta, w / total, h)


def kde_logpdf_backward(g, cache):
    delta, w, h = cache
    d = delta.shape[-1]
    gw = g[:, None] * w
    weighted = gw[..., None] * delta / h**2
    dq = -weighted.sum(axis=1)
    ddata = weighted.sum(axis=0)
    dh = np.sum(gw * (delta**2).sum(-1)) / h**3 - d * g.sum() / h
    return dq, ddata, dh


_pair(
    "kernel density",
    kde_logpdf,
    kde_logpdf_backward,
    lambda rng: (*normal((3, 2), (6, 2))(rng), np.array(0.8)),
    ("normaliser of the bandwidth", "C8", "h", (" / h**3 - d * g.sum() / h", " / h**3")),
    ("one power of h too few", "C3", "h", ("/ h**3", "/ h**2")),
)


def gp_nll(X, y, log_noise):
    sq = ((X[:, None] - X[None]) ** 2).sum(-1)
    Kf = np.exp(-0.5 * sq)
    K = Kf + np.exp(log_noise) * np.eye(len(y))
    L = np.linalg.cholesky(K)
    alpha = np.linalg.solve(L.T, np.linalg.solve(L, y))
    nll = 0.5 * y @ alpha + np.log(np.diag(L)).sum()
    return nll, (X, Kf, L, alpha, log_noise)


def gp_nll_backward(dout, cache):
    X, Kf, L, alpha, log_noise = cache
    Li = np.linalg.inv(L)
    Kinv = Li.T @ Li
    dK = 0.5 * dout * (Kinv - np.outer(alpha, alpha))
    dy = dout * alpha
    dlog_noise = np.trace(dK) * np.exp(log_noise)
    W = dK * Kf
    dX = 2 * (W @ X - W.sum(axis=1)[:, None] * X)
    return dX, dy, dlog_noise


_pair(
    "GP likelihood",
    gp_nll,
    gp_nll_backward,
    lambda rng: (*normal((5, 2), 5)(rng), np.array(-1.1)),
    ("Cholesky factor the wrong way round", "B1", "X", ("Kinv = Li.T @ Li", "Kinv = Li @ Li.T")),
)


def mahalanobis(x, mu, A):
    d = x - mu
    return np.sum(d @ A * d, axis=1), (d, A)


def mahalanobis_backward(dout, cache):
    d, A = cache
    dd = dout[:, None] * (d @ A.T + d @ A)
    dA = (d * dout[:, None]).T @ d
    return dd, -dd.sum(axis=0), dA


_pair(
    "Mahalanobis",
    mahalanobis,
    mahalanobis_backward,
    normal((6, 3), 3, (3, 3)),
    ("weights forgotten in dA", "C5", "A", ("(d * dout[:, None]).T @ d", "d.T @ d")),
    ("centre per row", "B3", "mu", ("return dd, -dd.sum(axis=0), dA", "return dd, -dd, dA")),
)

# ---------------------------------------------------------------- regression

_DATA = np.random.default_rng(11)
DESIGN = _DATA.standard_normal((7, 3))
CLICKS = np.array([0, 1, 1, 0, 1, 0, 0])
COUNTS = np.array([2, 0, 1, 4, 0, 1, 3])
EXPOSURE = _DATA.uniform(0.5, 2.0, 7)


def logistic_cost(w, b, lam):
    """Ridge logistic regression on the click table; the intercept is free."""
    m = len(CLICKS)
    p = 1 / (1 + np.exp(-(DESIGN @ w + b)))
    J = -np.mean(CLICKS * np.log(p) + (1 - CLICKS) * np.log(1 - p)) + lam / (2 * m) * np.sum(w**2)
    err = p - CLICKS
    grads = {"dw": DESIGN.T @ err / m + lam / m * w, "db": err.sum() / m}
    return J, grads


_cost(
    "click model",
    logistic_cost,
    lambda rng: (rng.standard_normal(3), np.array(0.4), 2),
    ("penalty not over m", "D1", "w", ("+ lam / m * w", "+ lam * w")),
    ("intercept shrunk as well", "D2", "b", ('"db": err.sum() / m}', '"db": err.sum() / m + lam / m * b}')),
    ("averaged again", "A3", "w b", ("err = p - CLICKS", "err = (p - CLICKS) / m")),
    ("logistic slope once more", "C6", "w b", ("err = p - CLICKS", "err = (p - CLICKS) * p * (1 - p)"), {"also": ("C3",)}),
)


def poisson_deviance(theta, beta0, penalty=0.3):
    eta = DESIGN @ theta + beta0
    mu = EXPOSURE * np.exp(eta)
    value = np.sum(mu - COUNTS * eta) / len(COUNTS) + 0.5 * penalty * theta @ theta
    residual = (mu - COUNTS) / len(COUNTS)
    gradient = DESIGN.T @ residual
    gradient = gradient + penalty * theta
    return value, gradient, residual.sum()


_cost(
    "Poisson GLM",
    poisson_deviance,
    lambda rng: (0.5 * rng.standard_normal(3), np.array(0.1)),
    ("ridge halved", "D1", "theta", ("gradient + penalty * theta", "gradient + 0.5 * penalty * theta")),
    ("ridge line lost", "D1", "theta", ("    gradient = gradient + penalty * theta\n", "")),
    ("log link for the mean", "C2", "theta beta0", ("residual = (mu - COUNTS)", "residual = (eta - COUNTS)"), {"also": ("C3", "C1")}),
)


def elastic(beta, X, y, weight, l1=0.1, l2=0.4):
    r = X @ beta - y
    loss = 0.5 * np.sum(weight * r**2) / weight.sum() + l1 * np.abs(beta).sum() + 0.5 * l2 * (beta**2).sum()
    return loss, (beta, X, r, weight, l1, l2)


def elastic_backward(dloss, cache):
    beta, X, r, weight, l1, l2 = cache
    total = weight.sum()
    wr = weight * r / total
    dbeta = X.T @ wr
    dbeta += l1 * np.sign(beta)
    dbeta += l2 * beta
    dX = np.outer(wr, beta)
    dy = -wr
    dweight = 0.5 * r**2 / total - 0.5 * np.sum(weight * r**2) / total**2
    return tuple(dloss * g for g in (dbeta, dX, dy, dweight))


_pair(
    "elastic net",
    elastic,
    elastic_backward,
    lambda rng: (*normal(3, (6, 3), 6)(rng), rng.uniform(0.5, 2.0, 6)),
    ("lasso without its sign", "C3", "beta", ("l1 * np.sign(beta)", "l1 * np.abs(beta)"), {"also": ("D1",)}),
)

# ---------------------------------------------------------------- sequences of probability


def _lse(a, axis):
    m = a.max(axis=axis, keepdims=True)
    return np.squeeze(m, axis) + np.log(np.exp(a - m).sum(axis=axis))


def crf_nll(emit, trans, start, tags):
    T, K = emit.shape
    alpha = [start + emit[0]]
    for t in range(1, T):
        alpha.append(_lse(alpha[-1][:, None] + trans, 0) + emit[t])
    logz = _lse(alpha[-1], 0)
    gold = start[tags[0]] + emit[np.arange(T), tags].sum() + trans[tags[:-1], tags[1:]].sum()
    return logz - gold, (alpha, emit, trans, start, tags, logz)


def crf_nll_backward(g, cache):
    alpha, emit, trans, start, tags, logz = cache
    T, K = emit.shape
    demit = np.zeros((T, K))
    dtrans = np.zeros((K, K))
    da = np.exp(alpha[-1] - logz)
    for t in range(T - 1, 0, -1):
        demit[t] += da
        edge = np.exp(alpha[t - 1][:, None] + trans + emit[t] - alpha[t]) * da
        dtrans += edge
        da = edge.sum(axis=1)
    demit[0] += da
    dstart = da.copy()
    demit[np.arange(T), tags] -= 1
    dstart[tags[0]] -= 1
    np.subtract.at(dtrans, (tags[:-1], tags[1:]), 1)
    return g * demit, g * dtrans, g * dstart


_pair(
    "CRF",
    crf_nll,
    crf_nll_backward,
    normal((6, 3), (3, 3), 3, then=(np.array([0, 2, 2, 2, 1, 0]),)),
    ("transitions overwritten", "E1", "trans", ("dtrans += edge", "dtrans = edge")),
    ("alpha of the same step", "G3", "emit trans start", ("np.exp(alpha[t - 1][:, None]", "np.exp(alpha[t][:, None]")),
    ("summed to the wrong side", "B4", "emit trans start", ("da = edge.sum(axis=1)", "da = edge.sum(axis=0)")),
    ("first transition left out", "G2", "emit trans start", ("range(T - 1, 0, -1)", "range(T - 1, 1, -1)")),
)


class Hmm:
    """Scaled forward algorithm, log-likelihood of a table of emission likelihoods."""

    @staticmethod
    def run(pi, A, E):
        a, scale, raw = [], [], []
        for t, e in enumerate(E):
            u = (pi if t == 0 else a[-1] @ A) * e
            raw.append(u)
            scale.append(u.sum())
            a.append(u / scale[-1])
        return np.log(scale).sum(), dict(pi=pi, A=A, E=E, a=a, c=scale, u=raw)


def hmm_backward(dll, s):
    A, E = s["A"], s["E"]
    dA, dE = np.zeros_like(A), np.zeros_like(E)
    da = np.zeros(A.shape[0])
    for t in range(len(E) - 1, -1, -1):
        c = s["c"][t]
        dc = dll / c - (da * s["u"][t]).sum() / c**2
        du = da / c + dc
        prior = s["pi"] if t == 0 else s["a"][t - 1] @ A
        dE[t] = du * prior
        dprior = du * E[t]
        if t == 0:
            dpi = dprior
        else:
            dA += np.outer(s["a"][t - 1], dprior)
            da = A @ dprior
    return dpi, dA, dE


_pair(
    "HMM",
    Hmm.run,
    hmm_backward,
    lambda rng: (rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(3), 3), rng.uniform(0.1, 1, (5, 3))),
    ("next step's state", "G3", "A", ("dA += np.outer(s[\"a\"][t - 1], dprior)", "dA += np.outer(s[\"a\"][t], dprior)")),
    ("outer product turned", "B1", "A", ("dA += np.outer(s[\"a\"][t - 1], dprior)", "dA += np.outer(dprior, s[\"a\"][t - 1])")),
)


def kalman_update(x, P, z, H, R):
    y = z - H @ x
    PHt = P @ H.T
    HP = H @ P
    Si = np.linalg.inv(H @ PHt + R)
    K = PHt @ Si
    return (x + K @ y, P - K @ HP), (x, P, H, y, PHt, HP, Si, K)


def kalman_update_backward(dout, cache):
    x, P, H, y, PHt, HP, Si, K = cache
    dxn, dPn = dout
    # gain
    dK = np.outer(dxn, y)
    dK -= dPn @ HP.T
    dHP = -K.T @ dPn
    dPHt = dK @ Si.T
    dS = -Si.T @ (PHt.T @ dK) @ Si.T
    dPHt += H.T @ dS
    # innovation
    dy = K.T @ dxn
    dH = dS @ PHt.T
    dH += dPHt.T @ P
    dH += dHP @ P.T
    dH -= np.outer(dy, x)
    dx = dxn - H.T @ dy
    dP = dPn + dPHt @ H
    dP += H.T @ dHP
    return dx, dP, dy, dH, dS


def _kalman(rng):
    M, N = rng.standard_normal((4, 4)), rng.standard_normal((2, 2))
    return (*normal(4)(rng), M @ M.T + np.eye(4), *normal(2, (2, 4))(rng), N @ N.T + np.eye(2))


_pair(
    "Kalman update",
    kalman_update,
    kalman_update_backward,
    _kalman,
    ("inverse without its minus", "A1", "P H R", ("dS = -Si.T @", "dS = Si.T @")),
)

# ---------------------------------------------------------------- differential equations and energies


def euler(x0, W, b, h, steps):
    xs = [x0]
    fs = []
    for _ in range(steps):
        fs.append(np.tanh(W @ xs[-1] + b))
        xs.append(xs[-1] + h * fs[-1])
    return np.array(xs), (xs, fs, W, h)


def euler_backward(dxs, cache):
    xs, fs, W, h = cache
    lam = dxs[-1].copy()
    dW, db, dh = np.zeros_like(W), np.zeros(len(W)), 0.0
    for n in reversed(range(len(fs))):
        dh += lam @ fs[n]
        dz = h * lam * (1 - fs[n] ** 2)
        dW += np.outer(dz, xs[n])
        db += dz
        lam = lam + W.T @ dz + dxs[n]
    return lam, dW, db, dh


_pair(
    "Euler adjoint",
    euler,
    euler_backward,
    lambda rng: (*normal(3, (3, 3), 3)(rng), np.array(0.3), 5),
    ("identity's path forgotten", "G1", "x0 W b h", ("lam = lam + W.T @ dz + dxs[n]", "lam = W.T @ dz + dxs[n]"), {"also": ("C8",)}),
    ("initial state's cotangent once more", "E2", "x0", ("return lam, dW", "return lam + dxs[0], dW")),
    ("initial step's cotangent left out of the sum", "G2", "W b x0 h", ("reversed(range(len(fs)))", "reversed(range(1, len(fs)))")),
)


def pendulum(y, p):
    return np.array([y[1], -p[0] * np.sin(y[0]) - p[1] * y[1]])


def pendulum_vjp(v, y, p):
    dy = np.array([-p[0] * np.cos(y[0]) * v[1], v[0] - p[1] * v[1]])
    dp = np.array([-np.sin(y[0]) * v[1], -y[1] * v[1]])
    return dy, dp


def rk4(y, p, h):
    k1 = pendulum(y, p)
    k2 = pendulum(y + h / 2 * k1, p)
    k3 = pendulum(y + h / 2 * k2, p)
    k4 = pendulum(y + h * k3, p)
    return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), (y, p, h, k1, k2, k3, k4)


def rk4_backward(g, tape):
    y, p, h, k1, k2, k3, k4 = tape
    g4 = h / 6 * g
    s4, p4 = pendulum_vjp(g4, y + h * k3, p)
    g3 = h / 3 * g + h * s4
    s3, p3 = pendulum_vjp(g3, y + h / 2 * k2, p)
    g2 = h / 3 * g + h / 2 * s3
    s2, p2 = pendulum_vjp(g2, y + h / 2 * k1, p)
    g1 = h / 6 * g + h / 2 * s2
    s1, p1 = pendulum_vjp(g1, y, p)
    dy = g + s1 + s2 + s3 + s4
    dp = p1 + p2 + p3 + p4
    dh = g @ (k1 + 2 * k2 + 2 * k3 + k4) / 6 + s4 @ k3 + (s3 @ k2 + s2 @ k1) / 2
    return dy, dp, dh


_pair(
    "RK4 step",
    rk4,
    rk4_backward,
    lambda rng: (*normal(2, 2)(rng), np.array(0.4)),
    ("weight of the last stage for all", "A4", "y p h", ("g3 = h / 3 * g", "g3 = h / 6 * g")),
    ("full step into the third stage", "A4", "y p h", ("g2 = h / 3 * g + h / 2 * s3", "g2 = h / 3 * g + h * s3")),
    ("sine of the sine", "C3", "y p h", ("-p[0] * np.cos(y[0])", "-p[0] * np.sin(y[0])")),
    helpers=(pendulum_vjp,),
)


def beam_energy(w, EI, load):
    """Bending energy of a clamped beam less the work of the load."""
    kappa = w[:-2] - 2 * w[1:-1] + w[2:]
    return 0.5 * np.sum(EI * kappa**2) - load @ w, (kappa, EI, load, w)


def beam_energy_backward(g, cache):
    kappa, EI, load, w = cache
    m = g * EI * kappa
    dw = -g * load
    dw[:-2] += m
    dw[1:-1] -= 2 * m
    dw[2:] += m
    return dw, 0.5 * g * kappa**2, -g * w


_pair(
    "beam",
    beam_energy,
    beam_energy_backward,
    lambda rng: (rng.standard_normal(7), rng.uniform(0.5, 2, 5), rng.standard_normal(7)),
    ("right neighbour left out", "C8", "w", ("    dw[2:] += m\n", "")),
)


def springs(pos, rest, k, edges):
    d = pos[edges[:, 0]] - pos[edges[:, 1]]
    length = np.sqrt((d**2).sum(axis=1))
    return 0.5 * np.sum(k * (length - rest) ** 2), (d, length, rest, k, edges, pos.shape)


def springs_backward(dE, cache):
    d, length, rest, k, edges, shape = cache
    tension = dE * k * (length - rest)
    force = tension[:, None] * d / length[:, None]
    dpos = np.zeros(shape)
    np.add.at(dpos, edges[:, 0], force)
    np.subtract.at(dpos, edges[:, 1], force)
    return dpos, -tension, 0.5 * dE * (length - rest) ** 2


_pair(
    "springs",
    springs,
    springs_backward,
    lambda rng: (rng.standard_normal((4, 2)), *rng.uniform(0.5, 1.5, (2, 5)), np.array([[0, 1], [1, 2], [2, 3], [0, 2], [0, 3]])),
    ("nodes of several springs", "E1", "pos", ("np.add.at(dpos, edges[:, 0], force)", "dpos[edges[:, 0]] += force")),
    ("force capped", "G4", "pos", ("force = tension[:, None] * d / length[:, None]", "force = np.clip(tension[:, None] * d / length[:, None], -0.1, 0.1)")),
    ("reaction acts the same way", "A1", "pos", ("np.subtract.at(", "np.add.at(")),
)

# ---------------------------------------------------------------- losses

EPS = np.random.default_rng(5).standard_normal((4, 3))


def vae(mu, logvar, target):
    z = mu + np.exp(0.5 * logvar) * EPS
    kl = -0.5 * np.sum(1 + logvar - mu**2 - np.exp(logvar), axis=1)
    p = 1 / (1 + np.exp(-z))
    rec = -(target * np.log(p) + (1 - target) * np.log(1 - p)).sum(axis=1)
    return {"rec": rec.mean(), "kl": kl.mean(), "z": z}, {"mu": mu, "logvar": logvar, "p": p, "target": target}


def vae_backward(d, cache):
    n = len(EPS)
    dz = d["z"] + d["rec"] * (cache["p"] - cache["target"]) / n
    dmu = dz + d["kl"] * cache["mu"] / n
    dlogvar = dz * EPS * 0.5 * np.exp(0.5 * cache["logvar"])
    dlogvar += d["kl"] * 0.5 * (np.exp(cache["logvar"]) - 1) / n
    return dmu, dlogvar


_pair(
    "VAE",
    vae,
    vae_backward,
    lambda rng: (*normal((4, 3), (4, 3))(rng), np.array([[0, 1, 1], [1, 0, 1], [0, 0, 1], [1, 1, 0]])),
    ("reconstruction averaged twice", "A3", "mu logvar", ('(cache["p"] - cache["target"]) / n', '(cache["p"] - cache["target"]) / n / n')),
    ("prior overwrites the reconstruction", "E1", "logvar", ('dlogvar += d["kl"]', 'dlogvar = d["kl"]'), {"also": ("C8",)}),
)


class TripletMargin:
    def __init__(self, margin=1.0):
        self.margin = margin

    def __call__(self, anchor, positive, negative):
        dp, dn = anchor - positive, anchor - negative
        gap = (dp**2).sum(1) - (dn**2).sum(1) + self.margin
        return np.maximum(gap, 0).mean(), (dp, dn, gap > 0)


_triplet = TripletMargin(2.0)


def triplet_backward(dout, saved):
    dp, dn, active = saved
    s = (2 * dout / len(active) * active)[:, None]
    danchor = s * (dp - dn)
    dpositive = -s * dp
    dnegative = s * dn
    return danchor, dpositive, dnegative


_pair(
    "triplet",
    _triplet,
    triplet_backward,
    normal((7, 3), (7, 3), (7, 3)),
    ("easy triplets too", "C1", "anchor positive negative", ("s = (2 * dout / len(active) * active)[:, None]", "s = 2 * dout / len(active)"), {"also": ("E5",)}),
    ("anchor only pulled", "C8", "anchor", ("danchor = s * (dp - dn)", "danchor = s * dp")),
)


def info_nce(a, b, log_t):
    """Return the symmetric contrastive loss of paired embeddings; row i of a belongs to row i of b."""
    na, nb = np.linalg.norm(a, axis=1, keepdims=True), np.linalg.norm(b, axis=1, keepdims=True)
    u, v = a / na, b / nb
    t = np.exp(log_t)
    S = u @ v.T * t
    P = np.exp(S) / np.exp(S).sum(1, keepdims=True)
    Q = np.exp(S) / np.exp(S).sum(0, keepdims=True)
    i = np.arange(len(a))
    return -0.5 * (np.log(P[i, i]) + np.log(Q[i, i])).mean(), (u, v, na, nb, t, S, P, Q)


def _unit_vjp(du, u, n):
    return (du - u * (du * u).sum(1, keepdims=True)) / n


def info_nce_backward(dout, cache):
    u, v, na, nb, t, S, P, Q = cache
    n = len(u)
    dS = 0.5 * dout / n * (P + Q - 2 * np.eye(n))
    da = _unit_vjp(t * dS @ v, u, na)
    db = _unit_vjp(t * dS.T @ u, v, nb)
    return da, db, (dS * S).sum()


_pair(
    "contrastive",
    info_nce,
    info_nce_backward,
    lambda rng: (*normal((5, 3), (5, 3))(rng), np.array(0.7)),
    ("length taken for a constant", "C7", "a b", ("(du - u * (du * u).sum(1, keepdims=True)) / n", "du / n"), {"also": ("C8",)}),
    helpers=(_unit_vjp,),
)


def focal(z, target, gamma=2.0):
    s = np.where(target == 1, 1.0, -1.0)
    pt = 1 / (1 + np.exp(-s * z))
    return -((1 - pt) ** gamma * np.log(pt)).sum(), (s, pt, gamma)


def focal_backward(dout, cache):
    s, pt, gamma = cache
    left = gamma * (1 - pt) ** (gamma - 1) * np.log(pt)
    right = (1 - pt) ** gamma / pt
    dpt = left - right
    return dout * dpt * s * pt * (1 - pt)


_pair(
    "focal loss",
    focal,
    focal_backward,
    normal(6, then=(np.array([1, 0, 0, 1, 1, 0]),)),
    ("class sign forgotten", "A1", "z", ("dout * dpt * s * pt", "dout * dpt * pt"), {"also": ("C8",)}),
    ("exponent not lowered", "C3", "z", ("** (gamma - 1)", "** gamma")),
)


def huber_regression(pred, target, delta, weight):
    r = pred - target
    small = np.abs(r) <= delta
    value = np.where(small, 0.5 * r**2, delta * (np.abs(r) - 0.5 * delta))
    return np.average(value, weights=weight), (r, small, delta, weight)


def huber_regression_backward(g, memo):
    r, small, delta, weight = memo
    slope = np.where(small, r, delta * np.sign(r))
    dpred = g * slope * weight / weight.sum()
    return dpred, -dpred


_pair(
    "Huber",
    huber_regression,
    huber_regression_backward,
    lambda rng: (*(2 * each for each in normal(7, 7)(rng)), 1.2, np.array([1, 3, 2, 1, 5, 2, 1])),
)


def pinball(q, y, tau):
    tau = np.asarray(tau)
    e = y[:, None] - q
    return np.maximum(tau * e, (tau - 1) * e).mean(axis=0), (e > 0, tau)


def pinball_backward(g, saved):
    above, tau = saved
    de = np.where(above, tau, tau - 1) * g / len(above)
    return -de, de.sum(axis=1)


_pair(
    "quantile loss",
    pinball,
    pinball_backward,
    lambda rng: (*normal((6, 3), 6)(rng), (0.1, 0.5, 0.8)),
    ("quantile crossed", "C3", "q y", ("np.where(above, tau, tau - 1)", "np.where(above, tau, 1 - tau)"), {"also": ("A1",)}),
    ("sum over the levels missing", "B4", "y", ("de.sum(axis=1)", "de.sum(axis=0)")),
)


def ppo_surrogate(logp, advantage, old, clip):
    ratio = np.exp(logp - old)
    clipped = np.clip(ratio, 1 - clip, 1 + clip)
    first, second = ratio * advantage, clipped * advantage
    return -np.minimum(first, second).mean(), (ratio, clipped, first <= second, advantage, clip)


def ppo_surrogate_backward(dL, cache):
    ratio, clipped, take_first, advantage, clip = cache
    inside = (ratio > 1 - clip) & (ratio < 1 + clip)
    g = -dL / ratio.size
    dratio = np.where(take_first, 1.0, inside) * advantage * g
    dadvantage = np.where(take_first, ratio, clipped) * g
    dlogp = dratio * ratio
    return dlogp, dadvantage, -dlogp


_pair(
    "PPO",
    ppo_surrogate,
    ppo_surrogate_backward,
    lambda rng: (*(0.5 * each for each in normal((7, 2), (7, 2), (7, 2))(rng)), 0.2),
    ("ascent", "A1", "logp advantage old", ("g = -dL / ratio.size", "g = dL / ratio.size")),
    ("batch axis only", "A2", "logp advantage old", ("dL / ratio.size", "dL / len(ratio)")),
)


def mdn_nll(logits, mu, log_sigma, y):
    lp = logits - _lse(logits, 1)[:, None]
    zed = (y[:, None] - mu) / np.exp(log_sigma)
    comp = lp - log_sigma - 0.5 * zed**2
    total = _lse(comp, 1)
    return -total, (lp, zed, log_sigma, np.exp(comp - total[:, None]))


def mdn_nll_backward(g, cache):
    lp, zed, log_sigma, resp = cache
    dcomp = -g[:, None] * resp
    dlogits = dcomp - np.exp(lp) * dcomp.sum(axis=1, keepdims=True)
    dzed = -dcomp * zed
    dmu = -dzed / np.exp(log_sigma)
    dlog_sigma = -dcomp - dzed * zed
    dy = -dmu.sum(axis=1)
    return dlogits, dmu, dlog_sigma, dy


_pair(
    "mixture density",
    mdn_nll,
    mdn_nll_backward,
    lambda rng: normal((5, 3), (5, 3), (5, 3), 5)(rng),
    ("responsibilities only", "C6", "logits", (" - np.exp(lp) * dcomp.sum(axis=1, keepdims=True)", ""), {"also": ("C8",)}),
    ("variance's logarithm", "A4", "log_sigma", ("dlog_sigma = -dcomp - dzed * zed", "dlog_sigma = 0.5 * (-dcomp - dzed * zed)")),
)

# ---------------------------------------------------------------- normalisation


def group_norm(x, gain, shift, groups):
    n, c, length = x.shape
    g = x.reshape(n, groups, -1)
    mean, var = g.mean(-1, keepdims=True), g.var(-1, keepdims=True)
    inv = 1 / np.sqrt(var + 1e-5)
    xhat = ((g - mean) * inv).reshape(x.shape)
    return gain[:, None] * xhat + shift[:, None], (xhat, inv, gain, groups)


def group_norm_backward(dy, cache):
    xhat, inv, gain, groups = cache
    dgain = np.einsum("ncl,ncl->c", dy, xhat)
    dshift = dy.sum(axis=(0, 2))
    n, c, length = dy.shape
    d = (dy * gain[:, None]).reshape(n, groups, -1)
    h = xhat.reshape(n, groups, -1)
    dx = inv * (d - d.mean(-1, keepdims=True) - h * (d * h).mean(-1, keepdims=True))
    return dx.reshape(n, c, length), dgain, dshift


_pair(
    "group norm",
    group_norm,
    group_norm_backward,
    normal((2, 6, 5), 6, 6, then=(3,)),
    ("groups' mean for a constant", "C7", "x", ("(d - d.mean(-1, keepdims=True) - h", "(d - h")),
    ("mean over the groups", "B4", "x", ("(d - d.mean(-1, keepdims=True) - h", "(d - d.mean(1, keepdims=True) - h"), {"also": ("C7",)}),
    ("shift not over the batch", "B3", "shift", ("dy.sum(axis=(0, 2))", "dy.sum(axis=2)")),
)


class RMSNorm:
    """Root mean square norm with a learned gain."""

    def __init__(self, gain):
        self.gain, self.grad_gain = gain, np.zeros_like(gain)

    def forward(self, x):
        self.x = x
        self.rms = np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
        return x / self.rms * self.gain

    def backward(self, dout):
        h = self.x / self.rms
        self.grad_gain += (dout * h).reshape(-1, h.shape[-1]).sum(0)
        dh = dout * self.gain
        return (dh - h * (dh * h).mean(-1, keepdims=True)) / self.rms


_layer(
    "class RMSNorm",
    RMSNorm,
    lambda made: made(gain=np.ones(4)),
    lambda rng: (rng.standard_normal((3, 2, 4)), {"gain": rng.standard_normal(4)}),
    ("rms for a constant", "C7", "x", ("(dh - h * (dh * h).mean(-1, keepdims=True)) / self.rms", "dh / self.rms"), {"also": ("C8",)}),
    ("sum for the mean of the squares", "A2", "x", ("(dh * h).mean(-1, keepdims=True)", "(dh * h).sum(-1, keepdims=True)"), {"also": ("C7",)}),
    ("gain on the raw input", "B6", "params['gain']", ("(dout * h).reshape", "(dout * self.x).reshape")),
)


def instance_norm(img):
    m = img.mean(axis=(2, 3), keepdims=True)
    c = img - m
    v = (c * c).mean(axis=(2, 3), keepdims=True)
    s = np.sqrt(v + 1e-3)
    return c / s, (c, v, s)


def instance_norm_backward(g, cache):
    c, v, s = cache
    area = c.shape[2] * c.shape[3]
    dc = g / s
    ds = -(g * c).sum(axis=(2, 3), keepdims=True) / s**2
    dv = ds * 0.5 / s
    dc = dc + dv * 2 * c / area
    dm = -dc.sum(axis=(2, 3), keepdims=True)
    return dc + dm / area


_pair(
    "instance norm",
    instance_norm,
    instance_norm_backward,
    _single((2, 3, 4, 5)),
    ("root not differentiated", "C1", "img", ("dv = ds * 0.5 / s", "dv = ds"), {"also": ("C3",)}),
    ("area of the variance", "A5", "img", ("dv * 2 * c / area", "dv * 2 * c"), {"also": ("A2",)}),
    ("square loses its 2", "A4", "img", ("dv * 2 * c / area", "dv * c / area")),
)


def weight_norm(x, v, g):
    size = np.sqrt((v**2).sum(axis=0))
    w = g * v / size
    return x @ w, (x, v, g, size, w)


def weight_norm_backward(dy, cache):
    x, v, g, size, w = cache
    dw = x.T @ dy
    dg = (dw * v).sum(axis=0) / size
    dv = g / size * dw - g * dg / size**2 * v
    dx = dy @ w.T
    return dx, dv, dg


_pair(
    "weight norm",
    weight_norm,
    weight_norm_backward,
    normal((5, 4), (4, 3), 3),
    ("unnormalised direction for dx", "B6", "x", ("dx = dy @ w.T", "dx = dy @ v.T")),
    ("gain against the normalised weight", "B6", "g v", ("dg = (dw * v)", "dg = (dw * w)")),
)


def householder(x, v):
    s = 2 / (v @ v)
    p = x @ v
    return x - s * np.outer(p, v), (x, v, s, p)


def householder_backward(g, cache):
    x, v, s, p = cache
    gv = g @ v
    dx = g - s * np.outer(gv, v)
    dv = -s * (x.T @ gv)
    dv -= s * (g.T @ p)
    dv += s**2 * (p @ gv) * v
    return dx, dv


_pair(
    "Householder",
    householder,
    householder_backward,
    normal((4, 3), 3),
    ("length of v for a constant", "C7", "v", ("    dv += s**2 * (p @ gv) * v\n", ""), {"also": ("C8",)}),
    ("second occurrence of v overwrites", "E1", "v", ("dv -= s * (g.T @ p)", "dv = -s * (g.T @ p)"), {"also": ("C8",)}),
    ("product rule: both from x", "B6", "v", ("s * (g.T @ p)", "s * (x.T @ p)")),
)


def orthogonal_penalty(W, strength):
    R = W.T @ W - np.eye(W.shape[1])
    sign, logdet = np.linalg.slogdet(W.T @ W)
    return strength * (R**2).sum() - 0.1 * logdet, (W, R, strength)


def orthogonal_penalty_backward(g, cache):
    W, R, strength = cache
    dW = 4 * strength * W @ R - 0.2 * np.linalg.pinv(W).T
    return g * dW, g * (R**2).sum()


_pair(
    "orthogonality",
    orthogonal_penalty,
    orthogonal_penalty_backward,
    lambda rng: (rng.standard_normal((5, 3)), np.array(0.3)),
    ("log determinant gone", "C8", "W", (" - 0.2 * np.linalg.pinv(W).T", "")),
)

# ---------------------------------------------------------------- attention, gates, activations


def attention(x, Wq, Wk, Wv, Wo):
    """Multi-head self-attention; Wq, Wk, Wv are (model, heads, size) and Wo (heads, size, model)."""
    q, k, v = (np.einsum("td,dhe->hte", x, W) for W in (Wq, Wk, Wv))
    s = np.einsum("hte,hse->hts", q, k) / np.sqrt(q.shape[-1])
    a = np.exp(s - s.max(-1, keepdims=True))
    a /= a.sum(-1, keepdims=True)
    o = np.einsum("hts,hse->hte", a, v)
    return np.einsum("hte,hed->td", o, Wo), (x, Wq, Wk, Wv, Wo, q, k, v, a, o)


def attention_backward(dy, cache):
    x, Wq, Wk, Wv, Wo, q, k, v, a, o = cache
    dWo = np.einsum("hte,td->hed", o, dy)
    do = np.einsum("td,hed->hte", dy, Wo)
    dv = np.einsum("hts,hte->hse", a, do)
    da = np.einsum("hte,hse->hts", do, v)
    ds = a * (da - (a * da).sum(-1, keepdims=True))
    ds = ds / np.sqrt(q.shape[-1])
    dq = np.einsum("hts,hse->hte", ds, k)
    dk = np.einsum("hts,hte->hse", ds, q)
    dx = np.zeros_like(x)
    grads = []
    for d, W in ((dq, Wq), (dk, Wk), (dv, Wv)):
        grads.append(np.einsum("td,hte->dhe", x, d))
        dx += np.einsum("hte,dhe->td", d, W)
    return dx, *grads, dWo


_pair(
    "multi-head attention",
    attention,
    attention_backward,
    normal((5, 4), (4, 2, 3), (4, 2, 3), (4, 2, 3), (2, 3, 4)),
    ("keys instead of queries", "B6", "x Wk", ('np.einsum("hts,hte->hse", ds, q)', 'np.einsum("hts,hte->hse", ds, k)')),
    ("softmax sums over the queries", "B4", "x Wq Wk", ("(a * da).sum(-1, keepdims=True)", "(a * da).sum(-2, keepdims=True)")),
    ("three uses of x, the last one left", "E1", "x", ("dx += np.einsum(", "dx = np.einsum("), {"also": ("C8",)}),
)


def rotary_factory():
    positions = np.arange(5)

    def forward(x, freq):
        ang = positions[:, None] * freq
        c, s = np.cos(ang), np.sin(ang)
        a, b = x[..., 0::2], x[..., 1::2]
        out = np.empty_like(x)
        out[..., 0::2] = a * c - b * s
        out[..., 1::2] = a * s + b * c
        return out, (x, c, s)

    def backward(dout, cache):
        x, c, s = cache
        da, db = dout[..., 0::2], dout[..., 1::2]
        dx = np.empty_like(x)
        dx[..., 0::2] = da * c + db * s
        dx[..., 1::2] = -da * s + db * c
        a, b = x[..., 0::2], x[..., 1::2]
        dang = da * (-a * s - b * c) + db * (a * c - b * s)
        dfreq = np.einsum("btf,t->f", dang, positions)
        return dx, dfreq

    return forward, backward


_closure(
    "rotary embedding",
    rotary_factory,
    normal((2, 5, 6), 3),
    ("rotated onwards", "B1", "x", ("= da * c + db * s", "= da * c - db * s"), ("= -da * s + db * c", "= da * s + db * c"), {"also": ("A1",)}),
    ("odd half of the angle", "C8", "freq", (" + db * (a * c - b * s)", "")),
)


def silu(z):
    return z / (1 + np.exp(-z))


def dsilu(z):
    s = 1 / (1 + np.exp(-z))
    return s + z * s * (1 - s)


def swiglu(x, p):
    u, z = x @ p["up"], x @ p["gate"]
    h = u * silu(z)
    return h @ p["down"], (x, p, u, z, h)


def swiglu_backward(g, cache):
    x, p, u, z, h = cache
    dh = g @ p["down"].T
    du = dh * silu(z)
    dz = dh * u * dsilu(z)
    dx = du @ p["up"].T
    dx = dx + dz @ p["gate"].T
    return dx, {"up": x.T @ du, "gate": x.T @ dz, "down": h.T @ g}


_pair(
    "SwiGLU",
    swiglu,
    swiglu_backward,
    lambda rng: (rng.standard_normal((5, 3)), {"up": rng.standard_normal((3, 4)), "gate": rng.standard_normal((3, 4)), "down": rng.standard_normal((4, 2))}),
    ("gate's derivative at the other branch", "C2", "x p['gate']", ("dz = dh * u * dsilu(z)", "dz = dh * u * dsilu(u)"), {"also": ("B6",)}),
    ("up projection not gated", "A5", "x p['up']", ("du = dh * silu(z)", "du = dh"), {"also": ("B6", "C8", "C1")}),
    helpers=(dsilu,),
)


def gelu_tanh(x):
    c = np.sqrt(2 / np.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))
    return 0.5 * x * (1 + t), (x, t, c)


def gelu_tanh_backward(dy, cache):
    x, t, c = cache
    inner = c * (1 + 3 * 0.044715 * x**2)
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * inner)


_pair(
    "GELU",
    gelu_tanh,
    gelu_tanh_backward,
    _single((6, 2)),
    ("cube's 3", "C3", "x", ("(1 + 3 * 0.044715", "(1 + 0.044715"), {"also": ("A4",)}),
    ("inner derivative", "C1", "x", (" * (1 - t**2) * inner", " * (1 - t**2)"), {"also": ("C8", "C3")}),
    ("tanh of tanh", "C2", "x", ("(1 - t**2)", "(1 - np.tanh(t) ** 2)"), {"also": ("C3",)}),
)


def softplus_mix(x, w, beta):
    """Return a mixture of sharpened softplus units."""
    z = beta * x
    return (np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0)) / beta * w, (x, w, beta)


def softplus_mix_backward(dout, cache):
    x, w, beta = cache
    sig = 1 / (1 + np.exp(-beta * x))
    soft = np.logaddexp(0, beta * x) / beta
    dx = dout * w * sig
    dw = (dout * soft).sum(axis=0)
    dbeta = np.sum(dout * w * (x * sig - soft) / beta)
    return dx, dw, dbeta


_pair(
    "softplus",
    softplus_mix,
    softplus_mix_backward,
    lambda rng: (*normal((6, 4), 4)(rng), np.array(1.7)),
    ("softplus's sum over features", "B4", "w", ("(dout * soft).sum(axis=0)", "(dout * soft).sum(axis=1)")),
)

# ---------------------------------------------------------------- windows


def depthwise(x, k, b):
    """Valid cross-correlation of (N, H, W, C) with one (kh, kw) kernel per channel."""
    kh, kw, _ = k.shape
    H, W = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    y = sum(x[:, i : i + H, j : j + W] * k[i, j] for i in range(kh) for j in range(kw))
    return y + b, (x, k)


def depthwise_backward(dy, cache):
    x, k = cache
    kh, kw, _ = k.shape
    H, W = dy.shape[1], dy.shape[2]
    pad = np.pad(dy, ((0, 0), (kh - 1, kh - 1), (kw - 1, kw - 1), (0, 0)))
    dx = np.zeros_like(x)
    for i in range(kh):
        for j in range(kw):
            dx += pad[:, i : i + x.shape[1], j : j + x.shape[2]] * k[kh - 1 - i, kw - 1 - j]
    dk = np.array([[(x[:, i : i + H, j : j + W] * dy).sum(axis=(0, 1, 2)) for j in range(kw)] for i in range(kh)])
    return dx, dk, dy.sum(axis=(0, 1, 2))


_pair(
    "depthwise conv",
    depthwise,
    depthwise_backward,
    normal((2, 5, 6, 3), (2, 3, 3), 3),
    ("kernel as it is", "F1", "x", ("k[kh - 1 - i, kw - 1 - j]", "k[i, j]")),
    ("turned in one direction", "F1", "x", ("k[kh - 1 - i, kw - 1 - j]", "k[kh - 1 - i, j]")),
    ("taps overwritten", "E1", "x", ("dx += pad[", "dx = pad[")),
)

_pair(
    "depthwise conv, square kernel",
    depthwise,
    depthwise_backward,
    normal((2, 4, 5, 3), (2, 2, 3), 3),
    ("rows and columns of the kernel's gradient", "F4", "k", ("x[:, i : i + H, j : j + W] * dy", "x[:, j : j + H, i : i + W] * dy")),
    ("kernel's axes exchanged on the way back", "F4", "x", ("k[kh - 1 - i, kw - 1 - j]", "k[kh - 1 - j, kw - 1 - i]")),
)


def conv1d(x, w, pad, dilation):
    """x (N, C, L), w (F, C, K)."""
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad)))
    K = w.shape[-1]
    out_len = xp.shape[-1] - dilation * (K - 1)
    cols = np.stack([xp[..., k * dilation : k * dilation + out_len] for k in range(K)], axis=-1)
    return np.einsum("nclk,fck->nfl", cols, w), (x.shape, cols, w, pad, dilation)


def conv1d_backward(g, cache):
    shape, cols, w, pad, dilation = cache
    n, c, length = shape
    dw = np.einsum("nfl,nclk->fck", g, cols)
    dcols = np.einsum("nfl,fck->nclk", g, w)
    dxp = np.zeros((n, c, length + 2 * pad))
    for k in range(w.shape[-1]):
        start = k * dilation
        dxp[..., start : start + g.shape[-1]] += dcols[..., k]
    return dxp[..., pad : pad + length], dw


_pair(
    "dilated conv1d",
    conv1d,
    conv1d_backward,
    normal((2, 3, 7), (4, 3, 3), then=(2, 2)),
    ("padding cropped at the end", "F3", "x", ("dxp[..., pad : pad + length], dw", "dxp[..., :length], dw")),
    ("one too few cropped", "F3", "x", ("dxp[..., pad : pad + length], dw", "dxp[..., pad - 1 : pad - 1 + length], dw")),
    ("overlap overwritten", "E1", "x", ("dxp[..., start : start + g.shape[-1]] += dcols", "dxp[..., start : start + g.shape[-1]] = dcols")),
    ("kernel reversed in its gradient", "F1", "w", ('return dxp[..., pad : pad + length], dw', 'return dxp[..., pad : pad + length], dw[..., ::-1]')),
)


class UpConv:
    """Transposed 1-d convolution with a stride."""

    def __init__(self, w, b, stride=2):
        self.w, self.b, self.stride = w, b, stride

    def forward(self, x):
        self.x = x
        n, c, length = x.shape
        K = self.w.shape[-1]
        y = np.zeros((n, self.w.shape[1], (length - 1) * self.stride + K))
        for t in range(length):
            y[:, :, t * self.stride : t * self.stride + K] += np.einsum("nc,cfk->nfk", x[:, :, t], self.w)
        return y + self.b[:, None]

    def backward(self, dy):
        K = self.w.shape[-1]
        self.dw = np.zeros_like(self.w)
        dx = np.zeros_like(self.x)
        for t in range(self.x.shape[2]):
            at = t * self.stride
            patch = dy[:, :, at : at + K]
            dx[:, :, t] = np.einsum("nfk,cfk->nc", patch, self.w)
            self.dw += np.einsum("nc,nfk->cfk", self.x[:, :, t], patch)
        self.db = dy.sum(axis=(0, 2))
        return dx


_layer(
    "class UpConv",
    UpConv,
    lambda made: made(w=np.ones((3, 2, 3)), b=np.ones(2)),
    lambda rng: (rng.standard_normal((2, 3, 4)), {"w": rng.standard_normal((3, 2, 3)), "b": rng.standard_normal(2)}),
    ("stride forgotten", "F2", "x params['w']", ("at = t * self.stride", "at = t")),
    ("last step's kernel gradient", "E1", "params['w']", ("self.dw += np.einsum", "self.dw = np.einsum")),
    ("bias averaged over the batch", "A2", "params['b']", ("self.db = dy.sum(axis=(0, 2))", "self.db = dy.sum(axis=2).mean(axis=0)")),
)


def avg_pool(x, size, stride):
    steps = (x.shape[1] - size) // stride + 1
    return np.stack([x[:, t * stride : t * stride + size].mean(axis=1) for t in range(steps)], axis=1), (x, size, stride)


def avg_pool_backward(dy, cache):
    x, size, stride = cache
    dx = np.zeros_like(x)
    for t in range(dy.shape[1]):
        lo = t * stride
        dx[:, lo : lo + size] += dy[:, t : t + 1] / size
    return dx


_pair(
    "average pooling in time",
    avg_pool,
    avg_pool_backward,
    normal((2, 8, 3), then=(3, 2)),
    ("overlapping windows", "E1", "x", ("dx[:, lo : lo + size] +=", "dx[:, lo : lo + size] =")),
    ("divided by the stride", "A5", "x", ("dy[:, t : t + 1] / size", "dy[:, t : t + 1] / stride"), {"also": ("A4",)}),
    ("windows side by side", "F2", "x", ("lo = t * stride", "lo = t * size")),
)


def upsample(x, fy, fx):
    return x.repeat(fy, axis=1).repeat(fx, axis=2), (x.shape, fy, fx)


def upsample_backward(dy, cache):
    (n, h, w), fy, fx = cache
    blocks = dy.reshape(n, h, fy, w, fx)
    return blocks.sum(axis=(2, 4))


_pair(
    "nearest upsampling",
    upsample,
    upsample_backward,
    normal((2, 3, 4), then=(2, 3)),
    ("tiled, not repeated", "F2", "x", ("dy.reshape(n, h, fy, w, fx)", "dy.reshape(n, fy, h, fx, w)"), ("sum(axis=(2, 4))", "sum(axis=(1, 3))"), {"also": ("B4", "F7")}),
    ("corner of the block", "C8", "x", ("blocks.sum(axis=(2, 4))", "blocks[:, :, 0, :, 0]"), {"also": ("F2", "B3")}),
)


def bilinear(img, ys, xs):
    H, W = img.shape
    y0 = np.clip(np.floor(ys).astype(int), 0, H - 2)
    x0 = np.clip(np.floor(xs).astype(int), 0, W - 2)
    u, v = ys - y0, xs - x0
    a, b = img[y0, x0], img[y0, x0 + 1]
    c, d = img[y0 + 1, x0], img[y0 + 1, x0 + 1]
    out = (1 - u) * (1 - v) * a + (1 - u) * v * b + u * (1 - v) * c + u * v * d
    return out, (img.shape, y0, x0, u, v, a, b, c, d)


def bilinear_backward(g, cache):
    shape, y0, x0, u, v, a, b, c, d = cache
    dimg = np.zeros(shape)
    np.add.at(dimg, (y0, x0), g * (1 - u) * (1 - v))
    np.add.at(dimg, (y0, x0 + 1), g * (1 - u) * v)
    np.add.at(dimg, (y0 + 1, x0), g * u * (1 - v))
    np.add.at(dimg, (y0 + 1, x0 + 1), g * u * v)
    dys = g * ((1 - v) * (c - a) + v * (d - b))
    dxs = g * ((1 - u) * (b - a) + u * (d - c))
    return dimg, dys, dxs


_pair(
    "bilinear sampling",
    bilinear,
    bilinear_backward,
    lambda rng: (rng.standard_normal((4, 5)), np.array([0.3, 0.6, 1.2, 2.7, 1.4, 0.2]), np.array([1.1, 1.7, 3.3, 0.4, 3.6, 2.3])),
    ("off-diagonal corners exchanged", "F4", "img", ("(y0, x0 + 1), g * (1 - u) * v)", "(y0, x0 + 1), g * u * (1 - v))"), ("(y0 + 1, x0), g * u * (1 - v))", "(y0 + 1, x0), g * (1 - u) * v)")),
    ("coordinates returned as x, y", "B5", "ys xs", ("return dimg, dys, dxs", "return dimg, dxs, dys"), {"also": ("F4",)}),
    ("slope at one edge of the cell", "C8", "xs", ("dxs = g * ((1 - u) * (b - a) + u * (d - c))", "dxs = g * (b - a)"), {"also": ("C3",)}),
)

# ---------------------------------------------------------------- graphs, tables, indices


def gcn(A, X, W):
    """Return relu(D^-1/2 A D^-1/2 X W) for a weighted, directed adjacency; D are the row sums."""
    deg = A.sum(axis=1)
    r = deg**-0.5
    S = r[:, None] * A * r
    Z = S @ X @ W
    return np.maximum(Z, 0), dict(A=A, X=X, W=W, deg=deg, r=r, S=S, Z=Z)


def gcn_backward(dH, c):
    A, X, W, r, S = (c[name] for name in ("A", "X", "W", "r", "S"))
    dZ = dH * (c["Z"] > 0)
    dW = (S @ X).T @ dZ
    dX = S.T @ (dZ @ W.T)
    dS = dZ @ (X @ W).T
    dA = r[:, None] * dS * r
    dr = (dS * A * r).sum(axis=1)
    dr += (dS * A * r[:, None]).sum(axis=0)
    ddeg = -0.5 * dr * c["deg"] ** -1.5
    dA += ddeg[:, None]
    return dA, dX, dW


_pair(
    "graph convolution",
    gcn,
    gcn_backward,
    lambda rng: (rng.uniform(0.1, 1, (5, 5)), *normal((5, 3), (3, 4))(rng)),
    ("directed edges backwards", "B1", "X", ("dX = S.T @", "dX = S @")),
    ("exponent not lowered", "C3", "A", ('c["deg"] ** -1.5', 'c["deg"] ** -0.5')),
    ("unnormalised adjacency", "B6", "W", ("dW = (S @ X).T", "dW = (A @ X).T")),
    ("degree of the columns", "B4", "A", ("dA += ddeg[:, None]", "dA += ddeg[None, :]")),
)


def message_passing(h, W, edge_weight, src, dst):
    m = np.tanh(h[src] @ W) * edge_weight[:, None]
    out = h.copy()
    np.add.at(out, dst, m)
    return out, (h, W, edge_weight, src, dst, m)


def message_passing_backward(dout, cache):
    h, W, edge_weight, src, dst, m = cache
    dm = dout[dst]
    t = m / edge_weight[:, None]
    dedge = (dm * t).sum(axis=1)
    dz = dm * edge_weight[:, None] * (1 - t**2)
    dW = h[src].T @ dz
    dh = dout.copy()
    np.add.at(dh, src, dz @ W.T)
    return dh, dW, dedge


_pair(
    "message passing",
    message_passing,
    message_passing_backward,
    lambda rng: (*normal((4, 3), (3, 3))(rng), rng.uniform(0.5, 1.5, 6), np.array([0, 0, 1, 2, 3, 2]), np.array([1, 2, 2, 3, 0, 0])),
    ("residual lost", "C8", "h", ("dh = dout.copy()", "dh = np.zeros_like(dout)")),
    ("gathered at the sender", "B6", "h W edge_weight", ("dm = dout[dst]", "dm = dout[src]")),
    ("weighted message under the derivative", "C2", "h W", ("(1 - t**2)", "(1 - m**2)")),
    ("scattered to the receiver", "B6", "h", ("np.add.at(dh, src,", "np.add.at(dh, dst,")),
)


def ratings_loss(P, Q, bu, bi, mean, user, item, rating, lam):
    e = (P[user] * Q[item]).sum(axis=1) + bu[user] + bi[item] + mean - rating
    return (e**2).mean() + lam * ((P**2).sum() + (Q**2).sum()), (P, Q, bu, bi, user, item, e, lam)


def ratings_loss_backward(g, cache):
    P, Q, bu, bi, user, item, e, lam = cache
    w = 2 * g * e / len(e)
    dP, dQ = 2 * g * lam * P, 2 * g * lam * Q
    dbu, dbi = np.zeros_like(bu), np.zeros_like(bi)
    for n, (u, i) in enumerate(zip(user, item)):
        dP[u] += w[n] * Q[i]
        dQ[i] += w[n] * P[u]
        dbu[u] += w[n]
        dbi[i] += w[n]
    return dP, dQ, dbu, dbi, w.sum()


_pair(
    "matrix factorisation",
    ratings_loss,
    ratings_loss_backward,
    lambda rng: (*normal((4, 2), (5, 2), 4, 5)(rng), np.array(3.1), [0, 0, 1, 2, 3, 2, 1], [0, 3, 3, 1, 2, 4, 0], np.array([4, 3, 5, 1, 2, 4, 3]), 0.05),
    ("biases shrunk too", "D2", "bu", ("dbu, dbi = np.zeros_like(bu),", "dbu, dbi = 2 * g * lam * bu,")),
    ("mean of the ratings", "A2", "mean", ("w.sum()", "w.mean()"), {"also": ("A3",)}),
    ("minus of the update rule", "A1", "P", ("dP[u] += w[n] * Q[i]", "dP[u] -= w[n] * Q[i]")),
    ("last rating of an item", "E1", "bi", ("dbi[i] += w[n]", "dbi[i] = w[n]")),
)


class MadeLayer:
    """Autoregressive linear layer: a fixed table says which input each unit may see."""

    table = np.tril(np.ones((4, 4), dtype=bool), -1)[:, :3]

    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.x = x
        self.h = np.tanh(x @ (self.W * self.table) + self.b)
        return self.h

    def backward(self, g):
        dz = g * (1 - self.h**2)
        self.dW = (self.x.T @ dz) * self.table
        self.db = dz.sum(axis=0)
        return dz @ (self.W * self.table).T


_layer(
    "class MadeLayer",
    MadeLayer,
    lambda made: made(W=np.ones((4, 3)), b=np.ones(3)),
    lambda rng: (rng.standard_normal((5, 4)), {"W": rng.standard_normal((4, 3)), "b": rng.standard_normal(3)}),
    ("hidden connections learn", "F5", "params['W']", ("(self.x.T @ dz) * self.table", "(self.x.T @ dz)")),
    ("full matrix on the way back", "F5", "x", ("return dz @ (self.W * self.table).T", "return dz @ self.W.T")),
)


def segment_max(values, segment, count):
    out = np.full((count, values.shape[1]), -np.inf)
    np.maximum.at(out, segment, values)
    return out, (values, segment, out)


def segment_max_backward(g, cache):
    values, segment, out = cache
    dv = np.zeros_like(values)
    for s in range(len(out)):
        rows = np.flatnonzero(segment == s)
        best = rows[values[rows].argmax(axis=0)]
        dv[best, np.arange(values.shape[1])] = g[s]
    return dv


_pair(
    "segment max",
    segment_max,
    segment_max_backward,
    normal((6, 3), then=(np.array([0, 1, 0, 2, 1, 0]), 3)),
    ("smallest instead", "C3", "values", (".argmax(axis=0)]", ".argmin(axis=0)]"), {"also": ("B6", "A1")}),
    ("every row of the group", "C1", "values", ("dv[best, np.arange(values.shape[1])] = g[s]", "dv[rows] = g[s]"), {"also": ("F6", "C3")}),
)


def tied_max(x):
    return x.max(axis=1), (x, x.argmax(axis=1))


def tied_max_backward(g, cache):
    x, where = cache
    dx = np.zeros_like(x)
    np.put_along_axis(dx, where[:, None], g[:, None], axis=1)
    return dx


def take_sorted(x, k):
    order = np.argsort(-x, axis=1)[:, :k]
    top = np.take_along_axis(x, order, axis=1)
    weight = 1 / (1 + np.arange(k))
    return top * weight, (x, order, weight)


def take_sorted_backward(g, cache):
    x, order, weight = cache
    dx = np.zeros_like(x)
    np.put_along_axis(dx, order, g * weight, axis=1)
    return dx


_pair(
    "discounted top k",
    take_sorted,
    take_sorted_backward,
    normal((3, 6), then=(4,)),
    ("order of the next row", "B6", "x", ("np.put_along_axis(dx, order, g", "np.put_along_axis(dx, order[::-1], g")),
)

# ---------------------------------------------------------------- recurrent


def sig(z):
    return 1 / (1 + np.exp(-z))


def peephole(xs, h, c, W, peep):
    """LSTM with peepholes over xs (T, D); W (D + H, 4 H), peep (3, H)."""
    H = len(h)
    tape, hs = [], []
    for x in xs:
        v = np.concatenate([x, h])
        zi, zf, zg, zo = np.split(v @ W, 4)
        i, f, g = sig(zi + peep[0] * c), sig(zf + peep[1] * c), np.tanh(zg)
        c_new = f * c + i * g
        o = sig(zo + peep[2] * c_new)
        h = o * np.tanh(c_new)
        tape.append((v, c, i, f, g, o, c_new))
        c = c_new
        hs.append(h)
    return np.array(hs), (tape, W, peep, H)


def peephole_backward(dhs, cache):
    tape, W, peep, H = cache
    D = W.shape[0] - H
    dW, dpeep = np.zeros_like(W), np.zeros_like(peep)
    dxs = np.zeros((len(tape), D))
    dh, dc = np.zeros(H), np.zeros(H)
    for t in reversed(range(len(tape))):
        v, c, i, f, g, o, c_new = tape[t]
        dh = dh + dhs[t]
        tc = np.tanh(c_new)
        dzo = dh * tc * o * (1 - o)
        dc = dc + dh * o * (1 - tc**2) + dzo * peep[2]
        dzi = dc * g * i * (1 - i)
        dzf = dc * c * f * (1 - f)
        dzg = dc * i * (1 - g**2)
        dpeep[0] += dzi * c
        dpeep[1] += dzf * c
        dpeep[2] += dzo * c_new
        dc = dc * f + dzi * peep[0] + dzf * peep[1]
        dz = np.concatenate([dzi, dzf, dzg, dzo])
        dW += np.outer(v, dz)
        dv = W @ dz
        dxs[t], dh = dv[:D], dv[D:]
    return dxs, dh, dc, dW, dpeep


_pair(
    "peephole LSTM",
    peephole,
    peephole_backward,
    normal((4, 2), 3, 3, (5, 12), (3, 3)),
    ("peephole overwritten", "E1", "peep", ("dpeep[1] += dzf * c", "dpeep[1] = dzf * c")),
    ("output gate's peephole sees the old cell", "G3", "peep", ("dpeep[2] += dzo * c_new", "dpeep[2] += dzo * c")),
    ("forget gate's cell", "G3", "xs h c W peep", ("dzf = dc * c * f", "dzf = dc * c_new * f")),
    ("hidden state not carried", "G1", "xs h c W peep", ("dh = dh + dhs[t]", "dh = dhs[t]")),
)


class GRU:
    """Reset after the product, as the fused kernels have it."""

    def __init__(self, Wx, Wh, bn):
        self.p = {"Wx": Wx, "Wh": Wh, "bn": bn}
        self.g = {}

    def forward(self, x, h0):
        self.steps = []
        h = h0
        for t in range(x.shape[1]):
            ax, ah = x[:, t] @ self.p["Wx"], h @ self.p["Wh"]
            rx, zx, nx = np.split(ax, 3, axis=1)
            rh, zh, nh = np.split(ah, 3, axis=1)
            r, z = sig(rx + rh), sig(zx + zh)
            q = nh + self.p["bn"]
            n = np.tanh(nx + r * q)
            self.steps.append((x[:, t], h, r, z, q, n))
            h = (1 - z) * n + z * h
        return h

    def backward(self, dh):
        p = self.p
        self.g = {name: np.zeros_like(p[name]) for name in p}
        dx = []
        for x, h, r, z, q, n in reversed(self.steps):
            dn = dh * (1 - z) * (1 - n**2)
            dz = dh * (h - n) * z * (1 - z)
            dr = dn * q * r * (1 - r)
            dq = dn * r
            da_x = np.concatenate([dr, dz, dn], axis=1)
            da_h = np.concatenate([dr, dz, dq], axis=1)
            self.g["Wx"] += x.T @ da_x
            self.g["Wh"] += h.T @ da_h
            self.g["bn"] += dq.sum(axis=0)
            dh = dh * z + da_h @ p["Wh"].T
            dx.append(da_x @ p["Wx"].T)
        return np.stack(dx[::-1], axis=1), dh


def _gru_args(rng):
    shapes = {"Wx": (2, 9), "Wh": (3, 9), "bn": (3,)}
    return *normal((2, 4, 2), (2, 3))(rng), {f"p['{k}']": rng.standard_normal(s) for k, s in shapes.items()}


_GRU_P = {f"p['{k}']": f"g['{k}']" for k in ("Wx", "Wh", "bn")}
WX, WH, BN = ("params[\"p['Wx']\"]", "params[\"p['Wh']\"]", "params[\"p['bn']\"]")
_layer(
    "class GRU",
    GRU,
    lambda made: made(np.ones((2, 9)), np.ones((3, 9)), np.ones(3)),
    _gru_args,
    ("direct path through the update gate", "G1", f"x h0 {WX} {WH} {BN}", ("dh = dh * z + da_h", "dh = da_h")),
    ("update gate's slope at its value", "C2", f"x h0 {WX} {WH} {BN}", ("(h - n) * z * (1 - z)", "(h - n) * sig(z) * (1 - sig(z))")),
    parameters=_GRU_P,
)


def scan(x, U, V):
    h, hs = np.zeros(len(V)), []
    for step in x:
        h = np.tanh(step @ U + h @ V)
        hs.append(h)
    return hs


def birnn(x, params, length):
    """Two tanh scans over the first ``length`` rows of x, the second one backwards, side by side."""
    fw = scan(x[:length], params["U"], params["V"])
    bw = scan(x[:length][::-1], params["Ub"], params["Vb"])
    return np.hstack([fw, bw[::-1]]), (x, params, fw, bw, length)


def unscan(dhs, hs, x, U, V):
    dU, dV, dx = np.zeros_like(U), np.zeros_like(V), np.zeros((len(hs), len(U)))
    carry = np.zeros(len(V))
    for t in range(len(hs) - 1, -1, -1):
        dz = (dhs[t] + carry) * (1 - hs[t] ** 2)
        dU += np.outer(x[t], dz)
        if t > 0:
            dV += np.outer(hs[t - 1], dz)
        dx[t] = U @ dz
        carry = V @ dz
    return dx, dU, dV


def birnn_backward(dy, cache):
    x, p, fw, bw, length = cache
    H = len(p["V"])
    head = x[:length]
    dx = np.zeros_like(x)
    d_fw, dU, dV = unscan(dy[:, :H], fw, head, p["U"], p["V"])
    d_bw, dUb, dVb = unscan(dy[::-1, H:], bw, head[::-1], p["Ub"], p["Vb"])
    dx[:length] = d_fw + d_bw[::-1]
    return dx, dict(U=dU, V=dV, Ub=dUb, Vb=dVb)


def _birnn_args(rng):
    return rng.standard_normal((6, 2)), {k: rng.standard_normal(s) for k, s in dict(U=(2, 3), V=(3, 3), Ub=(2, 4), Vb=(4, 4)).items()}, 5


_pair(
    "bidirectional RNN",
    birnn,
    birnn_backward,
    _birnn_args,
    ("inputs of the backward scan not reversed", "G3", "params['Ub']", ("bw, head[::-1], p", "bw, head, p")),
    ("backward scan's dx not turned back", "G3", "x", ("d_fw + d_bw[::-1]", "d_fw + d_bw")),
    ("first recurrent step left out", "G2", "params['V'] params['Vb']", ("if t > 0:", "if t > 1:")),
    helpers=(unscan,),
)

# ---------------------------------------------------------------- sequences without weights


def masked_token_loss(logits, tokens, mask):
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    n, t = tokens.shape
    picked = p[np.arange(n)[:, None], np.arange(t), tokens]
    return -np.log(picked)[mask].sum() / mask.sum(), (p, tokens, mask)


def masked_token_loss_backward(g, cache):
    p, tokens, mask = cache
    n, t, vocabulary = p.shape
    d = p.copy()
    d[np.arange(n)[:, None], np.arange(t), tokens] -= 1
    d[~mask] = 0
    return g * d / mask.sum()


_pair(
    "masked tokens",
    masked_token_loss,
    masked_token_loss_backward,
    normal((2, 4, 3), then=(np.array([[0, 2, 1, 0], [1, 1, 2, 0]]), np.array([[1, 1, 1, 0], [1, 1, 0, 0]], dtype=bool))),
    ("mask the wrong way round", "E5", "logits", ("d[~mask] = 0", "d[mask] = 0"), {"also": ("C3",)}),
    ("mean over the padding", "A2", "logits", ("/ mask.sum()", "/ mask.size"), {"also": ("A4",)}),
    ("loss not scaled from above", "C5", "logits", ("return g * d / mask.sum()", "return d / mask.sum()")),
)


def discounted_returns(r, gamma):
    out = np.zeros_like(r)
    acc = 0.0
    for t in range(len(r) - 1, -1, -1):
        acc = r[t] + gamma * acc
        out[t] = acc
    return out, (out, gamma)


def discounted_returns_backward(g, cache):
    out, gamma = cache
    dr = np.zeros_like(g)
    acc = dgamma = 0.0
    for t in range(len(g)):
        acc = g[t] + gamma * acc
        dr[t] = acc
        if t + 1 < len(g):
            dgamma += acc * out[t + 1]
    return dr, dgamma


_pair(
    "discounted returns",
    discounted_returns,
    discounted_returns_backward,
    lambda rng: (rng.standard_normal(6), np.array(0.8)),
    ("return of the same step", "G3", "gamma", ("acc * out[t + 1]", "acc * out[t]")),
    ("backwards like the forward", "B1", "r gamma", ("for t in range(len(g)):", "for t in range(len(g) - 1, -1, -1):"), {"also": ("G2", "G3", "C8")}),
)


def survival(hazard):
    """Return the probability of living past each time: cumulative products of 1 - hazard."""
    keep = 1 - hazard
    return np.cumprod(keep), (keep,)


def survival_backward(g, cache):
    (keep,) = cache
    dkeep = np.zeros_like(keep)
    for j in range(len(keep)):
        rest = keep.copy()
        rest[j] = 1
        dkeep[j] = (g[j:] * np.cumprod(rest)[j:]).sum()
    return -dkeep


_pair(
    "survival curve",
    survival,
    survival_backward,
    lambda rng: (rng.uniform(0.1, 0.6, 5),),
    ("minus of the complement", "A1", "hazard", ("return -dkeep", "return dkeep")),
    ("from the next time on", "G2", "hazard", ("(g[j:] * np.cumprod(rest)[j:])", "(g[j + 1 :] * np.cumprod(rest)[j + 1 :])")),
    ("own factor left in", "C3", "hazard", ("rest[j] = 1\n", "rest[j] = keep[j]\n"), {"also": ("A5",)}),
)

_pair(
    "survival curve with a certain death",
    survival,
    survival_backward,
    lambda rng: (np.array([0.2, 0.5, 1.0, 0.3]),),
    ("product divided by the factor", "H1", "hazard", ("(g[j:] * np.cumprod(rest)[j:]).sum()", "(g[j:] * np.cumprod(keep)[j:]).sum() / keep[j]"), {"source": True}),
)


def spectral_filter(x, U, response):
    spectrum = U.T @ x
    return U @ (response[:, None] * spectrum), (U, response, spectrum, x)


def spectral_filter_backward(dy, cache):
    U, response, spectrum, x = cache
    dfiltered = U.T @ dy
    dresponse = (dfiltered * spectrum).sum(axis=1)
    dspectrum = response[:, None] * dfiltered
    dx = U @ dspectrum
    dU = dy @ (response[:, None] * spectrum).T
    dU += x @ dspectrum.T
    return dx, dU, dresponse


_pair(
    "spectral filter",
    spectral_filter,
    spectral_filter_backward,
    normal((6, 2), (6, 4), 4),
    ("spectrum not filtered in the basis", "B6", "U", ("dU = dy @ (response[:, None] * spectrum).T", "dU = dy @ spectrum.T"), {"also": ("A5", "C8")}),
    ("filter skipped for x", "A5", "x", ("dx = U @ dspectrum", "dx = U @ dfiltered"), {"also": ("B6",)}),
    ("response per column", "B4", "response", ("(dfiltered * spectrum).sum(axis=1)", "(dfiltered * spectrum).sum(axis=0)")),
)

# ---------------------------------------------------------------- small libraries


def two_towers(x, W1, W2, W3):
    a = np.tanh(x @ W1)
    b = sig(a @ W2)
    return np.sin(b @ W3), {"x": x, "a": a, "b": b, "z": b @ W3, "W": (W1, W2, W3)}


def two_towers_backward(dy, c):
    W1, W2, W3 = c["W"]
    a, b = c["a"], c["b"]
    d3 = dy * np.cos(c["z"])
    d2 = (d3 @ W3.T) * b * (1 - b)
    d1 = (d2 @ W2.T) * (1 - a**2)
    return d1 @ W1.T, c["x"].T @ d1, a.T @ d2, b.T @ d3


_pair(
    "three activations",
    two_towers,
    two_towers_backward,
    normal((5, 2), (2, 4), (4, 4), (4, 3)),
    ("first layer as the second", "C4", "x W1", ("(d2 @ W2.T) * (1 - a**2)", "(d2 @ W2.T) * a * (1 - a)"), {"also": ("C3",)}),
    ("derivative with the next layer's values", "C4", "x W1 W2", ("* b * (1 - b)", "* a * (1 - a)"), {"also": ("C2", "B6")}),
    ("square weights not transposed", "B1", "x W1", ("(d2 @ W2.T)", "(d2 @ W2)")),
)


def make_scorer():
    buffer = {"db": np.zeros(3)}

    def forward(x, w, b):
        h = np.tanh(x * w + b)
        return h, (x, w, h)

    def backward(dout, cache):
        x, w, h = cache
        dz = dout * (1 - h * h)
        buffer["db"][:] = 0
        for row in dz:
            buffer["db"] += row
        return dz * w, (dz * x).sum(axis=0), buffer["db"].copy()

    return forward, backward


_closure(
    "scorer with a buffer",
    make_scorer,
    normal((5, 3), 3, 3),
    ("buffer never cleared", "E2", "b", ('        buffer["db"][:] = 0\n', "")),
    ("broadcast weight not summed", "B3", "w", ("(dz * x).sum(axis=0)", "(dz * x)")),
)


def highway(x, W, V):
    s, t = sig(x @ W), np.tanh(x @ V)
    return s * t + (1 - s) * x, (x, W, V, s, t)


def highway_backward(dy, cache):
    x, W, V, s, t = cache
    work = np.empty_like(dy)
    np.multiply(dy, s, out=work)
    dt = work * (1 - t**2)
    np.multiply(dy, t - x, out=work)
    ds = work * s * (1 - s)
    dx = dy * (1 - s)
    dx += ds @ W.T
    dx += dt @ V.T
    return dx, x.T @ ds, x.T @ dt


_pair(
    "highway with work array",
    highway,
    highway_backward,
    normal((5, 3), (3, 3), (3, 3)),
    ("derivative written over the cotangent", "E3", "x W", ("np.multiply(dy, s, out=work)", "work = dy\n    work *= s")),
    ("carry's minus", "A1", "x W", ("np.multiply(dy, t - x, out=work)", "np.multiply(dy, t + x, out=work)"), {"also": ("C8",)}),
    ("work array shared by both gates", "E3", "x V", ("dt = work * (1 - t**2)", "dt = np.multiply(work, 1 - t**2, out=work)")),
    ("gates return each other's", "B5", "W V", ("return dx, x.T @ ds, x.T @ dt", "return dx, x.T @ dt, x.T @ ds")),
)


class SgdLayer:
    """A layer that learns while it goes back."""

    def __init__(self, W, rate=0.5):
        self.W, self.rate = W, rate

    def forward(self, x):
        self.x = x
        self.y = np.arctan(x @ self.W)
        return self.y

    def backward(self, grad):
        dz = grad / (1 + (self.x @ self.W) ** 2)
        self.dW = self.x.T @ dz
        dx = dz @ self.W.T
        return dx


_layer(
    "class SgdLayer",
    SgdLayer,
    lambda made: made(np.ones((3, 4))),
    lambda rng: (rng.standard_normal((5, 3)), {"W": rng.standard_normal((3, 4))}),
    ("learns before it passes on", "E4", "x", ("dx = dz @ self.W.T", "self.W = self.W - self.rate * self.dW\n        dx = dz @ self.W.T")),
    ("slope at the angle", "C2", "x params['W']", ("(1 + (self.x @ self.W) ** 2)", "(1 + self.y**2)")),
    ("gradient for the update clipped", "G4", "params['W']", ("self.dW = self.x.T @ dz", "self.dW = np.clip(self.x.T @ dz, -0.5, 0.5)")),
)


def siren(x, W, phase):
    return np.sin(3 * (x @ W) + phase), (x, W, phase)


def siren_backward(g, cache):
    x, W, phase = cache
    dz = g * np.cos(3 * (x @ W) + phase)
    dphase = dz.sum(axis=0, keepdims=True)
    return 3 * dz @ W.T, 3 * x.T @ dz, dphase


_pair(
    "sine layer",
    siren,
    siren_backward,
    normal((5, 2), (2, 3), (1, 3)),
    ("row of the phase", "B2", "phase", ("dz.sum(axis=0, keepdims=True)", "dz.sum(axis=0)")),
    ("whole numbers", "H3", "phase", ("dphase = dz.sum(axis=0, keepdims=True)", "dphase = np.zeros(phase.shape, dtype=int)\n    dphase[0] = dz.sum(axis=0)"), {"source": True}),
)


def sinc_features(x, w):
    z = x * w
    return np.where(z == 0, 1.0, np.sin(z) / np.where(z == 0, 1, z)), (x, w, z)


def sinc_features_backward(g, cache):
    x, w, z = cache
    safe = np.where(z == 0, 1, z)
    slope = np.where(z == 0, 0, (np.cos(z) - np.sin(z) / safe) / safe)
    dz = g * slope
    return dz * w, (dz * x).sum(axis=0)


def _sinc_args(rng):
    x, w = normal((4, 3), 3)(rng)
    x[1, 2] = 0
    return x, w


_pair(
    "sinc features",
    sinc_features,
    sinc_features_backward,
    _sinc_args,
    ("divided at zero", "H1", "x w", ("safe = np.where(z == 0, 1, z)", "safe = z"), ("np.where(z == 0, 0, (np.cos(z) - np.sin(z) / safe) / safe)", "(np.cos(z) - np.sin(z) / safe) / safe")),
    ("quotient rule's second part", "C8", "x w", ("(np.cos(z) - np.sin(z) / safe) / safe", "np.cos(z) / safe"), {"also": ("C3",)}),
)

_pair(
    "row maximum of whole levels",
    tied_max,
    tied_max_backward,
    lambda rng: (np.array([[1.0, 3.0, 3.0, 0.0], [2.0, 2.0, 1.0, 2.0], [0.5, 1.5, 4.0, 3.5]]),),
    ("all of the largest", "F6", "x", ("np.put_along_axis(dx, where[:, None], g[:, None], axis=1)", "dx += g[:, None] * (x == x.max(axis=1, keepdims=True))")),
)


def dropout_mlp(x, W, V, keep_mask, rate):
    h = np.maximum(x @ W, 0) * keep_mask / (1 - rate)
    return h @ V, (x, W, V, h, keep_mask, rate)


def dropout_mlp_backward(g, cache):
    x, W, V, h, keep_mask, rate = cache
    dh = g @ V.T
    dh = dh * keep_mask / (1 - rate)
    dz = dh * (x @ W > 0)
    return dz @ W.T, x.T @ dz, h.T @ g


_pair(
    "dropout",
    dropout_mlp,
    dropout_mlp_backward,
    lambda rng: (*normal((4, 3), (3, 5), (5, 2))(rng), rng.random((4, 5)) > 0.4, 0.4),
    ("scale forgotten", "E5", "x W", ("dh = dh * keep_mask / (1 - rate)", "dh = dh * keep_mask"), {"also": ("A4",)}),
    ("dropped units alive", "E5", "x W", ("dh = dh * keep_mask / (1 - rate)", "dh = dh / (1 - rate)")),
)


def pooled_softmax(scores, values, lengths, beta):
    """Attention pooling over the first lengths[i] steps, with a sharpness."""
    inside = np.arange(scores.shape[1]) < lengths[:, None]
    e = np.where(inside, np.exp(beta * scores), 0)
    a = e / e.sum(axis=1, keepdims=True)
    return (np.einsum("nt,ntd->nd", a, values), a), (a, scores, values, beta)


def pooled_softmax_backward(grads, cache):
    dpool, da_out = grads
    a, scores, values, beta = cache
    dvalues = a[..., None] * dpool[:, None]
    da = np.einsum("nd,ntd->nt", dpool, values) + da_out
    dz = a * (da - np.sum(a * da, axis=1, keepdims=True))
    return beta * dz, dvalues, np.sum(dz * scores)


_pair(
    "attention pooling",
    pooled_softmax,
    pooled_softmax_backward,
    lambda rng: (*normal((3, 5), (3, 5, 2))(rng), np.array([5, 2, 4]), np.array(1.6)),
    ("softmax over the batch", "B4", "scores beta", ("np.sum(a * da, axis=1, keepdims=True)", "np.sum(a * da, axis=0, keepdims=True)")),
    ("sigmoid's slope", "C6", "scores beta", ("a * (da - np.sum(a * da, axis=1, keepdims=True))", "a * (1 - a) * da")),
)


def weighted_lse(x, log_w, axis_scale):
    """Return log sum w exp(s x) / s for every row, and the row's mean beside it."""
    z = axis_scale * x + log_w
    top = z.max(axis=1)
    lse = top + np.log(np.exp(z - top[:, None]).sum(axis=1))
    return lse / axis_scale + x.mean(axis=1), (x, z, lse, axis_scale)


def weighted_lse_backward(dout, cache):
    x, z, lse, s = cache
    n, m = x.shape
    p = np.exp(z - lse[:, None])
    dlse = dout / s
    dz = dlse[:, None] * p
    dx = s * dz + dout[:, None] / m
    ds = (dz * x).sum() - (dout * lse).sum() / s**2
    return dx, dz.sum(axis=0), ds


_pair(
    "weighted logsumexp",
    weighted_lse,
    weighted_lse_backward,
    lambda rng: (*normal((4, 3), 3)(rng), np.array(1.4)),
    ("divided by the rows", "A2", "x", ("dout[:, None] / m", "dout[:, None] / n"), {"also": ("B4",)}),
)


def clipped_score(x, low, high, gain):
    inside = np.clip(x, low, high)
    return gain * inside**3, (x, low, high, gain, inside)


def clipped_score_backward(g, cache):
    x, low, high, gain, inside = cache
    dinside = 3 * g * gain * inside**2
    dlow = dinside[x < low].sum()
    dhigh = dinside[x > high].sum()
    dx = dinside.copy()
    dx[(x < low) | (x > high)] = 0
    return dx, dlow, dhigh, (g * inside**3).sum()


_pair(
    "learned clip",
    clipped_score,
    clipped_score_backward,
    lambda rng: (2 * rng.standard_normal((4, 5)), np.array(-1.1), np.array(1.3), np.array(0.7)),
    ("weak gradients rounded", "H3", "x", ("dx = dinside.copy()", "dx = np.round(dinside, 1)")),
    ("cube's derivative at the raw value", "C2", "low high", ("dinside = 3 * g * gain * inside**2", "dinside = 3 * g * gain * x**2")),
    ("unclipped cube", "C2", "gain", ("(g * inside**3).sum()", "(g * x**3).sum()"), {"also": ("B6",)}),
)

CASES = tuple(_FOUND)
