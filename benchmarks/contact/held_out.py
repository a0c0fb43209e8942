"""Wrong passes by strangers, written without sight of the explanations: students, notebook authors, scientists."""

import numpy as np

from tests.strangers.case import Case, from_cost, from_layers, normal, planted, planted_case

_CASES = []


def add(*args, **rest):
    _CASES.append(planted_case(*args, **rest))


HIDDEN = {"source": False}

# ------------------------------------------------ rotary position embedding and attention scores

def rope_tables(T, D, base=100.0):
    inv = base ** (-np.arange(0, D, 2) / D)
    ang = (np.arange(T) + 1)[:, None] * inv[None, :]
    return np.cos(ang), np.sin(ang)


def rope_forward(q, k):
    T, D = q.shape
    cos, sin = rope_tables(T, D)

    def rot(x):
        a, b = x[:, 0::2], x[:, 1::2]
        y = np.empty_like(x)
        y[:, 0::2] = a * cos - b * sin
        y[:, 1::2] = a * sin + b * cos
        return y

    qr, kr = rot(q), rot(k)
    return qr @ kr.T / np.sqrt(D), (qr, kr, cos, sin)


def rope_backward(dscores, cache):
    qr, kr, cos, sin = cache
    D = qr.shape[1]
    dscores = dscores / np.sqrt(D)
    dqr = dscores @ kr
    dkr = dscores.T @ qr
    dq = np.empty_like(dqr)
    dk = np.empty_like(dkr)
    dq[:, 0::2] = dqr[:, 0::2] * cos + dqr[:, 1::2] * sin
    dq[:, 1::2] = dqr[:, 1::2] * cos - dqr[:, 0::2] * sin
    dk[:, 0::2] = dkr[:, 0::2] * cos + dkr[:, 1::2] * sin
    dk[:, 1::2] = dkr[:, 1::2] * cos - dkr[:, 0::2] * sin
    return dq, dk


ROPE = (rope_forward, rope_backward, normal((5, 6), (5, 6)))
add("rope: odd half turned the wrong way", *ROPE, "A1", "q",
    ("dq[:, 1::2] = dqr[:, 1::2] * cos - dqr", "dq[:, 1::2] = dqr[:, 1::2] * cos + dqr"))
add("rope: scores not transposed for the keys", *ROPE, "B1", "k", ("dscores.T @ qr", "dscores @ qr"))
add("rope: square root of the width forgotten", *ROPE, "A4", "q k",
    ("    dscores = dscores / np.sqrt(D)\n", "\n"), **HIDDEN)
add("rope: even half without the other component", *ROPE, "C8", "k",
    ("dk[:, 0::2] = dkr[:, 0::2] * cos + dkr[:, 1::2] * sin", "dk[:, 0::2] = dkr[:, 0::2] * cos"))


# ------------------------------------------------ highway layer (course exercise)

def highway_forward(x, WH, bH, WT, bT):
    h = np.tanh(x.dot(WH) + bH)
    t = 1.0 / (1.0 + np.exp(-(x.dot(WT) + bT)))
    y = h * t + x * (1.0 - t)
    return y, {"x": x, "h": h, "t": t, "WH": WH, "WT": WT}


def highway_backward(dy, cache):
    x, h, t = cache["x"], cache["h"], cache["t"]
    dh = dy * t
    dt = dy * (h - x)
    dx = dy * (1.0 - t)
    dzh = dh * (1.0 - h**2)
    dzt = dt * t * (1.0 - t)
    dWH = x.T.dot(dzh)
    dbH = dzh.sum(axis=0)
    dWT = x.T.dot(dzt)
    dbT = dzt.sum(axis=0)
    dx += dzh.dot(cache["WH"].T)
    dx += dzt.dot(cache["WT"].T)
    return dx, dWH, dbH, dWT, dbT


HIGHWAY = (highway_forward, highway_backward, normal((3, 4), (4, 4), 4, (4, 4), 4))
add("highway: carry's part of the gate forgotten", *HIGHWAY, "C8", "x WT bT", ("dt = dy * (h - x)", "dt = dy * h"))
add("highway: carry overwritten", *HIGHWAY, "E1", "x",
    ('dx += dzh.dot(cache["WH"].T)', 'dx = dzh.dot(cache["WH"].T)'), also=("C8",))
add("highway: weights of the other branch", *HIGHWAY, "B6", "x",
    ('dzt.dot(cache["WT"].T)', 'dzt.dot(cache["WH"].T)'), **HIDDEN)


# ------------------------------------------------ LSTM with peepholes, one sequence, loops

def peep_forward(X, W, U, p, b):
    T, n = X.shape[0], U.shape[0]
    h, c = np.zeros(n), np.zeros(n)
    steps, hs = [], []
    for t in range(T):
        z = X[t] @ W + h @ U + b
        i = 1 / (1 + np.exp(-(z[:n] + p[0] * c)))
        f = 1 / (1 + np.exp(-(z[n : 2 * n] + p[1] * c)))
        g = np.tanh(z[2 * n : 3 * n])
        c_new = f * c + i * g
        o = 1 / (1 + np.exp(-(z[3 * n :] + p[2] * c_new)))
        th = np.tanh(c_new)
        steps.append((h, c, i, f, g, o, c_new, th))
        h, c = o * th, c_new
        hs.append(h)
    return np.array(hs), (X, W, U, p, steps)


