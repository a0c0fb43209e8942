"""Wrong passes by strangers, written without sight of the explanations: notes, notebooks, science, C and R people."""

import math

import numpy as np

from tests.strangers.case import Case, from_cost, from_layers, normal, planted, planted_case

_CASES = []


def add(*args, **rest):
    _CASES.append(planted_case(*args, **rest))


HIDDEN = {"source": False}


# ---------------------------------------------------------------- autoencoder with tied weights (lecture notes)


def tied_forward(X, W, b, c):
    lam = 0.3
    H = 1 / (1 + np.exp(-(X @ W + b)))
    R = H @ W.T + c
    J = 0.5 * np.sum((R - X) ** 2) / X.shape[0] + 0.5 * lam * np.sum(W**2)
    return J, (X, W, H, R, lam)


def tied_backward(dJ, cache):
    X, W, H, R, lam = cache
    E = dJ * (R - X) / X.shape[0]
    c_grad = E.sum(0)
    dH = E @ W
    delta = dH * H * (1 - H)
    W_grad = X.T @ delta
    W_grad = W_grad + E.T @ H
    W_grad = W_grad + dJ * lam * W
    b_grad = delta.sum(0)
    X_grad = delta @ W.T - E
    return X_grad, W_grad, b_grad, c_grad


tied_args = normal((6, 5), (5, 3), 3, 5)
add("tied autoencoder: decoder's use of W forgotten", tied_forward, tied_backward, tied_args, "C8", "W",
    ("    W_grad = W_grad + E.T @ H\n", "\n"), also=("E1",))
add("tied autoencoder: weight decay forgotten", tied_forward, tied_backward, tied_args, "D1", "W",
    ("    W_grad = W_grad + dJ * lam * W\n", "\n"), also=("C8",), **HIDDEN)
add("tied autoencoder: X as target forgotten", tied_forward, tied_backward, tied_args, "C8", "X",
    ("delta @ W.T - E", "delta @ W.T"))
add("tied autoencoder: sigmoid' of its own output", tied_forward, tied_backward, tied_args, "C3", "X W b",
    ("dH * H * (1 - H)", "dH * (1 - H)"), also=("C1",))


# ---------------------------------------------------------------- variational autoencoder, the latent part (PyTorch people)

_EPS = np.random.default_rng(5).standard_normal((4, 3))


def vae_forward(mu, logvar, D, x):
    std = np.exp(0.5 * logvar)
    z = mu + std * _EPS
    xhat = np.tanh(z @ D)
    rec = ((xhat - x) ** 2).sum()
    kl = -0.5 * (1 + logvar - mu**2 - np.exp(logvar)).sum()
    return (rec + kl) / len(x), dict(mu=mu, logvar=logvar, std=std, z=z, D=D, xhat=xhat, x=x)


def vae_backward(g, c):
    g = g / len(c["x"])
    dxhat = 2 * g * (c["xhat"] - c["x"])
    dx = -dxhat
    dpre = dxhat * (1 - c["xhat"] ** 2)
    dD = c["z"].T @ dpre
    dz = dpre @ c["D"].T
    dmu = dz.copy()
    dlogvar = dz * _EPS * 0.5 * c["std"]
    dmu += g * c["mu"]
    dlogvar += g * 0.5 * (np.exp(c["logvar"]) - 1)
    return dmu, dlogvar, dD, dx


vae_args = normal((4, 3), (4, 3), (3, 5), (4, 5))
add("vae: half of the log variance", vae_forward, vae_backward, vae_args, "A4", "logvar",
    ("_EPS * 0.5 * c", "_EPS * c"))
add("vae: KL of the mean forgotten", vae_forward, vae_backward, vae_args, "C8", "mu",
    ('    dmu += g * c["mu"]\n', ""), also=("D1",), **HIDDEN)
add("vae: sign of the KL", vae_forward, vae_backward, vae_args, "A1", "logvar",
    ('0.5 * (np.exp(c["logvar"]) - 1)', '0.5 * (1 - np.exp(c["logvar"]))'))
add("vae: noise forgotten in the std", vae_forward, vae_backward, vae_args, "A5", "logvar",
    ('dz * _EPS * 0.5', 'dz * 0.5'), also=("B6", "C3", "C8", "E5"))


# ---------------------------------------------------------------- SimCLR-like contrastive loss


def nce_forward(u, v, tau=0.5):
    nu = np.linalg.norm(u, axis=1, keepdims=True)
    nv = np.linalg.norm(v, axis=1, keepdims=True)
    a, b = u / nu, v / nv
    s = a @ b.T / tau
    pr = np.exp(s - s.max(1, keepdims=True))
    pr /= pr.sum(1, keepdims=True)
    pc = np.exp(s - s.max(0, keepdims=True))
    pc /= pc.sum(0, keepdims=True)
    i = np.arange(len(u))
    loss = -0.5 * (np.log(pr[i, i]).mean() + np.log(pc[i, i]).mean())
    return loss, (a, b, nu, nv, pr, pc, tau)


def nce_backward(up, cache):
    a, b, nu, nv, pr, pc, tau = cache
    n = a.shape[0]
    eye = np.eye(n)
    ds = (pr - eye) / n
    ds = ds + (pc - eye) / n
    ds = 0.5 * up * ds
    da = ds @ b / tau
    db = ds.T @ a / tau
    du = (da - a * (a * da).sum(1, keepdims=True)) / nu
    dv = (db - b * (b * db).sum(1, keepdims=True)) / nv
    return du, dv


nce_args = normal((5, 3), (5, 3))
add("contrastive: temperature forgotten", nce_forward, nce_backward, nce_args, "A4", "u",
    ("ds @ b / tau", "ds @ b"), also=("A5",))
add("contrastive: one direction only", nce_forward, nce_backward, nce_args, "C8", "u v",
    ("    ds = ds + (pc - eye) / n\n", "\n"), also=("E1",), **HIDDEN)
add("contrastive: norm taken for a constant", nce_forward, nce_backward, nce_args, "C8", "v",
    ("(db - b * (b * db).sum(1, keepdims=True)) / nv", "db / nv"), also=("C7",))
add("contrastive: similarity not transposed", nce_forward, nce_backward, nce_args, "B1", "v",
    ("ds.T @ a", "ds @ a"), **HIDDEN)


# ---------------------------------------------------------------- triplet loss (Kaggle notebook)


def triplet_forward(anc, pos, neg):
    margin = 1.0
    dp = ((anc - pos) ** 2).sum(axis=1)
    dn = ((anc - neg) ** 2).sum(axis=1)
    h = np.maximum(0, dp - dn + margin)
    return h.mean(), (anc, pos, neg, h)


def triplet_backward(grad_loss, cache):
    anc, pos, neg, h = cache
    n = len(h)
    active = (h > 0).astype(float)[:, None]
    scale = grad_loss * active / n
    g_pos = -2 * scale * (anc - pos)
    g_neg = 2 * scale * (anc - neg)
    g_anc = -g_pos - g_neg
    return g_anc, g_pos, g_neg


triplet_args = normal((8, 4), (8, 4), (8, 4))
add("triplet: inactive triplets count", triplet_forward, triplet_backward, triplet_args, "C1", "anc pos neg",
    ("grad_loss * active / n", "grad_loss / n"))
add("triplet: anchor sees the positive only", triplet_forward, triplet_backward, triplet_args, "C8", "anc",
    ("-g_pos - g_neg", "-g_pos"))
add("triplet: sign of the negative", triplet_forward, triplet_backward, triplet_args, "A1", "neg anc",
    ("g_neg = 2 * scale", "g_neg = -2 * scale"), **HIDDEN)
add("triplet: divided by the active ones", triplet_forward, triplet_backward, triplet_args, "A2", "anc pos neg",
    ("n = len(h)", "n = (h > 0).sum()"), also=("A4",))


# ---------------------------------------------------------------- focal loss on logits


def focal_forward(logit, t):
    gamma, alpha = 2.0, 0.25
    p = 1 / (1 + np.exp(-logit))
    pt = np.where(t == 1, p, 1 - p)
    at = np.where(t == 1, alpha, 1 - alpha)
    loss = -at * (1 - pt) ** gamma * np.log(pt)
    return loss.sum() / t.size, (p, pt, at, t, gamma)


def focal_backward(dl, cache):
    p, pt, at, t, gamma = cache
    dl = dl / t.size
    d_log = -at * (1 - pt) ** gamma / pt
    d_mod = at * gamma * (1 - pt) ** (gamma - 1) * np.log(pt)
    dpt = dl * (d_log + d_mod)
    sign = np.where(t == 1, 1.0, -1.0)
    dp = dpt * sign
    return dp * p * (1 - p)


def focal_args(rng):
    return rng.standard_normal((4, 3)), (np.arange(12).reshape(4, 3) % 3 == 0).astype(int)


add("focal: modulating factor taken for a constant", focal_forward, focal_backward, focal_args, "C8", "logit",
    ("dl * (d_log + d_mod)", "dl * d_log"))
add("focal: class of the negatives", focal_forward, focal_backward, focal_args, "A1", "logit",
    ("dp = dpt * sign", "dp = dpt"), also=("C8", "C3"), **HIDDEN)
add("focal: exponent not lowered", focal_forward, focal_backward, focal_args, "C3", "logit",
    ("(gamma - 1)", "gamma"))
add("focal: sigmoid' forgotten", focal_forward, focal_backward, focal_args, "C1", "logit",
    ("return dp * p * (1 - p)", "return dp"))


# ---------------------------------------------------------------- linear-chain CRF, in log space


def _lse(x, axis):
    m = x.max(axis=axis, keepdims=True)
    return np.squeeze(m, axis) + np.log(np.exp(x - m).sum(axis=axis))


def crf_forward(emit, trans, tags):
    T, K = emit.shape
    alpha = np.zeros((T, K))
    alpha[0] = emit[0]
    for t in range(1, T):
        alpha[t] = emit[t] + _lse(alpha[t - 1][:, None] + trans, 0)
    logZ = _lse(alpha[-1], 0)
    gold = emit[np.arange(T), tags].sum() + trans[tags[:-1], tags[1:]].sum()
    return logZ - gold, (emit, trans, tags, alpha, logZ)


def crf_backward(d, cache):
    emit, trans, tags, alpha, logZ = cache
    T, K = emit.shape
    beta = np.zeros((T, K))
    for t in range(T - 2, -1, -1):
        beta[t] = _lse(trans + emit[t + 1] + beta[t + 1], 1)
    d_emit = np.exp(alpha + beta - logZ)
    d_trans = np.zeros((K, K))
    for t in range(1, T):
        pair = alpha[t - 1][:, None] + trans + emit[t] + beta[t]
        d_trans += np.exp(pair - logZ)
    for t in range(T):
        d_emit[t, tags[t]] -= 1
    for t in range(T - 1):
        d_trans[tags[t], tags[t + 1]] -= 1
    return d * d_emit, d * d_trans


def crf_args(rng):
    return rng.standard_normal((6, 3)), rng.standard_normal((3, 3)), np.array([0, 2, 2, 1, 0, 2])


add("crf: beta of the step before", crf_forward, crf_backward, crf_args, "G3", "trans",
    ("emit[t] + beta[t]", "emit[t] + beta[t - 1]"))
add("crf: transitions transposed", crf_forward, crf_backward, crf_args, "B1", "emit trans",
    ("_lse(trans + emit[t + 1]", "_lse(trans.T + emit[t + 1]"))
add("crf: gold transitions transposed", crf_forward, crf_backward, crf_args, "B1", "trans",
    ("d_trans[tags[t], tags[t + 1]] -= 1", "d_trans[tags[t + 1], tags[t]] -= 1"), also=("F5", "B6"), **HIDDEN)
add("crf: last pair only", crf_forward, crf_backward, crf_args, "E1", "trans",
    ("d_trans += np.exp(pair - logZ)", "d_trans = np.exp(pair - logZ)"))
add("crf: gold path forgotten", crf_forward, crf_backward, crf_args, "C8", "trans",
    ("    for t in range(T - 1):\n        d_trans[tags[t], tags[t + 1]] -= 1\n", "\n"))


# ---------------------------------------------------------------- soft-DTW (C programmer)


def sdtw_forward(x, y):
    gamma = 0.7
    n, m = len(x), len(y)
    D = np.zeros((n + 2, m + 2))
    for i in range(n):
        for j in range(m):
            D[i + 1, j + 1] = ((x[i] - y[j]) ** 2).sum()
    R = np.full((n + 2, m + 2), 1e10)
    R[0, 0] = 0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            v = np.array([R[i - 1, j - 1], R[i - 1, j], R[i, j - 1]]) / -gamma
            k = v.max()
            R[i, j] = D[i, j] - gamma * (k + math.log(np.exp(v - k).sum()))
    return R[n, m], (x, y, D, R, gamma)