def peep_backward(dhs, cache):
    X, W, U, p, steps = cache
    n = U.shape[0]
    dX, dW, dU, dp = np.zeros_like(X), np.zeros_like(W), np.zeros_like(U), np.zeros_like(p)
    db = np.zeros(4 * n)
    dh_next, dc_next = np.zeros(n), np.zeros(n)
    for t in reversed(range(len(steps))):
        h, c, i, f, g, o, c_new, th = steps[t]
        dh = dhs[t] + dh_next
        do = dh * th * o * (1 - o)
        dc = dc_next + dh * o * (1 - th**2)
        dc = dc + do * p[2]
        di = dc * g * i * (1 - i)
        df = dc * c * f * (1 - f)
        dg = dc * i * (1 - g**2)
        dz = np.concatenate([di, df, dg, do])
        dX[t] = W @ dz
        dW += np.outer(X[t], dz)
        dU += np.outer(h, dz)
        db += dz
        dp[0] += di * c
        dp[1] += df * c
        dp[2] += do * c_new
        dh_next = U @ dz
        dc_next = dc * f + di * p[0] + df * p[1]
    return dX, dW, dU, dp, db


PEEP = (peep_forward, peep_backward, normal((4, 2), (2, 12), (3, 12), (3, 3), 12))
add("peephole LSTM: output gate's peephole into the cell forgotten", *PEEP, "C8", "X W U p b",
    ("        dc = dc + do * p[2]\n", "\n"), also=("G1",))
add("peephole LSTM: peepholes not carried back", *PEEP, "C8", "X W U p b",
    ("dc * f + di * p[0] + df * p[1]", "dc * f"), also=("G1",), **HIDDEN)
add("peephole LSTM: output peephole of the old cell", *PEEP, "G3", "p", ("do * c_new", "do * c"), also=("B6",))
add("peephole LSTM: cell not carried back", *PEEP, "G1", "X W U p b",
    ("dc = dc_next + dh * o", "dc = dh * o"), also=("C8",))


# ------------------------------------------------ weight-normalised dense layer, a class

class WeightNormDense:
    """A dense layer whose weights are a direction and a gain."""

    def __init__(self, n_in, n_out):
        rng = np.random.default_rng(11)
        self.V = rng.normal(size=(n_in, n_out))
        self.g = rng.normal(size=n_out) + 2.0
        self.b = rng.normal(size=n_out)
        self.dV = self.dg = self.db = None

    def forward(self, x):
        """Return the output."""
        self.x = x
        self.norm = np.sqrt((self.V**2).sum(axis=0))
        self.u = self.V / self.norm
        return x @ (self.u * self.g) + self.b

    def backward(self, dout):
        """Return the gradient of the input."""
        dW = self.x.T @ dout
        self.db = dout.sum(axis=0)
        self.dg = (dW * self.u).sum(axis=0)
        du = dW * self.g
        proj = (du * self.u).sum(axis=0)
        self.dV = (du - self.u * proj) / self.norm
        return dout @ (self.u * self.g).T


def add_layer(name, right, wrong, shape, mistake, paths, **rest):
    forward, backward, right_backward = from_layers(right, wrong)
    _CASES.append(Case(name, forward, backward, right_backward, normal(shape), mistake, tuple(paths.split()), **rest))


def add_wn(name, mistake, paths, *edits, **rest):
    wrong = planted(WeightNormDense, *edits, source=rest.get("source", True))
    add_layer(name, WeightNormDense(4, 3), wrong(4, 3), (5, 4), mistake, paths, **rest)


add_wn("weight norm: norm taken for a constant", "C7", "params['V']", ("(du - self.u * proj)", "du"), also=("C8",))
add_wn("weight norm: projection over the wrong axis", "B4", "params['V']",
       ("proj = (du * self.u).sum(axis=0)", "proj = (du * self.u).sum(axis=1, keepdims=True)"))
add_wn("weight norm: gain forgotten in the input's gradient", "A5", "x",
       ("dout @ (self.u * self.g).T", "dout @ self.u.T"), also=("A4", "B6"))
add_wn("weight norm: gain by the raw direction", "B6", "params['g']",
       ("(dW * self.u).sum(axis=0)", "(dW * self.V).sum(axis=0)"), also=("A4", "C3"), **HIDDEN)


# ------------------------------------------------ cross-entropy with label smoothing and class weights

_LAB = np.array([2, 0, 1, 3, 3, 1])
_CW = np.array([0.5, 2.0, 1.5, 0.8])

def smooth_forward(logits, eps=0.1):
    N, K = logits.shape
    z = logits - logits.max(axis=1, keepdims=True)
    logp = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    q = np.full((N, K), eps / K)
    q[np.arange(N), _LAB] += 1 - eps
    w = _CW[_LAB]
    loss = -(w * (q * logp).sum(axis=1)).sum() / w.sum()
    return loss, (logp, q, w)


def smooth_backward(dloss, cache):
    logp, q, w = cache
    p = np.exp(logp)
    d = p - q
    d *= w[:, None]
    d /= w.sum()
    return dloss * d


SMOOTH = (smooth_forward, smooth_backward, normal((6, 4)))
add("label smoothing: hard targets", *SMOOTH, "I3", "logits",
    ("d = p - q", "d = p - (q > 0.5)"), also=("C8", "D1", "B6"))
add("label smoothing: divided by the batch, not the weights", *SMOOTH, "A4", "logits",
    ("d /= w.sum()", "d /= len(w)"), also=("A2",))
add("label smoothing: class weights forgotten", *SMOOTH, "A5", "logits",
    ("    d *= w[:, None]\n", "\n"), also=("C8", "B6"), **HIDDEN)
add("label smoothing: cotangent ignored", *SMOOTH, "C5", "logits", ("return dloss * d", "return d"))