def sdtw_backward(dout, cache):
    x, y, D, R, gamma = cache
    n, m = len(x), len(y)
    R = R.copy()
    E = np.zeros((n + 2, m + 2))
    E[n + 1, m + 1] = 1
    R[:, m + 1] = R[n + 1, :] = -1e10
    R[n + 1, m + 1] = R[n, m]
    for i in range(n, 0, -1):
        for j in range(m, 0, -1):
            a = np.exp((R[i + 1, j] - R[i, j] - D[i + 1, j]) / gamma)
            b = np.exp((R[i, j + 1] - R[i, j] - D[i, j + 1]) / gamma)
            c = np.exp((R[i + 1, j + 1] - R[i, j] - D[i + 1, j + 1]) / gamma)
            E[i, j] = a * E[i + 1, j] + b * E[i, j + 1] + c * E[i + 1, j + 1]
    dx = np.zeros_like(x)
    dy = np.zeros_like(y)
    for i in range(n):
        for j in range(m):
            g = 2 * dout * E[i + 1, j + 1] * (x[i] - y[j])
            dx[i] += g
            dy[j] -= g
    return dx, dy


sdtw_args = normal((4, 2), (5, 2))
add("soft-dtw: diagonal step forgotten", sdtw_forward, sdtw_backward, sdtw_args, "C8", "x y",
    (" + c * E[i + 1, j + 1]", ""))
add("soft-dtw: padding of E is read", sdtw_forward, sdtw_backward, sdtw_args, "G3", "x y",
    ("g = 2 * dout * E[i + 1, j + 1]", "g = 2 * dout * E[i, j]"), also=("F3", "B6"), **HIDDEN)
add("soft-dtw: dy assigned", sdtw_forward, sdtw_backward, sdtw_args, "E1", "y",
    ("dy[j] -= g", "dy[j] = -g"))
add("soft-dtw: gamma forgotten", sdtw_forward, sdtw_backward, sdtw_args, "A4", "x y",
    ("a = np.exp((R[i + 1, j] - R[i, j] - D[i + 1, j]) / gamma)", "a = np.exp(R[i + 1, j] - R[i, j] - D[i + 1, j])"),
    also=("C3", "C2", "A5"))


# ---------------------------------------------------------------- Gaussian process: log marginal likelihood

_GP_X = np.linspace(-1.0, 2.0, 7)


def gp_forward(theta, y):
    # theta = log lengthscale, log signal std, log noise std
    ell, sf, sn = np.exp(theta)
    d2 = (_GP_X[:, None] - _GP_X[None, :]) ** 2
    Kf = sf**2 * np.exp(-0.5 * d2 / ell**2)
    K = Kf + sn**2 * np.eye(len(y))
    L = np.linalg.cholesky(K)
    alpha = np.linalg.solve(K, y)
    nll = 0.5 * y @ alpha + np.log(np.diag(L)).sum()
    return nll, (d2, Kf, K, alpha, ell, sf, sn)


def gp_backward(dnll, cache):
    d2, Kf, K, alpha, ell, sf, sn = cache
    Kinv = np.linalg.inv(K)
    dK = 0.5 * (Kinv - np.outer(alpha, alpha))
    dtheta = np.zeros(3)
    dtheta[0] = np.sum(dK * Kf * d2) / ell**2
    dtheta[1] = 2 * np.sum(dK * Kf)
    dtheta[2] = 2 * sn**2 * np.trace(dK)
    return dnll * dtheta, dnll * alpha


def gp_args(rng):
    return np.array([-0.3, 0.2, -0.7]) + 0.1 * rng.standard_normal(3), rng.standard_normal(7)


add("gp: half forgotten", gp_forward, gp_backward, gp_args, "A4", "theta",
    ("dK = 0.5 * (Kinv", "dK = (Kinv"))
add("gp: determinant's term forgotten", gp_forward, gp_backward, gp_args, "C8", "theta",
    ("0.5 * (Kinv - np.outer(alpha, alpha))", "-0.5 * np.outer(alpha, alpha)"), **HIDDEN)
add("gp: sign between the two terms", gp_forward, gp_backward, gp_args, "A1", "theta",
    ("Kinv - np.outer", "Kinv + np.outer"))
add("gp: derivative for the lengthscale, not its logarithm", gp_forward, gp_backward, gp_args, "C3", "theta",
    ("np.sum(dK * Kf * d2) / ell**2", "np.sum(dK * Kf * d2) / ell**3"), also=("A4", "A5", "C1"))


# ---------------------------------------------------------------- Kalman filter, scalar state, in reverse

_KF_Y = np.array([0.3, -0.8, 1.1, 0.9, -0.2])


def kf_forward(p, x0):
    a, q, r = p
    x, P = x0[0], 1.0
    tape, nll = [], 0.0
    for y in _KF_Y:
        xp, Pp = a * x, a * a * P + q
        v, S = y - xp, Pp + r
        K = Pp / S
        tape.append((x, P, Pp, v, S, K))
        nll += 0.5 * (np.log(S) + v * v / S)
        x, P = xp + K * v, (1 - K) * Pp
    return nll, (tape, a)


def kf_backward(bar, cache):
    tape, a = cache
    da = dq = dr = 0.0
    dx = dP = 0.0
    for x, P, Pp, v, S, K in reversed(tape):
        dxp = dx
        dK = dx * v - dP * Pp
        dv = dx * K + bar * v / S
        dPp = dP * (1 - K) + dK / S
        dS = bar * 0.5 * (1 / S - v * v / S**2) - dK * Pp / S**2
        dPp += dS
        dr += dS
        dxp -= dv
        da += dxp * x + dPp * 2 * a * P
        dq += dPp
        dx = dxp * a
        dP = dPp * a * a
    return np.array([da, dq, dr]), np.array([dx])


def kf_args(rng):
    return np.array([0.8, 0.4, 0.6]) + 0.1 * rng.random(3), rng.standard_normal(1)


add("kalman: gain taken for a constant in P", kf_forward, kf_backward, kf_args, "C8", "p",
    ("dK = dx * v - dP * Pp", "dK = dx * v"))
add("kalman: square of a", kf_forward, kf_backward, kf_args, "A4", "p",
    ("dPp * 2 * a * P", "dPp * a * P"), also=("C3",))
add("kalman: covariance does not flow back", kf_forward, kf_backward, kf_args, "G1", "p",
    ("        dP = dPp * a * a\n", "\n"), also=("C8",), **HIDDEN)
add("kalman: innovation's sign", kf_forward, kf_backward, kf_args, "A1", "p x0",
    ("dxp -= dv", "dxp += dv"), **HIDDEN)


# ---------------------------------------------------------------- one RK4 step of a neural ODE


def rk4_forward(x, W, b):
    h = 0.2
    f = lambda s: np.tanh(W @ s + b)
    s1 = x
    k1 = f(s1)
    s2 = x + h / 2 * k1
    k2 = f(s2)
    s3 = x + h / 2 * k2
    k3 = f(s3)
    s4 = x + h * k3
    k4 = f(s4)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), (W, h, [s1, s2, s3, s4], [k1, k2, k3, k4])


def rk4_backward(lam, cache):
    W, h, s, k = cache
    gW, gb = np.zeros_like(W), np.zeros(len(lam))
    gx = lam.copy()

    def vjp(i, gk):
        nonlocal gW, gb, gx
        pre = gk * (1 - k[i] ** 2)
        gW += np.outer(pre, s[i])
        gb += pre
        gs = W.T @ pre
        gx += gs
        return gs

    g4 = vjp(3, h / 6 * lam)
    g3 = vjp(2, h / 3 * lam + h * g4)
    g2 = vjp(1, h / 3 * lam + h / 2 * g3)
    vjp(0, h / 6 * lam + h / 2 * g2)
    return gx, gW, gb


rk4_args = normal(3, (3, 3), 3)
add("rk4: full step in the middle", rk4_forward, rk4_backward, rk4_args, "A4", "x W b",
    ("h / 2 * g3", "h * g3"))
add("rk4: stages take x for constant", rk4_forward, rk4_backward, rk4_args, "C8", "x",
    ("        gx += gs\n", "\n"), also=("E1",))
add("rk4: stage of another index", rk4_forward, rk4_backward, rk4_args, "G3", "W",
    ("np.outer(pre, s[i])", "np.outer(pre, s[0])"), also=("B6", "C4"), **HIDDEN)
add("rk4: W not transposed", rk4_forward, rk4_backward, rk4_args, "B1", "x W b",
    ("W.T @ pre", "W @ pre"))


# ---------------------------------------------------------------- Burgers' equation, finite volumes, periodic


def burgers_forward(u):
    c = 0.1
    hist = [u]
    for _ in range(3):
        f = 0.5 * u * u
        F = 0.5 * (f + np.roll(f, -1)) - 0.5 * (np.roll(u, -1) - u)
        u = u - c * (F - np.roll(F, 1))
        hist.append(u)
    return u, (hist, c)


def burgers_backward(ubar, cache):
    hist, c = cache
    for u in hist[-2::-1]:
        Fbar = -c * (ubar - np.roll(ubar, -1))
        fbar = 0.5 * (Fbar + np.roll(Fbar, 1))
        new = ubar + 0.5 * Fbar
        new = new - 0.5 * np.roll(Fbar, 1)
        new = new + fbar * u
        ubar = new
    return ubar


burgers_args = normal(8)
add("burgers: rolled the forward's way", burgers_forward, burgers_backward, burgers_args, "F1", "u",
    ("ubar - np.roll(ubar, -1)", "ubar - np.roll(ubar, 1)"), also=("B1", "A1", "G3"))
add("burgers: flux' forgotten", burgers_forward, burgers_backward, burgers_args, "C1", "u",
    ("fbar * u", "fbar"), also=("C3",))
add("burgers: identity path forgotten", burgers_forward, burgers_backward, burgers_args, "C8", "u",
    ("new = ubar + 0.5 * Fbar", "new = 0.5 * Fbar"), **HIDDEN)
add("burgers: state after the step", burgers_forward, burgers_backward, burgers_args, "G3", "u",
    ("hist[-2::-1]", "hist[-1:0:-1]"), also=("C2", "G2"))


# ---------------------------------------------------------------- multiclass SVM, two loops (a course)




def svm_loss(W, X, y, reg=0.2):
    dW = np.zeros(W.shape)
    dX = np.zeros(X.shape)
    num_classes = W.shape[1]
    num_train = X.shape[0]
    loss = 0.0
    for i in range(num_train):
        scores = X[i].dot(W)
        correct = scores[y[i]]
        for j in range(num_classes):
            if j == y[i]:
                continue
            margin = scores[j] - correct + 1
            if margin > 0:
                loss += margin
                dW[:, j] += X[i]
                dW[:, y[i]] -= X[i]
                dX[i] += W[:, j] - W[:, y[i]]
    loss = loss / num_train + reg * np.sum(W * W)
    dW = dW / num_train + 2 * reg * W
    dX = dX / num_train
    return loss, dW, dX


def svm_args(rng):
    return rng.standard_normal((4, 5)), rng.standard_normal((6, 4)), np.array([0, 3, 1, 2, 4, 4])


def add_cost(name, right, args, mistake, wrong, *edits, **rest):
    bad = planted(right, *edits, source=rest.get("source", True))
    _CASES.append(Case(name, *from_cost(right, bad), args, mistake, tuple(wrong.split()), **rest))


add_cost("svm loops: true class only once", svm_loss, svm_args, "E1", "W",
    ("dW[:, y[i]] -= X[i]", "dW[:, y[i]] = -X[i]"))
add_cost("svm loops: N forgotten in dW", svm_loss, svm_args, "A2", "W",
    ("dW = dW / num_train + 2", "dW = dW + 2"))
add_cost("svm loops: 2 of the regulariser", svm_loss, svm_args, "D1", "W",
    ("+ 2 * reg * W", "+ reg * W"), also=("A4",), **HIDDEN)
add_cost("svm loops: true class in X forgotten", svm_loss, svm_args, "C8", "X",
    ("dX[i] += W[:, j] - W[:, y[i]]", "dX[i] += W[:, j]"))


# ---------------------------------------------------------------- regularised logistic regression (MATLAB people)


def cost_function_reg(theta, X, y, lam=0.7):
    m = y.shape[0]
    h = 1.0 / (1.0 + np.exp(-np.dot(X, theta)))
    J = (-1.0 / m) * np.sum(y * np.log(h) + (1 - y) * np.log(1 - h))
    J = J + lam / (2.0 * m) * np.sum(theta[1:] ** 2)
    error = h - y
    grad = np.dot(X.T, error) / m
    grad[1:] = grad[1:] + lam / m * theta[1:]
    X_grad = np.outer(error, theta) / m
    return J, grad, X_grad