# ------------------------------------------------ bilinear upsampling by two, four taps

def up_weights(n, m):
    pos = (np.arange(m) + 0.5) * n / m - 0.5
    pos = np.clip(pos, 0, n - 1)
    lo = np.minimum(np.floor(pos).astype(int), n - 2)
    return lo, pos - lo


def up_forward(img):
    H, W = img.shape
    r, fr = up_weights(H, 2 * H)
    c, fc = up_weights(W, 2 * W)
    out = np.zeros((2 * H, 2 * W))
    for i in range(2 * H):
        for j in range(2 * W):
            a, b = fr[i], fc[j]
            out[i, j] = (
                (1 - a) * (1 - b) * img[r[i], c[j]] + (1 - a) * b * img[r[i], c[j] + 1]
                + a * (1 - b) * img[r[i] + 1, c[j]] + a * b * img[r[i] + 1, c[j] + 1]
            )
    return out, (H, W)


def up_backward(dout, cache):
    H, W = cache
    r, fr = up_weights(H, dout.shape[0])
    c, fc = up_weights(W, dout.shape[1])
    dimg = np.zeros((H, W))
    for i in range(dout.shape[0]):
        for j in range(dout.shape[1]):
            a, b = fr[i], fc[j]
            g = dout[i, j]
            dimg[r[i], c[j]] += (1 - a) * (1 - b) * g
            dimg[r[i], c[j] + 1] += (1 - a) * b * g
            dimg[r[i] + 1, c[j]] += a * (1 - b) * g
            dimg[r[i] + 1, c[j] + 1] += a * b * g
    return dimg


UP = (up_forward, up_backward, normal((3, 4)))
add("upsampling: last tap wins", *UP, "E1", "img",
    ("dimg[r[i] + 1, c[j] + 1] += a", "dimg[r[i] + 1, c[j] + 1] = a"))
add("upsampling: row and column weights exchanged", *UP, "F4", "img",
    ("a, b = fr[i], fc[j]", "b, a = fr[i], fc[j]"), also=("B6",))
add("upsampling: one corner forgotten", *UP, "C8", "img",
    ("            dimg[r[i] + 1, c[j]] += a * (1 - b) * g\n", "\n"), **HIDDEN)


# ------------------------------------------------ proportional odds (ordinal logistic regression)

_RATING = np.array([0, 2, 1, 3, 2, 0, 1])


def ordinal_forward(X, beta, theta0, steps):
    cuts = theta0 + np.concatenate([[0.0], np.cumsum(np.exp(steps))])
    eta = X @ beta
    F = 1 / (1 + np.exp(-(cuts[None, :] - eta[:, None])))
    Fpad = np.hstack([np.zeros((len(X), 1)), F, np.ones((len(X), 1))])
    rows = np.arange(len(X))
    prob = Fpad[rows, _RATING + 1] - Fpad[rows, _RATING]
    return -np.log(prob).sum(), (X, beta, steps, Fpad, prob)


def ordinal_backward(dnll, cache):
    X, beta, steps, Fpad, prob = cache
    rows = np.arange(len(X))
    dens = Fpad * (1 - Fpad)
    up = dens[rows, _RATING + 1]
    lo = dens[rows, _RATING]
    r = -dnll / prob
    deta = r * (lo - up)
    dcuts = np.zeros(Fpad.shape[1])
    np.add.at(dcuts, _RATING + 1, r * up)
    np.add.at(dcuts, _RATING, -r * lo)
    dcuts = dcuts[1:-1]
    dtheta0 = dcuts.sum()
    tail = np.cumsum(dcuts[::-1])[::-1]
    dsteps = tail[1:] * np.exp(steps)
    dX = np.outer(deta, beta)
    dbeta = X.T @ deta
    return dX, dbeta, dtheta0, dsteps


ORD = (ordinal_forward, ordinal_backward,
       lambda rng: (rng.normal(size=(7, 3)), rng.normal(size=3), np.array(-0.7), rng.normal(size=2) * 0.5))
add("ordinal: lower cut-point's density forgotten", *ORD, "C8", "X beta",
    ("r * (lo - up)", "-r * up"))
add("ordinal: exp of the gaps forgotten", *ORD, "C1", "steps", ("tail[1:] * np.exp(steps)", "tail[1:]"))
add("ordinal: repeated ratings overwrite", *ORD, "E1", "theta0 steps",
    ("np.add.at(dcuts, _RATING, -r * lo)", "dcuts[_RATING] += -r * lo"), **HIDDEN)
add("ordinal: cumulated from the front", *ORD, "B1", "steps",
    ("np.cumsum(dcuts[::-1])[::-1]", "np.cumsum(dcuts)"), also=("F1", "G2", "B4"))


# ------------------------------------------------ weighted ridge with an unpenalised intercept (R people)

def ridge_cost(w, b0, X, y, obs):
    lam = 0.4
    yhat = X @ w + b0
    res = yhat - y
    n = obs.sum()
    cost = (obs * res**2).sum() / (2 * n) + lam / 2 * (w @ w)
    wr = obs * res / n
    dw = X.T @ wr + lam * w
    db0 = wr.sum()
    dX = np.outer(wr, w)
    dy = -wr
    dobs = res**2 / (2 * n) - (obs * res**2).sum() / (2 * n**2)
    return cost, dw, db0, dX, dy, dobs


def ridge_args(rng):
    return rng.normal(size=3), np.array(0.6), rng.normal(size=(6, 3)), rng.normal(size=6), rng.uniform(0.5, 2, size=6)