def logreg_args(rng):
    return rng.standard_normal(4), rng.standard_normal((7, 4)), np.array([0, 1, 1, 0, 1, 0, 0])


add_cost("logreg matlab: theta_0 regularised", cost_function_reg, logreg_args, "D2", "theta",
    ("grad[1:] = grad[1:] + lam / m * theta[1:]", "grad = grad + lam / m * theta"), also=("D1",))
add_cost("logreg matlab: m of the regulariser", cost_function_reg, logreg_args, "D1", "theta",
    ("+ lam / m * theta[1:]", "+ lam * theta[1:]"), also=("A2",), **HIDDEN)
add_cost("logreg matlab: y - h", cost_function_reg, logreg_args, "A1", "theta X",
    ("error = h - y", "error = y - h"))
add_cost("logreg matlab: regulariser overwrites", cost_function_reg, logreg_args, "E1", "theta",
    ("grad[1:] = grad[1:] + lam / m * theta[1:]", "grad[1:] = lam / m * theta[1:]"), also=("C8",))


# ---------------------------------------------------------------- matrix factorisation with biases (recommender)

_R_USER = np.array([0, 0, 1, 2, 2, 3, 3, 3])
_R_ITEM = np.array([1, 2, 2, 0, 4, 1, 3, 4])
_R = np.array([4.0, 3.0, 5.0, 1.0, 2.0, 4.0, 4.0, 3.0])


def mf_forward(P, Q, bu, bi):
    reg = 0.1
    pred = 3.2 + bu[_R_USER] + bi[_R_ITEM] + np.einsum("nk,nk->n", P[_R_USER], Q[_R_ITEM])
    err = _R - pred
    loss = 0.5 * np.dot(err, err) + 0.5 * reg * (np.sum(P**2) + np.sum(Q**2))
    return loss, {"P": P, "Q": Q, "err": err, "bu": bu, "bi": bi, "reg": reg}


def mf_backward(gloss, cache):
    P, Q, err, reg = cache["P"], cache["Q"], gloss * cache["err"], cache["reg"]
    gP = gloss * reg * P
    gQ = gloss * reg * Q
    gbu, gbi = np.zeros_like(cache["bu"]), np.zeros_like(cache["bi"])
    np.add.at(gP, _R_USER, -err[:, None] * Q[_R_ITEM])
    np.add.at(gQ, _R_ITEM, -err[:, None] * P[_R_USER])
    np.add.at(gbu, _R_USER, -err)
    np.add.at(gbi, _R_ITEM, -err)
    return gP, gQ, gbu, gbi


mf_args = normal((4, 3), (5, 3), 4, 5)
add("recommender: repeated users", mf_forward, mf_backward, mf_args, "E1", "bu",
    ("np.add.at(gbu, _R_USER, -err)", "gbu[_R_USER] += -err"))
add("recommender: repeated items overwritten", mf_forward, mf_backward, mf_args, "E1", "Q",
    ("np.add.at(gQ, _R_ITEM, -err[:, None] * P[_R_USER])", "gQ[_R_ITEM] += -err[:, None] * P[_R_USER]"), **HIDDEN)
add("recommender: gP of its own factors", mf_forward, mf_backward, mf_args, "B6", "P",
    ("-err[:, None] * Q[_R_ITEM]", "-err[:, None] * P[_R_USER]"))
add("recommender: sign of the error in the bias", mf_forward, mf_backward, mf_args, "A1", "bi",
    ("np.add.at(gbi, _R_ITEM, -err)", "np.add.at(gbi, _R_ITEM, err)"))
add("recommender: factors of items not decayed", mf_forward, mf_backward, mf_args, "D1", "Q",
    ("gQ = gloss * reg * Q", "gQ = np.zeros_like(Q)"), also=("C8",), **HIDDEN)


# ---------------------------------------------------------------- graph convolution, two layers

_ADJ = np.array([[1, 1, 0, 0, 1], [1, 1, 1, 0, 0], [0, 1, 1, 1, 1], [0, 0, 1, 1, 0], [1, 0, 1, 0, 1]], dtype=float)
_A_HAT = _ADJ / _ADJ.sum(1, keepdims=True)


class GCN:
    def __init__(self, rng):
        self.W0 = rng.standard_normal((3, 6))
        self.W1 = rng.standard_normal((6, 2))
        self.dW0 = np.zeros_like(self.W0)
        self.dW1 = np.zeros_like(self.W1)

    def forward(self, H):
        self.H = H
        self.AH = _A_HAT @ H
        self.Z0 = self.AH @ self.W0
        self.H1 = np.maximum(self.Z0, 0)
        self.AH1 = _A_HAT @ self.H1
        return self.AH1 @ self.W1

    def backward(self, G):
        self.dW1 = self.AH1.T @ G
        dH1 = _A_HAT.T @ (G @ self.W1.T)
        dZ0 = dH1 * (self.Z0 > 0)
        self.dW0 = self.AH.T @ dZ0
        return _A_HAT.T @ dZ0 @ self.W0.T


def add_layer(name, right, args, mistake, wrong, *edits, **rest):
    bad = planted(right, *edits, source=rest.get("source", True))
    rng = np.random.default_rng
    _CASES.append(Case(name, *from_layers(right(rng(3)), bad(rng(3))), args, mistake, tuple(wrong.split()), **rest))


def gcn_args(rng):
    r = rng.standard_normal
    return r((5, 3)), {"W0": r((3, 6)), "W1": r((6, 2))}


add_layer("gcn: adjacency not transposed", GCN, gcn_args, "B1", "H params['W0']",
    ("dH1 = _A_HAT.T @", "dH1 = _A_HAT @"), also=("F5",))
add_layer("gcn: neighbours forgotten in dW1", GCN, gcn_args, "B6", "params['W1']",
    ("self.AH1.T @ G", "self.H1.T @ G"), also=("C4", "F5"), **HIDDEN)
add_layer("gcn: relu of the second layer's input", GCN, gcn_args, "C2", "H params['W0']",
    ("(self.Z0 > 0)", "(self.AH1 > 0)"), also=("C4", "C1"))
add_layer("gcn: last aggregation forgotten", GCN, gcn_args, "F5", "H",
    ("return _A_HAT.T @ dZ0 @ self.W0.T", "return dZ0 @ self.W0.T"), also=("C8", "B6"))


# ---------------------------------------------------------------- edge messages, scatter and gather

_SRC = np.array([0, 1, 1, 2, 3, 3, 4])
_DST = np.array([1, 0, 2, 3, 2, 4, 0])


def edges_forward(h, We, W):
    diff = h[_SRC] - h[_DST]
    msg = np.tanh(diff @ We)
    agg = np.zeros((h.shape[0], msg.shape[1]))
    np.add.at(agg, _DST, msg)
    return h @ W + agg, (h, We, W, diff, msg)


def edges_backward(dout, saved):
    h, We, W, diff, msg = saved
    dW = h.T @ dout
    dh = dout @ W.T
    dmsg = dout[_DST]
    dpre = dmsg * (1 - msg * msg)
    dWe = diff.T @ dpre
    ddiff = dpre @ We.T
    np.add.at(dh, _SRC, ddiff)
    np.subtract.at(dh, _DST, ddiff)
    return dh, dWe, dW


edges_args = normal((5, 3), (3, 4), (3, 4))
add("edges: gathered at the source", edges_forward, edges_backward, edges_args, "B6", "h We",
    ("dmsg = dout[_DST]", "dmsg = dout[_SRC]"), also=("F5", "B1"))
add("edges: repeated sources", edges_forward, edges_backward, edges_args, "E1", "h",
    ("np.add.at(dh, _SRC, ddiff)", "dh[_SRC] += ddiff"))
add("edges: both ends positive", edges_forward, edges_backward, edges_args, "A1", "h",
    ("np.subtract.at", "np.add.at"))
add("edges: the node's own path overwritten", edges_forward, edges_backward, edges_args, "E1", "h",
    ("    np.add.at(dh, _SRC, ddiff)", "    dh = np.zeros_like(h)\n    np.add.at(dh, _SRC, ddiff)"), also=("C8",), **HIDDEN)


# ---------------------------------------------------------------- warping an image bilinearly along a flow


def warp_forward(img, flow):
    h, w = img.shape
    out = np.zeros((h - 2, w - 2))
    for r in range(1, h - 1):
        for c in range(1, w - 1):
            y = r + 0.9 * np.tanh(flow[0, r - 1, c - 1])
            x = c + 0.9 * np.tanh(flow[1, r - 1, c - 1])
            y0, x0 = int(np.floor(y)), int(np.floor(x))
            fy, fx = y - y0, x - x0
            top = (1 - fx) * img[y0, x0] + fx * img[y0, x0 + 1]
            bot = (1 - fx) * img[y0 + 1, x0] + fx * img[y0 + 1, x0 + 1]
            out[r - 1, c - 1] = (1 - fy) * top + fy * bot
    return out, (img, flow)


def warp_backward(dout, cache):
    img, flow = cache
    h, w = img.shape
    dimg = np.zeros_like(img)
    dflow = np.zeros_like(flow)
    for r in range(1, h - 1):
        for c in range(1, w - 1):
            sy, sx = np.tanh(flow[:, r - 1, c - 1])
            y, x = r + 0.9 * sy, c + 0.9 * sx
            y0, x0 = int(np.floor(y)), int(np.floor(x))
            fy, fx = y - y0, x - x0
            g = dout[r - 1, c - 1]
            dimg[y0, x0] += g * (1 - fy) * (1 - fx)
            dimg[y0, x0 + 1] += g * (1 - fy) * fx
            dimg[y0 + 1, x0] += g * fy * (1 - fx)
            dimg[y0 + 1, x0 + 1] += g * fy * fx
            top = (1 - fx) * img[y0, x0] + fx * img[y0, x0 + 1]
            bot = (1 - fx) * img[y0 + 1, x0] + fx * img[y0 + 1, x0 + 1]
            left = (1 - fy) * img[y0, x0] + fy * img[y0 + 1, x0]
            right = (1 - fy) * img[y0, x0 + 1] + fy * img[y0 + 1, x0 + 1]
            dflow[0, r - 1, c - 1] = g * (bot - top) * 0.9 * (1 - sy**2)
            dflow[1, r - 1, c - 1] = g * (right - left) * 0.9 * (1 - sx**2)
    return dimg, dflow


warp_args = normal((4, 6), (2, 2, 4))
add("warp: last writer wins", warp_forward, warp_backward, warp_args, "E1", "img",
    ("dimg[y0 + 1, x0] += g", "dimg[y0 + 1, x0] = g"))
add("warp: flow's components exchanged", warp_forward, warp_backward, warp_args, "F4", "flow",
    ("g * (bot - top) * 0.9 * (1 - sy**2)", "g * (right - left) * 0.9 * (1 - sy**2)"), also=("B6", "B5"))
add("warp: weights of two corners exchanged", warp_forward, warp_backward, warp_args, "F4", "img",
    ("g * (1 - fy) * fx", "g * fy * (1 - fx)"), also=("B6", "B1", "A5"), **HIDDEN)
add("warp: squashing of the flow forgotten", warp_forward, warp_backward, warp_args, "C1", "flow",
    ("(right - left) * 0.9 * (1 - sx**2)", "(right - left) * 0.9"))


# ---------------------------------------------------------------- rotating points by a quaternion that is normalised


def quat_matrix(q):
    w, x, y, z = q
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])


def quat_forward(q, t, pts):
    n = np.sqrt(q @ q)
    u = q / n
    R = quat_matrix(u)
    return pts @ R.T + t, (u, n, R, pts)


def quat_backward(dout, cache):
    u, n, R, pts = cache
    w, x, y, z = u
    G = dout.T @ pts
    dw = 2 * (x * (G[2, 1] - G[1, 2]) + y * (G[0, 2] - G[2, 0]) + z * (G[1, 0] - G[0, 1]))
    dx = 2 * (-2 * x * (G[1, 1] + G[2, 2]) + y * (G[0, 1] + G[1, 0]) + z * (G[0, 2] + G[2, 0]) + w * (G[2, 1] - G[1, 2]))
    dy = 2 * (-2 * y * (G[0, 0] + G[2, 2]) + x * (G[0, 1] + G[1, 0]) + z * (G[1, 2] + G[2, 1]) + w * (G[0, 2] - G[2, 0]))
    dz = 2 * (-2 * z * (G[0, 0] + G[1, 1]) + x * (G[0, 2] + G[2, 0]) + y * (G[1, 2] + G[2, 1]) + w * (G[1, 0] - G[0, 1]))
    du = np.array([dw, dx, dy, dz])
    dq = (du - u * (u @ du)) / n
    return dq, dout.sum(axis=0), dout @ R


quat_args = normal(4, 3, (6, 3))
add("quaternion: norm taken for a constant", quat_forward, quat_backward, quat_args, "C8", "q",
    ("dq = (du - u * (u @ du)) / n", "dq = du / n"), also=("C7",))
add("quaternion: rotated forwards again", quat_forward, quat_backward, quat_args, "B1", "pts",
    ("dout @ R", "dout @ R.T"))
add("quaternion: points and gradient exchanged", quat_forward, quat_backward, quat_args, "B1", "q",
    ("G = dout.T @ pts", "G = pts.T @ dout"), also=("B6",), **HIDDEN)
add("quaternion: one sign in dx", quat_forward, quat_backward, quat_args, "A1", "q",
    ("+ w * (G[2, 1] - G[1, 2]))", "+ w * (G[1, 2] - G[2, 1]))"), also=("B1",))


# ---------------------------------------------------------------- Chamfer distance of point clouds


def chamfer_forward(A, B):
    d = ((A[:, None, :] - B[None, :, :]) ** 2).sum(-1)
    nab, nba = d.argmin(1), d.argmin(0)
    loss = d.min(1).mean() + d.min(0).mean()
    return loss, (A, B, nab, nba)


def chamfer_backward(s, ctx):
    A, B, nab, nba = ctx
    gA = np.zeros_like(A)
    gB = np.zeros_like(B)
    r1 = 2 * s * (A - B[nab]) / len(A)
    gA += r1
    np.add.at(gB, nab, -r1)
    r2 = 2 * s * (B - A[nba]) / len(B)
    gB += r2
    np.add.at(gA, nba, -r2)
    return gA, gB


chamfer_args = normal((6, 3), (9, 3))
add("chamfer: a point that is nearest to several", chamfer_forward, chamfer_backward, chamfer_args, "E1", "A",
    ("np.add.at(gA, nba, -r2)", "gA[nba] -= r2"))
add("chamfer: path of the points that were found nearest", chamfer_forward, chamfer_backward, chamfer_args, "C8", "B",
    ("    np.add.at(gB, nab, -r1)\n", "\n"), also=("E1",), **HIDDEN)
add("chamfer: size of the other cloud", chamfer_forward, chamfer_backward, chamfer_args, "A2", "A B",
    ("(A - B[nab]) / len(A)", "(A - B[nab]) / len(B)"), also=("A4", "B6"))
add("chamfer: derivative of the square", chamfer_forward, chamfer_backward, chamfer_args, "A4", "A B",
    ("2 * s * (B - A[nba])", "s * (B - A[nba])"), also=("C3",))


# ---------------------------------------------------------------- bending energy of a clamped beam (engineer)


def beam_forward(w, EI, load):
    h = 0.5
    full = np.concatenate([[0.0, 0.0], w])
    kappa = (full[2:] - 2 * full[1:-1] + full[:-2]) / h**2
    U = 0.5 * h * np.sum(EI * kappa**2) - h * np.dot(load, w)
    return U, (w, EI, load, kappa, h)


def beam_backward(dU, cache):
    w, EI, load, kappa, h = cache
    M = dU * h * EI * kappa
    dfull = np.zeros(len(w) + 2)
    dfull[2:] += M / h**2
    dfull[1:-1] -= 2 * M / h**2
    dfull[:-2] += M / h**2
    dw = dfull[2:]
    dw = dw - dU * h * load
    dEI = 0.5 * dU * h * kappa**2
    return dw, dEI, -dU * h * w


def beam_args(rng):
    return rng.standard_normal(6), 1 + rng.random(6), rng.standard_normal(6)


add("beam: 2 of the stencil", beam_forward, beam_backward, beam_args, "A4", "w",
    ("-= 2 * M", "-= M"), also=("A5",))
add("beam: clamped end cut on the wrong side", beam_forward, beam_backward, beam_args, "F3", "w",
    ("dw = dfull[2:]", "dw = dfull[:-2]"), also=("G3",), **HIDDEN)
add("beam: work of the load forgotten", beam_forward, beam_backward, beam_args, "C8", "w",
    ("    dw = dw - dU * h * load\n", "\n"))
add("beam: curvature not squared", beam_forward, beam_backward, beam_args, "C3", "EI",
    ("h * kappa**2", "h * kappa"), also=("B6",))


# ---------------------------------------------------------------- a growth model simulated (economist)


def solow_forward(s, delta, k0):
    A, al = 1.5, 0.35
    k, ks, W = k0[0], [], 0.0
    for t in range(len(s)):
        ks.append(k)
        y = A * k**al
        W += 0.95**t * math.log((1 - s[t]) * y)
        k = (1 - delta[0]) * k + s[t] * y
    return W, (s, delta, ks, A, al)


def solow_backward(dW, cache):
    s, delta, ks, A, al = cache
    ds, ddelta = np.zeros_like(s), np.zeros_like(delta)
    mu = 0.0
    for t in reversed(range(len(s))):
        k = ks[t]
        y = A * k**al
        u = dW * 0.95**t
        ds[t] = mu * y - u / (1 - s[t])
        ddelta[0] -= mu * k
        dy = u / y + mu * s[t]
        mu = mu * (1 - delta[0]) + dy * al * A * k ** (al - 1)
    return ds, ddelta, np.array([mu])


def solow_args(rng):
    return 0.2 + 0.3 * rng.random(5), 0.1 + 0.1 * rng.random(1), 2 + rng.random(1)


add("solow: consumption's own s", solow_forward, solow_backward, solow_args, "C8", "s",
    ("mu * y - u / (1 - s[t])", "mu * y"))
add("solow: capital that stays does not flow back", solow_forward, solow_backward, solow_args, "G1", "s delta k0",
    ("mu = mu * (1 - delta[0]) + dy", "mu = dy"), also=("C8",))
add("solow: one period's capital only", solow_forward, solow_backward, solow_args, "E1", "delta",
    ("ddelta[0] -= mu * k", "ddelta[0] = -mu * k"), also=("G2",), **HIDDEN)
add("solow: marginal product", solow_forward, solow_backward, solow_args, "C3", "s delta k0",
    ("k ** (al - 1)", "k**al"))


# ---------------------------------------------------------------- multinomial logit demand (econometrician, mean utilities)


def logit_demand_forward(price, X, beta, alpha):
    util = X @ beta - alpha[0] * price
    eu = np.exp(util)
    share = eu / (1 + eu.sum(axis=1, keepdims=True))
    return share, (price, X, beta, alpha, share)


def logit_demand_backward(g, cache):
    price, X, beta, alpha, share = cache
    inner = (g * share).sum(axis=1, keepdims=True)
    du = share * (g - inner)
    dprice = -alpha[0] * du
    dX = du[:, :, None] * beta
    dbeta = np.einsum("mj,mjk->k", du, X)
    dalpha = np.array([-(du * price).sum()])
    return dprice, dX, dbeta, dalpha


logit_demand_args = normal((3, 4), (3, 4, 2), 2, 1)
add("logit demand: own price only", logit_demand_forward, logit_demand_backward, logit_demand_args, "C6",
    "price X beta alpha", ("share * (g - inner)", "share * (1 - share) * g"), also=("C8",))
add("logit demand: over the markets", logit_demand_forward, logit_demand_backward, logit_demand_args, "B4",
    "price X beta alpha", ("(g * share).sum(axis=1, keepdims=True)", "(g * share).sum(axis=0, keepdims=True)"), **HIDDEN)
add("logit demand: price lowers utility", logit_demand_forward, logit_demand_backward, logit_demand_args, "A1", "price",
    ("dprice = -alpha[0] * du", "dprice = alpha[0] * du"))
add("logit demand: mean over the markets", logit_demand_forward, logit_demand_backward, logit_demand_args, "A2", "alpha",
    ("-(du * price).sum()", "-(du * price).sum(axis=1).mean()"), also=("A3",))


# ---------------------------------------------------------------- a biquad audio filter (C programmer)


def biquad_forward(x, b, a):
    N = len(x)
    y = np.zeros(N)
    for n in range(N):
        acc = b[0] * x[n]
        if n >= 1:
            acc += b[1] * x[n - 1] - a[0] * y[n - 1]
        if n >= 2:
            acc += b[2] * x[n - 2] - a[1] * y[n - 2]
        y[n] = acc
    return y, (x, b, a, y)


def biquad_backward(dy, cache):
    x, b, a, y = cache
    N = len(x)
    dx, db, da = np.zeros(N), np.zeros(3), np.zeros(2)
    g = dy.copy()
    for n in range(N - 1, -1, -1):
        db[0] += g[n] * x[n]
        dx[n] += b[0] * g[n]
        if n >= 1:
            db[1] += g[n] * x[n - 1]
            da[0] -= g[n] * y[n - 1]
            dx[n - 1] += b[1] * g[n]
            g[n - 1] -= a[0] * g[n]
        if n >= 2:
            db[2] += g[n] * x[n - 2]
            da[1] -= g[n] * y[n - 2]
            dx[n - 2] += b[2] * g[n]
            g[n - 2] -= a[1] * g[n]
    return dx, db, da


def biquad_args(rng):
    return rng.standard_normal(9), rng.standard_normal(3), np.array([-0.6, 0.4]) + 0.1 * rng.random(2)


add("biquad: feedback does not flow back", biquad_forward, biquad_backward, biquad_args, "G1", "x b a",
    ("            g[n - 1] -= a[0] * g[n]\n", "\n"), also=("C8",))
add("biquad: sign of the feedback", biquad_forward, biquad_backward, biquad_args, "A1", "x b a",
    ("g[n - 2] -= a[1] * g[n]", "g[n - 2] += a[1] * g[n]"), **HIDDEN)
add("biquad: output of this sample", biquad_forward, biquad_backward, biquad_args, "G3", "a",
    ("da[0] -= g[n] * y[n - 1]", "da[0] -= g[n] * y[n]"))
add("biquad: never reaches the first sample", biquad_forward, biquad_backward, biquad_args, "G2", "x b",
    ("range(N - 1, -1, -1)", "range(N - 1, 0, -1)"))


# ---------------------------------------------------------------- volume rendering along a ray


def ray_forward(sigma, rgb):
    dt = 0.3
    a = 1 - np.exp(-np.logaddexp(0, sigma) * dt)
    T = np.concatenate([[1.0], np.cumprod(1 - a)[:-1]])
    w = T * a
    return w @ rgb, (sigma, rgb, a, T, w, dt)


def ray_backward(dC, cache):
    sigma, rgb, a, T, w, dt = cache
    drgb = np.outer(w, dC)
    dw = rgb @ dC
    da = dw * T
    behind = 0.0
    for i in range(len(a) - 1, -1, -1):
        da[i] -= behind / (1 - a[i])
        behind += dw[i] * w[i]
    dens = da * dt * (1 - a)
    dsigma = dens / (1 + np.exp(-sigma))
    return dsigma, drgb


ray_args = normal(6, (6, 3))
add("ray: what lies behind is not darkened", ray_forward, ray_backward, ray_args, "C8", "sigma",
    ("        da[i] -= behind / (1 - a[i])\n", "\n"), also=("G1",))
add("ray: sample darkens itself", ray_forward, ray_backward, ray_args, "G3", "sigma",
    ("        da[i] -= behind / (1 - a[i])\n        behind += dw[i] * w[i]",
     "        behind += dw[i] * w[i]\n        da[i] -= behind / (1 - a[i])"), also=("G2", "E2"))
add("ray: softplus' forgotten", ray_forward, ray_backward, ray_args, "C1", "sigma",
    ("dsigma = dens / (1 + np.exp(-sigma))", "dsigma = dens"), **HIDDEN)
add("ray: step length forgotten", ray_forward, ray_backward, ray_args, "A4", "sigma",
    ("da * dt * (1 - a)", "da * (1 - a)"), also=("A5", "C3"))


# ---------------------------------------------------------------- deep equilibrium: gradient by the implicit function theorem


def deq_forward(W, U, x):
    z = np.zeros(len(W))
    for _ in range(200):
        z = np.tanh(0.3 * W @ z + U @ x)
    return z, (W, U, x, z)


def deq_backward(zbar, cache):
    W, U, x, z = cache
    D = np.diag(1 - z**2)
    J = D @ (0.3 * W)
    v = np.linalg.solve((np.eye(len(z)) - J).T, zbar)
    p = D @ v
    return 0.3 * np.outer(p, z), np.outer(p, x), U.T @ p


def deq_args(rng):
    return 0.6 * rng.standard_normal((4, 4)), rng.standard_normal((4, 3)), rng.standard_normal(3)


add("implicit: system not transposed", deq_forward, deq_backward, deq_args, "B1", "W U x",
    ("(np.eye(len(z)) - J).T, zbar", "np.eye(len(z)) - J, zbar"))