def add_ridge(name, mistake, paths, *edits, **rest):
    pair = from_cost(ridge_cost, planted(ridge_cost, *edits, source=rest.get("source", True)))
    _CASES.append(Case(name, *pair, ridge_args, mistake, tuple(paths.split()), **rest))


add_ridge("ridge: twice the penalty", "D1", "w", ("+ lam * w\n", "+ 2 * lam * w\n"), also=("A4",))
add_ridge("ridge: intercept penalised", "D2", "b0", ("db0 = wr.sum()", "db0 = wr.sum() + lam * b0"), also=("D1",))
add_ridge("ridge: weights' normalisation taken for a constant", "C7", "obs",
          (" - (obs * res**2).sum() / (2 * n**2)", ""), also=("C8",))
add_ridge("ridge: observation weights forgotten", "A5", "w b0 X y",
          ("wr = obs * res / n", "wr = res / n"), also=("B6",), **HIDDEN)


# ------------------------------------------------ Gaussian mixture, log-likelihood, isotropic

def gmm_forward(x, logits, mu, logs):
    D = x.shape[1]
    logpi = logits - np.log(np.exp(logits).sum())
    diff = x[:, None, :] - mu[None, :, :]
    sq = (diff**2).sum(-1)
    lp = logpi - 0.5 * sq * np.exp(-2 * logs) - D * logs - 0.5 * D * np.log(2 * np.pi)
    m = lp.max(1, keepdims=True)
    ll = m[:, 0] + np.log(np.exp(lp - m).sum(1))
    return ll.mean(), (diff, sq, logpi, logs, lp, ll)


def gmm_backward(g, cache):
    diff, sq, logpi, logs, lp, ll = cache
    N, _, D = diff.shape
    resp = np.exp(lp - ll[:, None])
    dlp = g * resp / N
    prec = np.exp(-2 * logs)
    dlogits = dlp.sum(0) - np.exp(logpi) * dlp.sum()
    ddiff = -dlp[:, :, None] * diff * prec[None, :, None]
    dmu = -ddiff.sum(0)
    dx = ddiff.sum(1)
    dlogs = (dlp * (sq * prec - D)).sum(0)
    return dx, dlogits, dmu, dlogs


GMM = (gmm_forward, gmm_backward, normal((6, 2), 3, (3, 2), 3))
add("mixture: softmax of the weights taken for a constant", *GMM, "C8", "logits",
    ("dlp.sum(0) - np.exp(logpi) * dlp.sum()", "dlp.sum(0)"), also=("C6", "C7"))
add("mixture: normalising constant of one dimension", *GMM, "A4", "logs", ("sq * prec - D)", "sq * prec - 1)"))
add("mixture: sign of the means", *GMM, "A1", "mu", ("dmu = -ddiff.sum(0)", "dmu = ddiff.sum(0)"), **HIDDEN)
add("mixture: responsibilities summed, not averaged", *GMM, "A2", "x logits mu logs",
    ("dlp = g * resp / N", "dlp = g * resp"), also=("A4",))


# ------------------------------------------------ leapfrog in a Hénon-Heiles potential, adjoint by hand

def leap_force(q):
    x, y = q
    return np.array([-x - 2 * x * y, -y - x**2 + y**2])


def leap_hess(q):
    x, y = q
    return np.array([[-1 - 2 * y, -2 * x], [-2 * x, -1 + 2 * y]])


def leap_forward(q, p, dt=0.2, steps=5):
    traj = []
    for _ in range(steps):
        q0 = q
        ph = p + 0.5 * dt * leap_force(q)
        q = q + dt * ph
        p = ph + 0.5 * dt * leap_force(q)
        traj.append((q0, q))
    return np.concatenate([q, p]), (traj, dt)


def leap_backward(dz, cache):
    traj, dt = cache
    dq, dp = dz[:2].copy(), dz[2:].copy()
    for q0, q1 in traj[::-1]:
        dph = dp.copy()
        dq = dq + 0.5 * dt * leap_hess(q1) @ dp
        dph = dph + dt * dq
        dp = dph
        dq = dq + 0.5 * dt * leap_hess(q0) @ dph
    return dq, dp


LEAP = (leap_forward, leap_backward, normal(2, 2))
add("leapfrog: second kick at the old position", *LEAP, "G3", "q p", ("leap_hess(q1) @ dp", "leap_hess(q0) @ dp"),
    also=("C2",))
add("leapfrog: first kick's force taken for a constant", *LEAP, "C8", "q p",
    ("        dq = dq + 0.5 * dt * leap_hess(q0) @ dph\n", "\n"), also=("G1",), **HIDDEN)
add("leapfrog: half a step taken for a whole", *LEAP, "A4", "q p",
    ("dq + 0.5 * dt * leap_hess(q0)", "dq + dt * leap_hess(q0)"))
add("leapfrog: first step left out", *LEAP, "G2", "q p", ("in traj[::-1]:", "in traj[:0:-1]:"))


# ------------------------------------------------ explicit heat equation with a conductivity field

def heat_forward(u0, k, nt=4, dt=0.1):
    u = u0.copy()
    states = []
    for _ in range(nt):
        states.append(u.copy())
        kf = 0.5 * (k[1:] + k[:-1])
        flux = kf * (u[1:] - u[:-1])
        u[:-1] += dt * flux
        u[1:] -= dt * flux
    return u, (states, k, dt)


def heat_backward(lam, cache):
    states, k, dt = cache
    lam = lam.copy()
    dk = np.zeros_like(k)
    kf = 0.5 * (k[1:] + k[:-1])
    for u in reversed(states):
        dflux = dt * (lam[:-1] - lam[1:])
        dkf = dflux * (u[1:] - u[:-1])
        dk[1:] += 0.5 * dkf
        dk[:-1] += 0.5 * dkf
        dgrad = dflux * kf
        lam[1:] += dgrad
        lam[:-1] -= dgrad
    return lam, dk