add("implicit: one iteration only", deq_forward, deq_backward, deq_args, "G1", "W U x",
    ("v = np.linalg.solve((np.eye(len(z)) - J).T, zbar)", "v = zbar"), also=("C8", "G2"), **HIDDEN)
add("implicit: tanh' after the solve forgotten", deq_forward, deq_backward, deq_args, "C1", "W U x",
    ("p = D @ v", "p = v"))


# ---------------------------------------------------------------- a residual block: layer norm, dropout, in place (self-study)

_MASK = (np.random.default_rng(11).random((5, 6)) < 0.6) / 0.6


def ln_stats(x, eps=1e-5):
    mu = x.mean(-1, keepdims=True)
    inv = 1.0 / np.sqrt(x.var(-1, keepdims=True) + eps)
    return (x - mu) * inv, inv


def block_forward(x, gamma, beta, W1, W2):
    xhat, inv = ln_stats(x)
    a = xhat * gamma + beta
    h = a @ W1
    r = np.where(h > 0, h, 0.1 * h)
    d = r * _MASK
    return x + d @ W2, (xhat, inv, gamma, a, h, d, W1, W2)


def ln_backward(dxhat, xhat, inv):
    m1 = dxhat.mean(axis=-1, keepdims=True)
    m2 = (dxhat * xhat).mean(axis=-1, keepdims=True)
    return inv * (dxhat - m1 - xhat * m2)


def block_backward(dout, cache):
    xhat, inv, gamma, a, h, d, W1, W2 = cache
    dW2 = d.T @ dout
    dr = dout @ W2.T
    dr = dr * _MASK
    dh = dr * np.where(h > 0, 1.0, 0.1)
    dW1 = a.T @ dh
    da = dh @ W1.T
    dgamma = (da * xhat).sum(axis=0)
    dbeta = da.sum(axis=0)
    dx = ln_backward(da * gamma, xhat, inv)
    dx = dx + dout
    return dx, dgamma, dbeta, dW1, dW2


block_args = normal((5, 4), 4, 4, (4, 6), (6, 4))
BLOCK = (block_forward, block_backward, block_args)
BH = {"helpers": (ln_backward,)}
add("residual block: dropout is not applied back", *BLOCK, "E5", "x gamma beta W1",
    ("    dr = dr * _MASK\n", "\n"), **BH)
add("residual block: scale of the dropout", *BLOCK, "E5", "x gamma beta W1",
    ("dr = dr * _MASK", "dr = dr * (_MASK > 0)"), also=("A4",), **BH, **HIDDEN)
add("residual block: shortcut forgotten", *BLOCK, "C8", "x",
    ("    dx = dx + dout\n", "\n"), also=("E1",), **BH)
add("residual block: variance taken for a constant", *BLOCK, "C7", "x",
    ("dxhat - m1 - xhat * m2", "dxhat - m1"), also=("C8",), **BH)
add("residual block: mean over the batch in the norm", *BLOCK, "B4", "x",
    ("m1 = dxhat.mean(axis=-1, keepdims=True)", "m1 = dxhat.mean(axis=0, keepdims=True)"), **BH, **HIDDEN)
add("residual block: gamma forgotten", *BLOCK, "A5", "x",
    ("ln_backward(da * gamma, xhat, inv)", "ln_backward(da, xhat, inv)"), also=("B6", "C8"), **BH)


# ---------------------------------------------------------------- batch norm, a class with the chain spelled out


class BatchNorm:
    def __init__(self, rng, eps=1e-5):
        self.params = {"gamma": 1 + rng.standard_normal(4), "beta": rng.standard_normal(4)}
        self.grads = {"gamma": None, "beta": None}
        self.eps = eps

    def forward(self, x):
        self.m = x.shape[0]
        self.xmu = x - np.mean(x, axis=0)
        self.var = np.mean(self.xmu**2, axis=0)
        self.ivar = 1.0 / np.sqrt(self.var + self.eps)
        self.xhat = self.xmu * self.ivar
        return self.params["gamma"] * self.xhat + self.params["beta"]

    def backward(self, dout):
        self.grads["beta"] = dout.sum(axis=0)
        self.grads["gamma"] = (dout * self.xhat).sum(axis=0)
        dxhat = dout * self.params["gamma"]
        divar = (dxhat * self.xmu).sum(axis=0)
        dvar = -0.5 * divar * self.ivar**3
        dxmu = dxhat * self.ivar
        dxmu += 2.0 / self.m * self.xmu * dvar
        dmu = -dxmu.sum(axis=0)
        return dxmu + dmu / self.m


def bn_args(rng):
    return rng.standard_normal((6, 4)), {"gamma": 1 + rng.standard_normal(4), "beta": rng.standard_normal(4)}


add_layer("batchnorm class: path of the mean forgotten", BatchNorm, bn_args, "C7", "x",
    ("return dxmu + dmu / self.m", "return dxmu"), also=("C8",))
add_layer("batchnorm class: m of the mean", BatchNorm, bn_args, "A2", "x",
    ("dmu / self.m", "dmu"))
add_layer("batchnorm class: exponent of ivar", BatchNorm, bn_args, "C3", "x",
    ("self.ivar**3", "self.ivar**2"), **HIDDEN)
add_layer("batchnorm class: mean for gamma", BatchNorm, bn_args, "A2", "params['gamma']",
    ("(dout * self.xhat).sum(axis=0)", "(dout * self.xhat).mean(axis=0)"), also=("A3",))
add_layer("batchnorm class: input for the normalised", BatchNorm, bn_args, "B6", "params['gamma']",
    ("(dout * self.xhat)", "(dout * self.xmu)"), also=("C4",), **HIDDEN)


# ---------------------------------------------------------------- group norm over images


def gn_forward(x, g, b, groups=2):
    n, c, h, w = x.shape
    xr = x.reshape(n, groups, -1)
    mean = xr.mean(axis=2, keepdims=True)
    std = np.sqrt(xr.var(axis=2, keepdims=True) + 1e-5)
    xn = ((xr - mean) / std).reshape(n, c, h, w)
    return xn * g[None, :, None, None] + b[None, :, None, None], (xn, std, g, groups)


def gn_backward(dy, cache):
    xn, std, g, groups = cache
    n, c, h, w = dy.shape
    db = dy.sum(axis=(0, 2, 3))
    dg = np.sum(dy * xn, axis=(0, 2, 3))
    dxn = (dy * g[None, :, None, None]).reshape(n, groups, -1)
    xr = xn.reshape(n, groups, -1)
    m = xr.shape[2]
    dx = m * dxn - dxn.sum(axis=2, keepdims=True) - xr * (dxn * xr).sum(axis=2, keepdims=True)
    return (dx / (m * std)).reshape(n, c, h, w), dg, db


gn_args = normal((2, 4, 2, 3), 4, 4)
add("groupnorm: elements of a channel for those of a group", gn_forward, gn_backward, gn_args, "A4", "x",
    ("m = xr.shape[2]", "m = h * w"), also=("A2", "A5"))
add("groupnorm: std forgotten", gn_forward, gn_backward, gn_args, "A5", "x",
    ("dx / (m * std)", "dx / m"), also=("C1", "C3", "C7", "C8"), **HIDDEN)
add("groupnorm: sum over the groups", gn_forward, gn_backward, gn_args, "B4", "x",
    ("dxn.sum(axis=2, keepdims=True) - xr", "dxn.sum(axis=1, keepdims=True) - xr"))


# ---------------------------------------------------------------- RMS norm and a gated feed-forward (LLM notebook)


def silu(v):
    return v / (1 + np.exp(-v))


def dsilu(v):
    s = 1 / (1 + np.exp(-v))
    return s + v * s * (1 - s)


def swiglu_forward(x, scale, w):
    r = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6)
    n = x / r * scale
    up = n @ w["up"]
    gate = n @ w["gate"]
    act = silu(gate) * up
    return act @ w["down"], (x, scale, w, r, n, up, gate, act)


def swiglu_backward(dy, cache):
    x, scale, w, r, n, up, gate, act = cache
    dw = {"down": act.T @ dy}
    dact = dy @ w["down"].T
    dup = dact * silu(gate)
    dgate = dact * up * dsilu(gate)
    dw["up"] = n.T @ dup
    dw["gate"] = n.T @ dgate
    dn = dup @ w["up"].T
    dn += dgate @ w["gate"].T
    dscale = np.sum(dn * x / r, axis=0)
    dhat = dn * scale
    dx = dhat / r - x * np.mean(dhat * x, axis=-1, keepdims=True) / r**3
    return dx, dscale, dw


def swiglu_args(rng):
    r = rng.standard_normal
    return r((4, 3)), r(3), {"up": r((3, 5)), "gate": r((3, 5)), "down": r((5, 2))}


SW = (swiglu_forward, swiglu_backward, swiglu_args)
add("swiglu: second path into the norm overwrites", *SW, "E1", "x scale",
    ('dn += dgate @ w["gate"].T', 'dn = dgate @ w["gate"].T'), also=("C8",))
add("swiglu: product of silu' forgotten", *SW, "C3", "x scale w['gate']",
    ("    return s + v * s * (1 - s)\n", "    return s\n"), also=("C8",), helpers=(dsilu,))
add("swiglu: silu' of the other branch", *SW, "C2", "x scale w['gate']",
    ("up * dsilu(gate)", "up * dsilu(up)"), also=("C4", "B6"), **HIDDEN)
add("swiglu: rms taken for a constant", *SW, "C7", "x",
    ("dhat / r - x * np.mean(dhat * x, axis=-1, keepdims=True) / r**3", "dhat / r"), also=("C8",))
add("swiglu: gates exchanged", *SW, "B5", "w['up'] w['gate']",
    ('dw["up"] = n.T @ dup\n    dw["gate"] = n.T @ dgate', 'dw["up"] = n.T @ dgate\n    dw["gate"] = n.T @ dup'),
    also=("B6",))


# ---------------------------------------------------------------- causal attention with several heads