HEAT = (heat_forward, heat_backward, lambda rng: (rng.normal(size=7), rng.uniform(0.5, 2, size=7)))
add("heat: only the last step's conductivity", *HEAT, "E1", "k",
    ("dk[1:] += 0.5 * dkf", "dk[1:] = 0.5 * dkf"))
add("heat: upstream conductivity for the face's", *HEAT, "B6", "u0 k",
    ("dflux * kf", "dflux * k[1:]"), also=("C3",))
add("heat: left neighbour forgotten", *HEAT, "C8", "u0 k", ("        lam[:-1] -= dgrad\n", "\n"), **HIDDEN)


# ------------------------------------------------ piecewise linear interpolation of a table

def interp_forward(xq, xp, fp):
    s = np.tanh(xq) * 1.9
    seg = np.clip(np.searchsorted(xp, s) - 1, 0, len(xp) - 2)
    h = xp[seg + 1] - xp[seg]
    w = (s - xp[seg]) / h
    return (1 - w) * fp[seg] + w * fp[seg + 1], {"s": s, "seg": seg, "h": h, "w": w, "xp": xp, "fp": fp}


def interp_backward(dout, c):
    seg, h, w, fp = c["seg"], c["h"], c["w"], c["fp"]
    dfp = np.zeros(len(fp))
    np.add.at(dfp, seg, (1 - w) * dout)
    np.add.at(dfp, seg + 1, w * dout)
    dw = (fp[seg + 1] - fp[seg]) * dout
    ds = dw / h
    dxp = np.zeros(len(fp))
    np.add.at(dxp, seg, -dw / h)
    np.add.at(dxp, seg, dw * w / h)
    np.add.at(dxp, seg + 1, -dw * w / h)
    dxq = ds * (1.9 - c["s"] ** 2 / 1.9)
    return dxq, dxp, dfp


INTERP = (interp_forward, interp_backward,
          lambda rng: (rng.normal(size=8), np.array([-2.0, -1.1, 0.2, 0.9, 2.0]), rng.normal(size=5)))
add("interpolation: spacing taken for a constant", *INTERP, "C8", "xp",
    ("    np.add.at(dxp, seg, dw * w / h)\n", "\n"), also=("C7",))
add("interpolation: queries of one interval overwrite", *INTERP, "E1", "fp",
    ("np.add.at(dfp, seg + 1, w * dout)", "dfp[seg + 1] += w * dout"))
add("interpolation: left and right weights exchanged", *INTERP, "B6", "fp",
    ("np.add.at(dfp, seg, (1 - w) * dout)", "np.add.at(dfp, seg, w * dout)"), also=("C3",), **HIDDEN)
add("interpolation: derivative of an unscaled tanh", *INTERP, "C3", "xq",
    ('(1.9 - c["s"] ** 2 / 1.9)', '(1 - c["s"] ** 2)'), also=("C2",))


# ------------------------------------------------ additive attention pooling with a padding mask

_PAD = np.array([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 0]], dtype=bool)

def bahdanau_forward(H, s, Wh, Ws, v):
    pre = H @ Wh + (s @ Ws)[:, None, :]
    a = np.tanh(pre)
    e = np.where(_PAD, a @ v, -1e9)
    e = e - e.max(axis=1, keepdims=True)
    alpha = np.exp(e) / np.exp(e).sum(axis=1, keepdims=True)
    ctx = np.einsum("bt,btd->bd", alpha, H)
    return ctx, (H, s, Wh, Ws, v, a, alpha)


def bahdanau_backward(dctx, cache):
    H, s, Wh, Ws, v, a, alpha = cache
    dalpha = np.einsum("bd,btd->bt", dctx, H)
    dH = alpha[:, :, None] * dctx[:, None, :]
    de = alpha * (dalpha - (alpha * dalpha).sum(axis=1, keepdims=True))
    dv = np.einsum("bt,bta->a", de, a)
    da = de[:, :, None] * v
    dpre = da * (1 - a**2)
    dWh = np.einsum("btd,bta->da", H, dpre)
    dH += dpre @ Wh.T
    dq = dpre.sum(axis=1)
    dWs = s.T @ dq
    ds = dq @ Ws.T
    return dH, ds, dWh, dWs, dv


BAH = (bahdanau_forward, bahdanau_backward, normal((3, 4, 2), (3, 5), (2, 3), (5, 3), 3))
add("additive attention: diagonal of the softmax", *BAH, "C6", "H s Wh Ws v",
    ("alpha * (dalpha - (alpha * dalpha).sum(axis=1, keepdims=True))", "alpha * (1 - alpha) * dalpha"))
add("additive attention: values' path forgotten", *BAH, "E1", "H",
    ("dH += dpre @ Wh.T", "dH = dpre @ Wh.T"), also=("C8",))
add("additive attention: query of the first step alone", *BAH, "B3", "s Ws",
    ("dq = dpre.sum(axis=1)", "dq = dpre[:, 0]"), also=("C8", "G2", "B4"))


# ------------------------------------------------ embedding bag with weights, mean mode

_BAGS = [[0, 3, 3], [5, 1], [2, 0, 3, 5]]

def bag_forward(E, w):
    out = np.zeros((len(_BAGS), E.shape[1]))
    for i, bag in enumerate(_BAGS):
        for j in bag:
            out[i] += np.exp(w[j]) * E[j]
        out[i] /= len(bag)
    return out, (E, w)


def bag_backward(dout, cache):
    E, w = cache
    dE = np.zeros_like(E)
    dw = np.zeros_like(w)
    for i, bag in enumerate(_BAGS):
        scale = 1.0 / len(bag)
        for j in bag:
            dE[j] += np.exp(w[j]) * scale * dout[i]
            dw[j] += np.exp(w[j]) * scale * (dout[i] @ E[j])
    return dE, dw


BAG = (bag_forward, bag_backward, normal((6, 3), 6))
add("embedding bag: a word twice overwrites", *BAG, "E1", "E", ("dE[j] += np.exp", "dE[j] = np.exp"))
add("embedding bag: sum for the mean", *BAG, "A4", "E w", ("scale = 1.0 / len(bag)", "scale = 1.0"), also=("A2", "A5"))
add("embedding bag: importance not exponentiated", *BAG, "C3", "w",
    ("dw[j] += np.exp(w[j]) * scale", "dw[j] += w[j] * scale"), also=("C1", "B6"), **HIDDEN)


# ------------------------------------------------ discrete-time survival with cumulative products

def surv_forward(a):
    h = 1 / (1 + np.exp(-a))
    S = np.cumprod(1 - h, axis=1)
    Sprev = np.hstack([np.ones((len(a), 1)), S[:, :-1]])
    return Sprev * h, (h, S, Sprev)


def surv_backward(df, cache):
    h, S, Sprev = cache
    dh = df * Sprev
    dSprev = df * h
    dS = np.zeros_like(S)
    dS[:, :-1] = dSprev[:, 1:]
    acc = np.cumsum((dS * S)[:, ::-1], axis=1)[:, ::-1]
    dh = dh - acc / (1 - h)
    return dh * h * (1 - h)


SURV = (surv_forward, surv_backward, normal((3, 5)))
add("survival: cumulated in the wrong direction", *SURV, "B1", "a",
    ("np.cumsum((dS * S)[:, ::-1], axis=1)[:, ::-1]", "np.cumsum(dS * S, axis=1)"), also=("G2", "F1", "B4"))
add("survival: earlier hazards taken for constants", *SURV, "C8", "a",
    ("    dh = dh - acc / (1 - h)\n", "\n"), also=("G1",), **HIDDEN)
add("survival: survival of the wrong interval", *SURV, "G3", "a", ("dh = df * Sprev", "dh = df * S"), also=("B6",))


# ------------------------------------------------ maximum mean discrepancy with an RBF kernel

def rbf(A, B, gamma):
    d2 = (A**2).sum(1)[:, None] + (B**2).sum(1)[None, :] - 2 * A @ B.T
    return np.exp(-gamma * d2), d2


def mmd_forward(X, Y, loggamma):
    gamma = np.exp(loggamma)
    Kxx, Dxx = rbf(X, X, gamma)
    Kyy, Dyy = rbf(Y, Y, gamma)
    Kxy, Dxy = rbf(X, Y, gamma)
    val = Kxx.mean() + Kyy.mean() - 2 * Kxy.mean()
    return val, (X, Y, gamma, Kxx, Kyy, Kxy, Dxx, Dyy, Dxy)


def mmd_backward(g, cache):
    X, Y, gamma, Kxx, Kyy, Kxy, Dxx, Dyy, Dxy = cache
    n, m = len(X), len(Y)
    Gxx = -gamma * g * Kxx / n**2
    Gyy = -gamma * g * Kyy / m**2
    Gxy = 2 * gamma * g * Kxy / (n * m)
    dX = 4 * (Gxx.sum(1)[:, None] * X - Gxx @ X)
    dY = 4 * (Gyy.sum(1)[:, None] * Y - Gyy @ Y)
    dX += 2 * (Gxy.sum(1)[:, None] * X - Gxy @ Y)
    dY += 2 * (Gxy.sum(0)[:, None] * Y - Gxy.T @ X)
    dlog = (Gxx * Dxx).sum() + (Gyy * Dyy).sum() + (Gxy * Dxy).sum()
    return dX, dY, dlog


MMD = (mmd_forward, mmd_backward, lambda rng: (rng.normal(size=(4, 2)), rng.normal(size=(5, 2)), np.array(-0.4)))
add("mmd: X in the kernel once", *MMD, "A4", "X", ("dX = 4 * (Gxx", "dX = 2 * (Gxx"), also=("C8",))
add("mmd: sign of the cross term", *MMD, "A1", "X Y loggamma",
    ("Gxy = 2 * gamma", "Gxy = -2 * gamma"), **HIDDEN)
add("mmd: cross term's bandwidth forgotten", *MMD, "C8", "loggamma", (" + (Gxy * Dxy).sum()", ""))


# ------------------------------------------------ Holt's double exponential smoothing (forecasters)

def holt_forward(y, ra, rb):
    alpha, beta = 1 / (1 + np.exp(-ra)), 1 / (1 + np.exp(-rb))
    lev, tr = [y[0]], [y[1] - y[0]]
    sse, errs = 0.0, []
    for t in range(1, len(y)):
        e = y[t] - lev[-1] - tr[-1]
        errs.append(e)
        sse += e * e
        lev.append(lev[-1] + tr[-1] + alpha * e)
        tr.append(tr[-1] + alpha * beta * e)
    return sse, (errs, alpha, beta)