def _heads(t, H):
    n, d = t.shape
    return t.reshape(n, H, d // H).transpose(1, 0, 2)


def _merge(t):
    return t.transpose(1, 0, 2).reshape(t.shape[1], -1)


def mha_forward(x, Wq, Wk, Wv, Wo):
    H = 2
    q, k, v = _heads(x @ Wq, H), _heads(x @ Wk, H), _heads(x @ Wv, H)
    s = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
    s = np.where(np.tril(np.ones(s.shape[1:], bool)), s, -1e9)
    p = np.exp(s - s.max(-1, keepdims=True))
    p = p / p.sum(-1, keepdims=True)
    ctx = _merge(p @ v)
    return ctx @ Wo, (x, Wq, Wk, Wv, Wo, q, k, v, p, ctx, H)


def mha_backward(dout, cache):
    x, Wq, Wk, Wv, Wo, q, k, v, p, ctx, H = cache
    dWo = ctx.T @ dout
    dctx = _heads(dout @ Wo.T, H)
    dv = p.transpose(0, 2, 1) @ dctx
    dp = dctx @ v.transpose(0, 2, 1)
    ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    ds = ds / np.sqrt(q.shape[-1])
    dq = _merge(ds @ k)
    dk = _merge(ds.transpose(0, 2, 1) @ q)
    dv = _merge(dv)
    dx = dq @ Wq.T
    dx += dk @ Wk.T
    dx += dv @ Wv.T
    return dx, x.T @ dq, x.T @ dk, x.T @ dv, dWo


mha_args = normal((5, 6), (6, 8), (6, 8), (6, 8), (8, 6))
MHA = (mha_forward, mha_backward, mha_args)
add("causal attention: softmax diagonal", *MHA, "C6", "x Wq Wk",
    ("ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True))", "ds = p * (1 - p) * dp"))
add("causal attention: softmax over the queries", *MHA, "B4", "x Wq Wk",
    ("(dp * p).sum(axis=-1, keepdims=True)", "(dp * p).sum(axis=-2, keepdims=True)"), also=("C6",), **HIDDEN)
add("causal attention: scale forgotten", *MHA, "A4", "x Wq Wk",
    ("    ds = ds / np.sqrt(q.shape[-1])\n", "\n"))
add("causal attention: values' path forgotten", *MHA, "C8", "x",
    ("    dx += dv @ Wv.T\n", "\n"), also=("E1",))
add("causal attention: probabilities not transposed", *MHA, "B1", "x Wv",
    ("dv = p.transpose(0, 2, 1) @ dctx", "dv = p @ dctx"))
add("causal attention: keys and queries exchanged", *MHA, "B5", "Wq Wk",
    ("x.T @ dq, x.T @ dk", "x.T @ dk, x.T @ dq"), **HIDDEN)


# ---------------------------------------------------------------- embeddings, masked mean, a linear head (NLP course)


def bag_forward(E, W, b, tokens):
    valid = (tokens != 0)[:, :, None]
    length = valid.sum(axis=1)
    e = E[tokens] * valid
    mean = e.sum(axis=1) / length
    return mean @ W + b, (E, W, tokens, valid, length, mean)


def bag_backward(dlogits, cache):
    E, W, tokens, valid, length, mean = cache
    db = dlogits.sum(axis=0)
    dW = mean.T @ dlogits
    dmean = dlogits @ W.T
    de = (dmean / length)[:, None, :] * valid
    dE = np.zeros_like(E)
    np.add.at(dE, tokens, de)
    return dE, dW, db


def bag_args(rng):
    r = rng.standard_normal
    return r((7, 3)), r((3, 2)), r(2), np.array([[1, 2, 2, 0], [3, 1, 0, 0], [5, 6, 4, 1]])


BAG = (bag_forward, bag_backward, bag_args)
add("bag of words: repeated words", *BAG, "E1", "E",
    ("np.add.at(dE, tokens, de)", "dE[tokens] += de"))
add("bag of words: padding is learned", *BAG, "E5", "E",
    ("(dmean / length)[:, None, :] * valid", "(dmean / length)[:, None, :] * np.ones_like(valid)"), also=("C1", "F3"))
add("bag of words: padded length", *BAG, "A4", "E",
    ("dmean / length", "dmean / tokens.shape[1]"), also=("A2", "A5"), **HIDDEN)
add("bag of words: mean over the batch once more", *BAG, "A3", "W",
    ("mean.T @ dlogits", "mean.T @ dlogits / len(tokens)"), also=("A2",))


# ---------------------------------------------------------------- char-rnn, loss and gradients in one function


def rnn_loss(Wxh, Whh, Why, bh, h0):
    inputs, targets = [0, 2, 1, 3], [2, 1, 3, 3]
    xs, hs, ps = {}, {-1: h0}, {}
    loss = 0
    for t in range(len(inputs)):
        xs[t] = np.zeros(4)
        xs[t][inputs[t]] = 1
        hs[t] = np.tanh(Wxh @ xs[t] + Whh @ hs[t - 1] + bh)
        y = Why @ hs[t]
        ps[t] = np.exp(y) / np.sum(np.exp(y))
        loss += -np.log(ps[t][targets[t]])
    dWxh, dWhh, dWhy = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(Why)
    dbh, dhnext = np.zeros_like(bh), np.zeros_like(h0)
    for t in reversed(range(len(inputs))):
        dy = np.copy(ps[t])
        dy[targets[t]] -= 1
        dWhy += np.outer(dy, hs[t])
        dh = Why.T @ dy + dhnext
        dhraw = (1 - hs[t] * hs[t]) * dh
        dbh += dhraw
        dWxh += np.outer(dhraw, xs[t])
        dWhh += np.outer(dhraw, hs[t - 1])
        dhnext = Whh.T @ dhraw
    return loss, dWxh, dWhh, dWhy, dbh, dhnext


rnn_args = normal((5, 4), (5, 5), (4, 5), 5, 5)
add_cost("char-rnn: Whh not transposed", rnn_loss, rnn_args, "B1", "Wxh Whh bh h0",
    ("dhnext = Whh.T @ dhraw", "dhnext = Whh @ dhraw"))
add_cost("char-rnn: dh of the future forgotten", rnn_loss, rnn_args, "G1", "Wxh Whh bh h0",
    ("Why.T @ dy + dhnext", "Why.T @ dy"), also=("C8",), **HIDDEN)
add_cost("char-rnn: present state for Whh", rnn_loss, rnn_args, "G3", "Whh",
    ("np.outer(dhraw, hs[t - 1])", "np.outer(dhraw, hs[t])"))
add_cost("char-rnn: bias of one step only", rnn_loss, rnn_args, "E1", "bh",
    ("dbh += dhraw", "dbh = dhraw"), also=("G2",))
add_cost("char-rnn: clipped", rnn_loss, rnn_args, "G4", "Why",
    ("    return loss, dWxh, dWhh", "    np.clip(dWhy, -0.2, 0.2, out=dWhy)\n    return loss, dWxh, dWhh"), **HIDDEN)
add_cost("char-rnn: first step left out", rnn_loss, rnn_args, "G2", "Wxh Whh Why bh h0",
    ("    for t in reversed(range(len(inputs))):", "    for t in reversed(range(1, len(inputs))):"))


# ---------------------------------------------------------------- LSTM, gates in one matrix (repository)


def sig(v):
    return 1 / (1 + np.exp(-v))


def lstm_forward(x, W, U, b):
    T, n = x.shape[0], U.shape[0]
    h, c = np.zeros(n), np.zeros(n)
    steps, out = [], []
    for t in range(T):
        z = x[t] @ W + h @ U + b
        i, f, o, g = sig(z[:n]), sig(z[n : 2 * n]), sig(z[2 * n : 3 * n]), np.tanh(z[3 * n :])
        c_new = f * c + i * g
        h_new = o * np.tanh(c_new)
        steps.append((h, c, i, f, o, g, c_new))
        h, c = h_new, c_new
        out.append(h)
    return np.array(out), (x, W, U, steps)


def lstm_backward(dhs, cache):
    x, W, U, steps = cache
    dx, dW, dU = np.zeros_like(x), np.zeros_like(W), np.zeros_like(U)
    db = np.zeros(W.shape[1])
    dh_next = np.zeros(U.shape[0])
    dc_next = np.zeros(U.shape[0])
    for t in range(len(steps) - 1, -1, -1):
        h_prev, c_prev, i, f, o, g, c = steps[t]
        dh = dhs[t] + dh_next
        tc = np.tanh(c)
        dc = dc_next + dh * o * (1 - tc**2)
        do = dh * tc
        di = dc * g
        dg = dc * i
        df = dc * c_prev
        dz = np.concatenate([di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g**2)])
        dW += np.outer(x[t], dz)
        dU += np.outer(h_prev, dz)
        db += dz
        dx[t] = W @ dz
        dh_next = U @ dz
        dc_next = dc * f
    return dx, dW, dU, db


lstm_args = normal((5, 3), (3, 16), (4, 16), 16)
LSTM = (lstm_forward, lstm_backward, lstm_args)
add("lstm: new cell for the forget gate", *LSTM, "G3", "x W U b",
    ("df = dc * c_prev", "df = dc * c"))
add("lstm: cell does not flow back", *LSTM, "G1", "x W U b",
    ("        dc_next = dc * f\n", "\n"), also=("C8",), **HIDDEN)
add("lstm: cell overwritten by the output", *LSTM, "C8", "x W U b",
    ("dc = dc_next + dh * o * (1 - tc**2)", "dc = dh * o * (1 - tc**2)"), also=("G1", "E1"))
add("lstm: sigmoid' for the candidate", *LSTM, "C3", "x W U b",
    ("dg * (1 - g**2)", "dg * g * (1 - g)"), also=("C4",))
add("lstm: order of the gates", *LSTM, "B5", "x W U b",
    ("[di * i * (1 - i), df * f * (1 - f),", "[df * f * (1 - f), di * i * (1 - i),"), also=("B6",), **HIDDEN)


# ---------------------------------------------------------------- GRU over a batch


def gru_forward(xs, h0, Wz, Wr, Wh):
    h, tape = h0, []
    for x in xs:
        xh = np.hstack([x, h])
        z = sig(xh @ Wz)
        r = sig(xh @ Wr)
        xrh = np.hstack([x, r * h])
        n = np.tanh(xrh @ Wh)
        tape.append((h, xh, z, r, xrh, n))
        h = (1 - z) * h + z * n
    return h, (xs, tape, Wz, Wr, Wh)


def gru_backward(dh, cache):
    xs, tape, Wz, Wr, Wh = cache
    D = xs.shape[2]
    gz, gr, gh = np.zeros(Wz.shape), np.zeros(Wr.shape), np.zeros(Wh.shape)
    dxs = np.zeros(xs.shape)
    for t in range(len(tape))[::-1]:
        h, xh, z, r, xrh, n = tape[t]
        dn = dh * z * (1 - n**2)
        gh += xrh.T @ dn
        dxrh = dn @ Wh.T
        drh = dxrh[:, D:]
        dz = dh * (n - h) * z * (1 - z)
        dr = drh * h * r * (1 - r)
        gz += xh.T @ dz
        gr += xh.T @ dr
        dxh = dz @ Wz.T + dr @ Wr.T
        dxs[t] = dxrh[:, :D] + dxh[:, :D]
        dh = dh * (1 - z) + drh * r + dxh[:, D:]
    return dxs, dh, gz, gr, gh


gru_args = normal((4, 3, 2), (3, 5), (7, 5), (7, 5), (7, 5))
GRU = (gru_forward, gru_backward, gru_args)
add("gru: update gate without the old state", *GRU, "C8", "xs h0 Wz Wr Wh",
    ("dh * (n - h) * z", "dh * n * z"), also=("G1",))
add("gru: reset gate forgotten on the way back", *GRU, "A5", "xs h0 Wz Wr Wh",
    ("drh * r + dxh", "drh + dxh"), also=("C8", "B6", "E5"), **HIDDEN)
add("gru: candidate sees the unreset state", *GRU, "B6", "Wh",
    ("gh += xrh.T @ dn", "gh += xh.T @ dn"), also=("G3", "C4"))
add("gru: z and 1 - z", *GRU, "B6", "xs h0 Wz Wr Wh",
    ("dn = dh * z * (1 - n**2)", "dn = dh * (1 - z) * (1 - n**2)"), also=("C3",))
add("gru: inputs of the gates forgotten", *GRU, "C8", "xs",
    ("dxs[t] = dxrh[:, :D] + dxh[:, :D]", "dxs[t] = dxrh[:, :D]"), **HIDDEN)


# ---------------------------------------------------------------- convolution with stride and padding, four loops


def conv_forward(x, w, b, stride=2, pad=1):
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    Ho, Wo = (H + 2 * pad - HH) // stride + 1, (W + 2 * pad - WW) // stride + 1
    out = np.zeros((N, F, Ho, Wo))
    for n in range(N):
        for f in range(F):
            for i in range(Ho):
                for j in range(Wo):
                    win = xp[n, :, i * stride : i * stride + HH, j * stride : j * stride + WW]
                    out[n, f, i, j] = np.sum(win * w[f]) + b[f]
    return out, (x, w, b, stride, pad)


def conv_backward(dout, cache):
    x, w, b, stride, pad = cache
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    dxp, dw = np.zeros_like(xp), np.zeros_like(w)
    for n in range(N):
        for f in range(F):
            for i in range(dout.shape[2]):
                for j in range(dout.shape[3]):
                    r, c = i * stride, j * stride
                    g = dout[n, f, i, j]
                    dw[f] += xp[n, :, r : r + HH, c : c + WW] * g
                    dxp[n, :, r : r + HH, c : c + WW] += w[f] * g
    db = dout.sum(axis=(0, 2, 3))
    dx = dxp[:, :, pad : pad + H, pad : pad + W]
    return dx, dw, db


conv_args = normal((2, 2, 5, 7), (3, 2, 3, 3), 3)
CONV = (conv_forward, conv_backward, conv_args)
add("conv loops: crop from the corner", *CONV, "F3", "x",
    ("dxp[:, :, pad : pad + H, pad : pad + W]", "dxp[:, :, :H, :W]"))
add("conv loops: windows overwrite", *CONV, "E1", "x",
    ("c : c + WW] += w[f] * g", "c : c + WW] = w[f] * g"), **HIDDEN)
add("conv loops: stride of the columns", *CONV, "F2", "x w",
    ("r, c = i * stride, j * stride", "r, c = i * stride, j"))
add("conv loops: kernel rotated without need", *CONV, "F1", "x",
    ("+= w[f] * g", "+= w[f, :, ::-1, ::-1] * g"))
add("conv loops: bias over the batch mean", *CONV, "A2", "b",
    ("db = dout.sum(axis=(0, 2, 3))", "db = dout.mean(axis=0).sum(axis=(1, 2))"), also=("A3",), **HIDDEN)


# ---------------------------------------------------------------- one channel, correlated with an `flip`ped kernel, then max-pooled


def corr_valid(a, k):
    win = np.lib.stride_tricks.sliding_window_view(a, k.shape)
    return np.einsum("ijuv,uv->ij", win, k)


def small_cnn_forward(img, K):
    z = corr_valid(img, K)
    a = np.tanh(z)
    h, w = a.shape[0] // 2, a.shape[1] // 2
    blocks = a[: 2 * h, : 2 * w].reshape(h, 2, w, 2)
    return blocks.max(axis=(1, 3)), (img, K, a, blocks)