def holt_backward(g, cache):
    errs, alpha, beta = cache
    n = len(errs) + 1
    dy = np.zeros(n)
    dlev, dtr, dalpha, dbeta = 0.0, 0.0, 0.0, 0.0
    for t in range(n - 1, 0, -1):
        e = errs[t - 1]
        de = 2 * g * e + alpha * dlev + alpha * beta * dtr
        dalpha += e * dlev + beta * e * dtr
        dbeta += alpha * e * dtr
        dy[t] += de
        dtr = dtr + dlev - de
        dlev = dlev - de
    dy[0] += dlev - dtr
    dy[1] += dtr
    return dy, dalpha * alpha * (1 - alpha), dbeta * beta * (1 - beta)


HOLT = (holt_forward, holt_backward, lambda rng: (rng.normal(size=6), np.array(0.3), np.array(-0.5)))
add("Holt: initial trend taken for a constant", *HOLT, "C8", "y", ("    dy[1] += dtr\n", "\n"))
add("Holt: trend's part of alpha forgotten", *HOLT, "C8", "ra",
    ("dalpha += e * dlev + beta * e * dtr", "dalpha += e * dlev"))
add("Holt: level not carried through the trend", *HOLT, "G1", "y ra rb",
    ("dtr = dtr + dlev - de", "dtr = dtr - de"), also=("C8",), **HIDDEN)
add("Holt: error of the next step", *HOLT, "G3", "y ra rb", ("e = errs[t - 1]", "e = errs[t - 2]"))


# ------------------------------------------------ instance norm with PReLU, a class with grads dict

class InstanceNormPReLU:
    """Instance norm over the last axis, then PReLU."""

    def __init__(self, channels):
        rng = np.random.default_rng(3)
        self.params = {"gamma": rng.normal(size=channels) + 1.5, "beta": rng.normal(size=channels),
                       "slope": rng.uniform(0.1, 0.4, size=channels)}
        self.grads = {}
        self.eps = 1e-3

    def forward(self, x):
        """Return the output."""
        mu = x.mean(axis=2, keepdims=True)
        self.inv = 1 / np.sqrt(x.var(axis=2, keepdims=True) + self.eps)
        self.xhat = (x - mu) * self.inv
        self.z = self.params["gamma"][:, None] * self.xhat + self.params["beta"][:, None]
        return np.where(self.z > 0, self.z, self.params["slope"][:, None] * self.z)

    def backward(self, dout):
        """Return the gradient of the input."""
        neg = self.z <= 0
        self.grads["slope"] = np.sum(dout * self.z * neg, axis=(0, 2))
        dz = np.where(neg, self.params["slope"][:, None] * dout, dout)
        self.grads["gamma"] = np.sum(dz * self.xhat, axis=(0, 2))
        self.grads["beta"] = np.sum(dz, axis=(0, 2))
        dxhat = dz * self.params["gamma"][:, None]
        m1 = dxhat.mean(axis=2, keepdims=True)
        m2 = (dxhat * self.xhat).mean(axis=2, keepdims=True)
        return self.inv * (dxhat - m1 - self.xhat * m2)


def add_inorm(name, mistake, paths, *edits, **rest):
    wrong = planted(InstanceNormPReLU, *edits, source=rest.get("source", True))
    add_layer(name, InstanceNormPReLU(3), wrong(3), (2, 3, 5), mistake, paths, **rest)


add_inorm("instance norm: variance taken for a constant", "C7", "x",
          ("(dxhat - m1 - self.xhat * m2)", "(dxhat - m1)"), also=("C8",))
add_inorm("instance norm: slope's gradient on both branches", "C3", "params['slope']",
          ("np.sum(dout * self.z * neg, axis=(0, 2))", "np.sum(dout * self.z, axis=(0, 2))"),
          also=("C1", "E5", "C8"), **HIDDEN)
add_inorm("instance norm: PReLU treated as ReLU", "C3", "x params['gamma'] params['beta']",
          ('np.where(neg, self.params["slope"][:, None] * dout, dout)', "np.where(neg, 0.0, dout)"), also=("C8", "A5"))


# ------------------------------------------------ transposed convolution in one dimension, stride two

def tconv_forward(x, K, b):
    stride, crop = 2, 1
    n, _, L = x.shape
    _, cout, k = K.shape
    full = np.zeros((n, cout, (L - 1) * stride + k))
    for t in range(L):
        full[:, :, t * stride : t * stride + k] += np.tensordot(x[:, :, t], K, axes=(1, 0))
    return full[:, :, crop:-crop] + b[:, None], (x, K, stride, crop)


def tconv_backward(dout, cache):
    x, K, stride, crop = cache
    k = K.shape[2]
    dfull = np.pad(dout, ((0, 0), (0, 0), (crop, crop)))
    dx, dK = np.zeros_like(x), np.zeros_like(K)
    for t in range(x.shape[2]):
        win = dfull[:, :, t * stride : t * stride + k]
        dx[:, :, t] = np.tensordot(win, K, axes=((1, 2), (1, 2)))
        dK += np.tensordot(x[:, :, t], win, axes=(0, 0))
    db = dout.sum(axis=(0, 2))
    return dx, dK, db


TCONV = (tconv_forward, tconv_backward, normal((2, 3, 4), (3, 2, 3), 2))
add("transposed conv: kernel flipped", *TCONV, "F1", "x",
    ("np.tensordot(win, K, axes", "np.tensordot(win, K[:, :, ::-1], axes"))
add("transposed conv: padded on one side", *TCONV, "F3", "x K", ("(0, 0), (crop, crop)))", "(0, 0), (0, 2 * crop)))"))
add("transposed conv: stride of one", *TCONV, "F2", "x K",
    ("win = dfull[:, :, t * stride : t * stride + k]", "win = dfull[:, :, t : t + k]"), **HIDDEN)
add("transposed conv: last position's kernel", *TCONV, "E1", "K", ("dK += np.tensordot", "dK = np.tensordot"))


# ------------------------------------------------ factorisation machine (recommender notebook)

def fm_forward(X, w0, w, V):
    XV = X @ V
    X2V2 = (X**2) @ (V**2)
    y = w0 + X @ w + 0.5 * (XV**2 - X2V2).sum(axis=1)
    return y, (X, w, V, XV)


def fm_backward(dy, cache):
    X, w, V, XV = cache
    dw0 = dy.sum()
    dw = X.T @ dy
    G = dy[:, None] * XV
    dV = X.T @ G - V * ((X**2).T @ dy)[:, None]
    dX = np.outer(dy, w) + G @ V.T
    dX -= dy[:, None] * X * (V**2).sum(axis=1)
    return dX, dw0, dw, dV


FM = (fm_forward, fm_backward, lambda rng: (*normal((5, 4))(rng), np.array(0.2), *normal(4, (4, 3))(rng)))
add("factorisation machine: X not squared in the self-interaction", *FM, "C3", "V",
    ("((X**2).T @ dy)", "(X.T @ dy)"), also=("B6", "C2"))
add("factorisation machine: self-interaction forgotten", *FM, "C8", "X",
    ("    dX -= dy[:, None] * X * (V**2).sum(axis=1)\n", "\n"), **HIDDEN)
add("factorisation machine: summed over the wrong factors", *FM, "B4", "X",
    ("X * (V**2).sum(axis=1)", "X * (V**2).sum()"))


# ------------------------------------------------ Kalman predict and the innovation's likelihood, matrices

def predict_forward(m, A, L, y):
    P0 = np.eye(2) * 0.5
    mp = A @ m
    S = A @ P0 @ A.T + L @ L.T + 0.3 * np.eye(2)
    v = y - mp
    Si = np.linalg.inv(S)
    nll = 0.5 * v @ Si @ v + 0.5 * np.log(np.linalg.det(S))
    return nll, (m, A, L, P0, v, Si)


def predict_backward(g, cache):
    m, A, L, P0, v, Si = cache
    a = Si @ v
    dv = g * a
    dS = 0.5 * g * (Si - np.outer(a, a))
    dmp = -dv
    dA = np.outer(dmp, m)
    dA = dA + 2 * dS @ A @ P0
    dL = 2 * dS @ L
    dm = A.T @ dmp
    return dm, dA, dL, dv


PRED = (predict_forward, predict_backward, normal(2, (2, 2), (2, 2), 2))
add("Kalman predict: A used on one side", *PRED, "A4", "A", ("dA + 2 * dS @ A @ P0", "dA + dS @ A @ P0"), also=("C8",))
add("Kalman predict: log determinant forgotten", *PRED, "C8", "A L",
    ("(Si - np.outer(a, a))", "(-np.outer(a, a))"), **HIDDEN)
add("Kalman predict: transition not transposed", *PRED, "B1", "m", ("A.T @ dmp", "A @ dmp"))


# ------------------------------------------------ distillation with a temperature; soft dice for segmentation

def distil_forward(student, teacher, T=3.0):
    def logsm(z):
        z = z - z.max(-1, keepdims=True)
        return z - np.log(np.exp(z).sum(-1, keepdims=True))

    ls, lt = logsm(student / T), logsm(teacher / T)
    pt = np.exp(lt)
    loss = T**2 * (pt * (lt - ls)).sum(-1).mean()
    return loss, (ls, lt, pt, T)


def distil_backward(g, cache):
    ls, lt, pt, T = cache
    n = len(ls)
    scale = g * T**2 / n
    ds = scale * (np.exp(ls) - pt) / T
    dpt = scale * (lt - ls)
    dt = pt * (dpt - (pt * dpt).sum(-1, keepdims=True)) / T
    return ds, dt


DIST = (distil_forward, distil_backward, normal((4, 5), (4, 5)))
add("distillation: inner temperature forgotten", *DIST, "A4", "student",
    ("(np.exp(ls) - pt) / T", "(np.exp(ls) - pt)"))
add("distillation: teacher's softmax without its diagonal's partner", *DIST, "C6", "teacher",
    ("(dpt - (pt * dpt).sum(-1, keepdims=True))", "dpt"), also=("C8",), **HIDDEN)
add("distillation: averaged twice", *DIST, "A3", "student teacher", ("g * T**2 / n", "g * T**2 / n**2"), also=("A4",))

_MASK = np.array([[1, 0, 1, 1, 0, 0], [0, 0, 1, 0, 1, 1], [1, 1, 0, 0, 0, 1.0]])


def dice_forward(z):
    s = 1.0
    p = 1 / (1 + np.exp(-z))
    num = 2 * (p * _MASK).sum(1) + s
    den = p.sum(1) + _MASK.sum(1) + s
    return np.mean(1 - num / den), (p, num, den)


def dice_backward(g, cache):
    p, num, den = cache
    B = p.shape[0]
    dnum = -g / (B * den)
    dden = g * num / (B * den**2)
    dp = 2 * dnum[:, None] * _MASK
    dp = dp + dden[:, None]
    return dp * p * (1 - p)


DICE = (dice_forward, dice_backward, normal((3, 6)))
add("dice: denominator taken for a constant", *DICE, "C8", "z", ("    dp = dp + dden[:, None]\n", "\n"), also=("C7",))
add("dice: denominator not squared", *DICE, "C3", "z", ("(B * den**2)", "(B * den)"), also=("A5", "B6"))
CASES = tuple(_CASES)