def small_cnn_backward(d, cache):
    img, K, a, blocks = cache
    top = blocks.max(axis=(1, 3), keepdims=True)
    routed = (blocks == top) * d[:, None, :, None]
    da = np.zeros_like(a)
    h, w = d.shape
    da[: 2 * h, : 2 * w] = routed.reshape(2 * h, 2 * w)
    dz = da * (1 - a**2)
    dK = corr_valid(img, dz)
    full = np.pad(dz, ((K.shape[0] - 1,) * 2, (K.shape[1] - 1,) * 2))
    dimg = corr_valid(full, K[::-1, ::-1])
    return dimg, dK


small_cnn_args = normal((7, 8), (3, 2))
SC = (small_cnn_forward, small_cnn_backward, small_cnn_args)
add("small cnn: kernel not rotated", *SC, "F1", "img",
    ("K[::-1, ::-1]", "K"))
add("small cnn: rotated about one axis", *SC, "F1", "img",
    ("K[::-1, ::-1]", "K[::-1]"), also=("F4",), **HIDDEN)
add("small cnn: maximum spread over its block", *SC, "C3", "img K",
    ("(blocks == top) * d[:, None, :, None]", "np.ones_like(blocks) * d[:, None, :, None] / 4"), also=("C1", "A5", "I3"))
add("small cnn: tanh of tanh", *SC, "C2", "img K",
    ("(1 - a**2)", "(1 - np.tanh(a) ** 2)"))


# ---------------------------------------------------------------- average pooling, overlapping windows, a class


class AvgPool:
    def __init__(self, rng):
        self.kh, self.kw, self.stride = 3, 2, 2

    def forward(self, x):
        self.shape = x.shape
        oh = (x.shape[1] - self.kh) // self.stride + 1
        ow = (x.shape[2] - self.kw) // self.stride + 1
        out = np.empty((x.shape[0], oh, ow))
        for i in range(oh):
            for j in range(ow):
                a, b = i * self.stride, j * self.stride
                out[:, i, j] = x[:, a : a + self.kh, b : b + self.kw].mean(axis=(1, 2))
        return out

    def backward(self, delta):
        grad = np.zeros(self.shape)
        area = self.kh * self.kw
        for i in range(delta.shape[1]):
            for j in range(delta.shape[2]):
                r, c = i * self.stride, j * self.stride
                grad[:, r : r + self.kh, c : c + self.kw] += delta[:, i, j][:, None, None] / area
        return grad


add_layer("average pool: area forgotten", AvgPool, normal((2, 7, 5)), "A5", "x",
    ("[:, None, None] / area", "[:, None, None]"), also=("A4",))
add_layer("average pool: square windows", AvgPool, normal((2, 7, 5)), "F4", "x",
    ("area = self.kh * self.kw", "area = self.kh * self.kh"), also=("A5", "A4"), **HIDDEN)
add_layer("average pool: overlap overwritten", AvgPool, normal((2, 7, 5)), "E1", "x",
    ("+= delta", "= delta"))
add_layer("average pool: as if windows lay side by side", AvgPool, normal((2, 7, 5)), "F2", "x",
    ("r, c = i * self.stride, j * self.stride", "r, c = i * self.kh, j * self.kw"), also=("F4",))


# ---------------------------------------------------------------- dilated causal convolution in time (C programmer)


def tcn_forward(x, k, bias, dil=2):
    T, Ci = x.shape
    y = np.tile(bias, (T, 1)).astype(float)
    for t in range(T):
        for j in range(len(k)):
            s = t - j * dil
            if s >= 0:
                y[t] += x[s] @ k[j]
    return np.maximum(y, 0.0), (x, k, y, dil)


def tcn_backward(gy, cache):
    x, k, y, dil = cache
    gx, gk = np.zeros_like(x), np.zeros_like(k)
    gp = np.where(y > 0, gy, 0.0)
    for t in range(len(x)):
        for j in range(len(k)):
            s = t - j * dil
            if s < 0:
                continue
            gx[s] += k[j] @ gp[t]
            gk[j] += np.outer(x[s], gp[t])
    gbias = gp.sum(axis=0)
    return gx, gk, gbias


tcn_args = normal((7, 3), (3, 3, 2), 2)
TCN = (tcn_forward, tcn_backward, tcn_args)
add("dilated conv: dilation forgotten", *TCN, "F2", "x k",
    ("s = t - j * dil", "s = t - j"), also=("G3",))
add("dilated conv: wraps around the beginning", *TCN, "F3", "x k",
    ("if s < 0:", "if s < -1:"), also=("G2", "G3"), **HIDDEN)
add("dilated conv: bias from above the relu", *TCN, "C1", "bias",
    ("gbias = gp.sum(axis=0)", "gbias = gy.sum(axis=0)"))
add("dilated conv: x of the output's time", *TCN, "G3", "k",
    ("np.outer(x[s], gp[t])", "np.outer(x[t], gp[t])"), also=("B6",))


# ---------------------------------------------------------------- MLP with a list of layers; closures


def make_net_backward(lam):
    def backward(dloss, cache):
        layers, acts, zs, n = cache
        grads = [None] * len(layers)
        delta = dloss * (acts[-1] - _T) / n
        for l in range(len(layers) - 1, -1, -1):
            if l < len(layers) - 1:
                delta = delta * (1 - np.tanh(zs[l]) ** 2)
            gW = acts[l].T @ delta + dloss * lam * layers[l]["W"]
            gb = delta.sum(axis=0)
            grads[l] = {"W": gW, "b": gb}
            delta = delta @ layers[l]["W"].T
        return grads, delta

    return backward


_T = np.random.default_rng(2).standard_normal((5, 2))
_LAM = 0.05


def net_forward(layers, X):
    a, acts, zs = X, [X], []
    loss = 0.0
    for l, layer in enumerate(layers):
        z = a @ layer["W"] + layer["b"]
        a = np.tanh(z) if l < len(layers) - 1 else z
        zs.append(z)
        acts.append(a)
        loss += 0.5 * _LAM * (layer["W"] ** 2).sum()
    return loss + 0.5 * ((a - _T) ** 2).sum() / len(X), (layers, acts, zs, len(X))


def net_args(rng):
    sizes = [3, 4, 6, 2]
    layers = [{"W": rng.standard_normal((p, q)), "b": rng.standard_normal(q)} for p, q in zip(sizes, sizes[1:])]
    return layers, rng.standard_normal((5, 3))


_net_right = make_net_backward(_LAM)


def add_net(name, mistake, wrong, *edits, **rest):
    bad = planted(make_net_backward, *edits, source=rest.get("source", True))(_LAM)
    _CASES.append(Case(name, net_forward, bad, _net_right, net_args, mistake, tuple(wrong.split()), **rest))


add_net("list of layers: tanh' at the activation", "C2", "layers[0] layers[1] X",
    ("np.tanh(zs[l]) ** 2", "np.tanh(acts[l + 1]) ** 2"))
add_net("list of layers: tanh' for the last one only", "C1", "layers[0] X",
    ("if l < len(layers) - 1:", "if l == len(layers) - 2:"), **HIDDEN)
add_net("list of layers: bias decays", "D2", "layers[0]['b'] layers[1]['b'] layers[2]['b']",
    ("gb = delta.sum(axis=0)", 'gb = delta.sum(axis=0) + dloss * lam * layers[l]["b"]'), also=("D1",))
add_net("list of layers: batch size once more", "A3", "layers[0]['b'] layers[1]['b'] layers[2]['b']",
    ("gb = delta.sum(axis=0)", "gb = delta.sum(axis=0) / n"), also=("A2",))
add_net("list of layers: updated before delta passes", "E4", "layers[0] layers[1] X",
    ("delta = delta @ layers[l][\"W\"].T", "delta = delta @ (layers[l][\"W\"] - 0.1 * gW).T"))
add_net("list of layers: cotangent forgotten in the decay", "C5", "layers[0]['W'] layers[1]['W'] layers[2]['W']",
    ("+ dloss * lam * layers", "+ lam * layers"), also=("D1",), **HIDDEN)


# ---------------------------------------------------------------- word2vec with negative samples


def sgns_forward(V, U, pairs, negs):
    loss = 0.0
    for (c, o), ns in zip(pairs, negs):
        loss += np.log1p(np.exp(-V[c] @ U[o]))
        for k in ns:
            loss += np.log1p(np.exp(V[c] @ U[k]))
    return loss / len(pairs), (V, U, pairs, negs)


def sgns_backward(dL, cache):
    V, U, pairs, negs = cache
    gradV, gradU = np.zeros(V.shape), np.zeros(U.shape)
    scale = dL / len(pairs)
    for (c, o), ns in zip(pairs, negs):
        v = V[c]
        coef = sig(v @ U[o]) - 1
        gradV[c] += scale * coef * U[o]
        gradU[o] += scale * coef * v
        for k in ns:
            coef = sig(v @ U[k])
            gradV[c] += scale * coef * U[k]
            gradU[k] += scale * coef * v
    return gradV, gradU


def sgns_args(rng):
    r = rng.standard_normal
    return r((5, 3)), r((5, 3)), np.array([[0, 1], [0, 2], [3, 4], [2, 1]]), np.array([[3, 4], [1, 3], [0, 0], [4, 2]])


SG = (sgns_forward, sgns_backward, sgns_args)
add("word2vec: negatives do not move the centre", *SG, "C8", "V",
    ("            gradV[c] += scale * coef * U[k]\n", "\n"))
add("word2vec: repeated negatives", *SG, "E1", "U",
    ("gradU[k] += scale", "gradU[k] = scale"))
add("word2vec: coefficient of the positive left over", *SG, "B6", "V U",
    ("            coef = sig(v @ U[k])\n", "\n"), also=("C8", "E3", "C4", "C3"), **HIDDEN)
add("word2vec: label of the positive forgotten", *SG, "C8", "V U",
    ("coef = sig(v @ U[o]) - 1", "coef = sig(v @ U[o])"), also=("C3",))


# ---------------------------------------------------------------- Cox's partial likelihood (R people)

_TIME = np.array([5.0, 2.0, 9.0, 4.0, 7.0, 1.0])
_EVENT = np.array([1, 1, 0, 1, 1, 0])


def cox_nll(beta, X):
    eta = X @ beta
    w = np.exp(eta)
    nll, dbeta, dX = 0.0, np.zeros_like(beta), np.zeros_like(X)
    for i in np.flatnonzero(_EVENT):
        risk = _TIME >= _TIME[i]
        S0 = w[risk].sum()
        nll -= eta[i] - np.log(S0)
        pi = np.where(risk, w, 0) / S0
        xbar = pi @ X
        dbeta -= X[i] - xbar
        dX += np.outer(pi, beta)
        dX[i] -= beta
    nll += 0.5 * 0.4 * beta @ beta
    dbeta += 0.4 * beta
    return nll, dbeta, dX


cox_args = normal(3, (6, 3))
add_cost("cox: unweighted mean of the risk set", cox_nll, cox_args, "B6", "beta",
    ("xbar = pi @ X", "xbar = X[risk].mean(axis=0)"), also=("C3", "A5"))
add_cost("cox: risk set taken for a constant", cox_nll, cox_args, "C8", "beta",
    ("dbeta -= X[i] - xbar", "dbeta -= X[i]"), also=("C7",), **HIDDEN)
add_cost("cox: ridge penalty forgotten", cox_nll, cox_args, "D1", "beta",
    ("    dbeta += 0.4 * beta\n", "\n"), also=("C8",))
add_cost("cox: last event only", cox_nll, cox_args, "E1", "X",
    ("dX += np.outer(pi, beta)", "dX = np.outer(pi, beta)"))


# ---------------------------------------------------------------- Poisson regression with exposure (R people)


def poisson_forward(beta, offset, design):
    eta = design @ beta + offset
    mu = np.exp(eta)
    y = np.arange(len(offset)) % 4
    dev = 2 * np.sum(mu - y * eta) / len(y)
    return dev, dict(design=design, mu=mu, y=y, beta=beta)


def poisson_backward(d, fit):
    score = 2 * (fit["mu"] - fit["y"]) / len(fit["y"])
    score = d * score
    return fit["design"].T @ score, score, np.outer(score, fit["beta"])


poisson_args = normal(3, 8, (8, 3))
PO = (poisson_forward, poisson_backward, poisson_args)
add("poisson glm: counts forgotten", *PO, "C8", "beta offset design",
    ('2 * (fit["mu"] - fit["y"])', '2 * fit["mu"]'), also=("C3",))
add("poisson glm: cotangent forgotten", *PO, "C5", "beta offset design",
    ("    score = d * score\n", "\n"))
add("poisson glm: sign of the score", *PO, "A1", "beta offset design",
    ('fit["mu"] - fit["y"]', 'fit["y"] - fit["mu"]'), **HIDDEN)
add("poisson glm: log link's derivative once more", *PO, "C3", "beta offset design",
    ('(fit["mu"] - fit["y"]) /', '(fit["mu"] - fit["y"]) * fit["mu"] /'), also=("C6", "B6"))


# ---------------------------------------------------------------- mixture density network's loss


def mdn_forward(logits, mu, logsig, y):
    pi = np.exp(logits - logits.max(1, keepdims=True))
    pi /= pi.sum(1, keepdims=True)
    u = (y[:, None] - mu) / np.exp(logsig)
    comp = pi * np.exp(-0.5 * u**2 - logsig)
    lik = comp.sum(1, keepdims=True)
    return -np.log(lik).mean(), (pi, u, comp / lik, logsig)


def mdn_backward(g, cache):
    pi, u, resp, logsig = cache
    g = g / len(pi)
    dlogits = g * (pi - resp)
    dmu = -g * resp * u / np.exp(logsig)
    dlogsig = g * resp * (1 - u**2)
    dy = -dmu.sum(axis=1)
    return dlogits, dmu, dlogsig, dy


mdn_args = normal((5, 3), (5, 3), (5, 3), 5)
MDN = (mdn_forward, mdn_backward, mdn_args)
add("mixture density: normaliser of the width", *MDN, "C8", "logsig",
    ("(1 - u**2)", "-u**2"))
add("mixture density: prior for the responsibility", *MDN, "B6", "mu y",
    ("-g * resp * u", "-g * pi * u"), also=("C6", "C4"))
add("mixture density: width forgotten", *MDN, "A5", "mu y",
    ("resp * u / np.exp(logsig)", "resp * u"), also=("C8", "C1", "C3"), **HIDDEN)
add("mixture density: summed over the batch", *MDN, "B4", "y",
    ("dy = -dmu.sum(axis=1)", "dy = -dmu.sum() * np.ones(len(dmu))"), also=("B3",))


# ---------------------------------------------------------------- policy gradient with an entropy bonus


def pg_forward(theta, states, actions):
    adv = [1.2, -0.7, 0.4, 2.0]
    z = states @ theta
    lp = z - z.max(1, keepdims=True)
    lp = lp - np.log(np.exp(lp).sum(1, keepdims=True))
    p = np.exp(lp)
    ent = -(p * lp).sum(1)
    pick = lp[np.arange(len(actions)), actions]
    return -(pick * adv).mean() - 0.3 * ent.mean(), (theta, states, actions, np.array(adv), lp, p, ent)


def pg_backward(dloss, cache):
    theta, states, actions, adv, lp, p, ent = cache
    n = len(actions)
    dz = p * adv[:, None]
    dz[np.arange(n), actions] -= adv
    dz += 0.3 * p * (lp + ent[:, None])
    dz *= dloss / n
    return states.T @ dz, dz @ theta.T


def pg_args(rng):
    return rng.standard_normal((3, 5)), rng.standard_normal((4, 3)), np.array([0, 4, 2, 2])


PG = (pg_forward, pg_backward, pg_args)
add("policy gradient: softmax of the entropy", *PG, "C6", "theta states",
    ("p * (lp + ent[:, None])", "p * (lp + 1)"), also=("C8",))
add("policy gradient: entropy forgotten", *PG, "C8", "theta states",
    ("    dz += 0.3 * p * (lp + ent[:, None])\n", "\n"), also=("D1",), **HIDDEN)
add("policy gradient: advantage of the taken action", *PG, "A5", "theta states",
    ("actions] -= adv", "actions] -= 1"), also=("B6", "C8"))
add("policy gradient: sign of the entropy", *PG, "A1", "theta states",
    ("dz += 0.3 * p", "dz -= 0.3 * p"))


# ---------------------------------------------------------------- squeeze and excite, in place


def se_forward(x, W1, W2):
    s = x.mean(axis=(2, 3))
    h = np.maximum(s @ W1, 0)
    g = 1 / (1 + np.exp(-(h @ W2)))
    return x * g[:, :, None, None], (x, W1, W2, s, h, g)


def se_backward(dout, cache):
    x, W1, W2, s, h, g = cache
    dx = dout * g[:, :, None, None]
    dg = (dout * x).sum(axis=(2, 3))
    dg *= g * (1 - g)
    dW2 = h.T @ dg
    dh = dg @ W2.T
    dh[h <= 0] = 0
    dW1 = s.T @ dh
    ds = dh @ W1.T
    dx += ds[:, :, None, None] / (x.shape[2] * x.shape[3])
    return dx, dW1, dW2


se_args = normal((3, 4, 2, 3), (4, 5), (5, 4))
SE = (se_forward, se_backward, se_args)
add("squeeze-excite: dout scaled in place", *SE, "E3", "x W1 W2",
    ("    dx = dout * g[:, :, None, None]", "    dx = dout\n    dx *= g[:, :, None, None]"))
add("squeeze-excite: mean of the gate", *SE, "A2", "x W1 W2",
    ("(dout * x).sum(axis=(2, 3))", "(dout * x).mean(axis=(2, 3))"), also=("B3", "A5", "A4"), **HIDDEN)
add("squeeze-excite: area of the map forgotten", *SE, "A5", "x",
    ("ds[:, :, None, None] / (x.shape[2] * x.shape[3])", "ds[:, :, None, None]"), also=("A2", "A4"))
add("squeeze-excite: relu of the gradient", *SE, "C2", "x W1",
    ("dh[h <= 0] = 0", "dh[dh <= 0] = 0"), also=("C1", "C3"))


# ---------------------------------------------------------------- total variation denoising, C-like buffers

_GRAD_BUF = np.zeros((5, 6))


def tv_forward(u, f):
    eps = 0.1
    dx = u[:, 1:] - u[:, :-1]
    dy = u[1:, :] - u[:-1, :]
    tv = np.sqrt(dx[:-1] ** 2 + dy[:, :-1] ** 2 + eps)
    return 0.5 * ((u - f) ** 2).sum() + 0.8 * tv.sum(), (u, f, dx, dy, tv)


def tv_backward(dE, cache):
    u, f, dx, dy, tv = cache
    px = 0.8 * dx[:-1] / tv
    py = 0.8 * dy[:, :-1] / tv
    _GRAD_BUF[:] = 0
    _GRAD_BUF[:-1, 1:] += px
    _GRAD_BUF[:-1, :-1] -= px
    _GRAD_BUF[1:, :-1] += py
    _GRAD_BUF[:-1, :-1] -= py
    data = u - f
    return dE * (_GRAD_BUF + data), -dE * data


TV = (tv_forward, tv_backward, normal((5, 6), (5, 6)))
add("tv denoising: buffer not cleared", *TV, "E2", "u",
    ("    _GRAD_BUF[:] = 0\n", "\n"))
add("tv denoising: neighbour's share forgotten", *TV, "C8", "u",
    ("    _GRAD_BUF[:-1, :-1] -= px\n", "\n"), **HIDDEN)
add("tv denoising: rows and columns exchanged", *TV, "F4", "u",
    ("_GRAD_BUF[1:, :-1] += py", "_GRAD_BUF[:-1, 1:] += py"), also=("B6",))
add("tv denoising: root's derivative", *TV, "C1", "u",
    ("px = 0.8 * dx[:-1] / tv", "px = 0.8 * dx[:-1]"), also=("C3", "A5"))


# ---------------------------------------------------------------- two hidden layers, gradients and update in one go (bootcamp)


def step_forward(P, X):
    Y = np.array([[1, 0, 0, 1, 1, 0]]).T
    Z1 = X @ P["W1"] + P["b1"]
    A1 = np.maximum(0, Z1)
    Z2 = A1 @ P["W2"] + P["b2"]
    A2 = np.maximum(0, Z2)
    A3 = sig(A2 @ P["W3"] + P["b3"])
    cost = -np.mean(Y * np.log(A3) + (1 - Y) * np.log(1 - A3))
    return cost, (P, X, Y, Z1, A1, Z2, A2, A3)


def step_backward(dcost, cache, lr=0.1):
    P, X, Y, Z1, A1, Z2, A2, A3 = cache
    W1, W2, W3 = P["W1"], P["W2"], P["W3"]
    m = Y.shape[0]
    G = {}
    dZ3 = dcost * (A3 - Y) / m
    G["W3"] = A2.T @ dZ3
    G["b3"] = dZ3.sum(axis=0)
    dA2 = dZ3 @ W3.T
    W3 = W3 - lr * G["W3"]
    dZ2 = dA2 * (Z2 > 0)
    G["W2"] = A1.T @ dZ2
    G["b2"] = dZ2.sum(axis=0)
    dA1 = dZ2 @ W2.T
    W2 = W2 - lr * G["W2"]
    dZ1 = dA1 * (Z1 > 0)
    G["W1"] = X.T @ dZ1
    G["b1"] = dZ1.sum(axis=0)
    dX = dZ1 @ W1.T
    W1 = W1 - lr * G["W1"]
    step_backward.updated = {"W1": W1, "W2": W2, "W3": W3}
    return G, dX


def step_args(rng):
    r = rng.standard_normal
    return {"W1": r((4, 5)), "b1": r(5), "W2": r((5, 5)), "b2": r(5), "W3": r((5, 1)), "b3": r(1)}, r((6, 4))


ST = (step_forward, step_backward, step_args)
S1, S2, S3 = "P['W1'] P['b1'] X", "P['W2'] P['b2']", "P['W3'] P['b3']"
add("train step: W2 updated too early", *ST, "E4", S1,
    ('    dA1 = dZ2 @ W2.T\n    W2 = W2 - lr * G["W2"]', '    W2 = W2 - lr * G["W2"]\n    dA1 = dZ2 @ W2.T'), **HIDDEN)
add("train step: mask of the other hidden layer", *ST, "C4", S1,
    ("dA1 * (Z1 > 0)", "dA1 * (Z2 > 0)"), also=("C2", "B6"))
add("train step: output layer with its sigmoid' once more", *ST, "C3", f"{S1} {S2} {S3}",
    ("dcost * (A3 - Y) / m", "dcost * (A3 - Y) * A3 * (1 - A3) / m"), also=("C6",))
add("train step: square W2 not transposed", *ST, "B1", S1,
    ("dA1 = dZ2 @ W2.T", "dA1 = dZ2 @ W2"))
add("train step: mean of the bias", *ST, "A3", "P['b2']",
    ('G["b2"] = dZ2.sum(axis=0)', 'G["b2"] = dZ2.mean(axis=0)'), also=("A2",), **HIDDEN)


# ---------------------------------------------------------------- cubic B-spline on a uniform grid


def bspline_w(u):
    return np.array([(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3]) / 6


def bspline_dw(u):
    return np.array([-3 * (1 - u) ** 2, 9 * u**2 - 12 * u, -9 * u**2 + 6 * u + 3, 3 * u**2]) / 6


def spline_forward(ctrl, t):
    nseg = len(ctrl) - 3
    s = nseg / (1 + np.exp(-t))
    seg = np.minimum(s.astype(int), nseg - 1)
    u = s - seg
    out = np.array([bspline_w(u[i]) @ ctrl[seg[i] : seg[i] + 4] for i in range(len(t))])
    return out, (ctrl, t, s, seg, u, nseg)


def spline_backward(dout, cache):
    ctrl, t, s, seg, u, nseg = cache
    dctrl = np.zeros(len(ctrl))
    dt = np.zeros(len(t))
    for i in range(len(t)):
        w, dw = bspline_w(u[i]), bspline_dw(u[i])
        for j in range(4):
            dctrl[seg[i] + j] += w[j] * dout[i]
            dt[i] += dw[j] * ctrl[seg[i] + j] * dout[i]
    dt *= s * (1 - s / nseg)
    return dctrl, dt


SP = (spline_forward, spline_backward, normal(7, 6))
add("spline: whole numbers in the buffer", *SP, "H3", "ctrl",
    ("dctrl = np.zeros(len(ctrl))", "dctrl = np.zeros(len(ctrl), dtype=int)"))
add("spline: one basis function's derivative", *SP, "C3", "t",
    ("9 * u**2 - 12 * u,", "9 * u**2 - 6 * u,"), helpers=(bspline_dw,), also=("A4",))
add("spline: inner map taken for linear", *SP, "C1", "t",
    ("    dt *= s * (1 - s / nseg)\n", "\n"), also=("C8",), **HIDDEN)
add("spline: next control point", *SP, "G3", "t",
    ("dw[j] * ctrl[seg[i] + j]", "dw[j] * ctrl[seg[i] + j - 1]"), also=("B6", "G2"))
add("spline: last sample of a control point wins", *SP, "E1", "ctrl",
    ("dctrl[seg[i] + j] += w", "dctrl[seg[i] + j] = w"))
CASES = tuple(_CASES)
