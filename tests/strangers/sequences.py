"""Recurrent nets, embeddings and attention: min-char-rnn, CS231n's steps, and what people build from them."""

import numpy as np

from tests.strangers.case import Case, RightAlthough, from_cost, normal, planted, planted_case


def lossFun(inputs, targets, Wxh, Whh, Why, bh, by):
    """Return the loss and the gradients of min-char-rnn; inputs and targets are lists of whole numbers."""
    xs, hs, ps = {}, {}, {}
    hs[-1] = np.zeros((Whh.shape[0], 1))
    loss = 0
    for t in range(len(inputs)):
        xs[t] = np.zeros((Wxh.shape[1], 1))
        xs[t][inputs[t]] = 1
        hs[t] = np.tanh(np.dot(Wxh, xs[t]) + np.dot(Whh, hs[t - 1]) + bh)
        ys = np.dot(Why, hs[t]) + by
        ps[t] = np.exp(ys) / np.sum(np.exp(ys))
        loss += -np.log(ps[t][targets[t], 0])
    dWxh, dWhh, dWhy = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(Why)
    dbh, dby = np.zeros_like(bh), np.zeros_like(by)
    dhnext = np.zeros_like(hs[0])
    for t in reversed(range(len(inputs))):
        dy = np.copy(ps[t])
        dy[targets[t]] -= 1
        dWhy += np.dot(dy, hs[t].T)
        dby += dy
        dh = np.dot(Why.T, dy) + dhnext
        dhraw = (1 - hs[t] * hs[t]) * dh
        dbh += dhraw
        dWxh += np.dot(dhraw, xs[t].T)
        dWhh += np.dot(dhraw, hs[t - 1].T)
        dhnext = np.dot(Whh.T, dhraw)
    return loss, dWxh, dWhh, dWhy, dbh, dby


def rnn_step_forward(x, prev_h, Wx, Wh, b):
    next_h = np.tanh(x.dot(Wx) + prev_h.dot(Wh) + b)
    return next_h, (x, prev_h, Wx, Wh, next_h)


def rnn_step_backward(dnext_h, cache):
    x, prev_h, Wx, Wh, next_h = cache
    dtheta = dnext_h * (1 - next_h**2)
    dx = dtheta.dot(Wx.T)
    dprev_h = dtheta.dot(Wh.T)
    dWx = x.T.dot(dtheta)
    dWh = prev_h.T.dot(dtheta)
    db = dtheta.sum(axis=0)
    return dx, dprev_h, dWx, dWh, db


def rnn_forward(x, h0, Wx, Wh, b):
    h, cache, prev_h = np.zeros((x.shape[0], x.shape[1], h0.shape[1])), [], h0
    for t in range(x.shape[1]):
        prev_h, step = rnn_step_forward(x[:, t], prev_h, Wx, Wh, b)
        h[:, t] = prev_h
        cache.append(step)
    return h, cache


def rnn_backward(dh, cache):
    N, T, H = dh.shape
    D = cache[0][0].shape[1]
    dx, dprev_h = np.zeros((N, T, D)), np.zeros((N, H))
    dWx, dWh, db = np.zeros((D, H)), np.zeros((H, H)), np.zeros(H)
    for t in range(T - 1, -1, -1):
        dx[:, t], dprev_h, dWx_t, dWh_t, db_t = rnn_step_backward(dh[:, t] + dprev_h, cache[t])
        dWx += dWx_t
        dWh += dWh_t
        db += db_t
    return dx, dprev_h, dWx, dWh, db


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b):
    H = prev_h.shape[1]
    a = x @ Wx + prev_h @ Wh + b
    i, f, o = sigmoid(a[:, :H]), sigmoid(a[:, H : 2 * H]), sigmoid(a[:, 2 * H : 3 * H])
    g = np.tanh(a[:, 3 * H :])
    next_c = f * prev_c + i * g
    next_h = o * np.tanh(next_c)
    return (next_h, next_c), (x, prev_h, prev_c, Wx, Wh, i, f, o, g, next_c)


def lstm_step_backward(dout, cache):
    dnext_h, dnext_c = dout
    x, prev_h, prev_c, Wx, Wh, i, f, o, g, next_c = cache
    tc = np.tanh(next_c)
    do = dnext_h * tc
    dc = dnext_c + dnext_h * o * (1 - tc**2)
    df = dc * prev_c
    dprev_c = dc * f
    di = dc * g
    dg = dc * i
    da_i = di * i * (1 - i)
    da_f = df * f * (1 - f)
    da_o = do * o * (1 - o)
    da_g = dg * (1 - g**2)
    da = np.concatenate((da_i, da_f, da_o, da_g), axis=1)
    dx = da @ Wx.T
    dprev_h = da @ Wh.T
    dWx = x.T @ da
    dWh = prev_h.T @ da
    return dx, dprev_h, dprev_c, dWx, dWh, da.sum(axis=0)


def lstm_forward(x, h0, Wx, Wh, b):
    h, c, hs, cache = h0, np.zeros_like(h0), [], []
    for t in range(len(x)):
        (h, c), step = lstm_step_forward(x[t], h, c, Wx, Wh, b)
        hs.append(h)
        cache.append(step)
    return np.stack(hs), cache


def lstm_backward(dhs, cache):
    grads, dh_next, dc_next = [], np.zeros_like(dhs[0]), np.zeros_like(dhs[0])
    dWx = dWh = db = 0
    for t in reversed(range(len(dhs))):
        dxt, dh_next, dc_next, dWx_t, dWh_t, db_t = lstm_step_backward((dhs[t] + dh_next, dc_next), cache[t])
        dWx, dWh, db = dWx + dWx_t, dWh + dWh_t, db + db_t
        grads.insert(0, dxt)
    return np.array(grads), dh_next, dWx, dWh, db


def gru_forward(x, h, Wz, Wr, Wn, Uz, Ur, Un):
    z = sigmoid(x @ Wz + h @ Uz)
    r = sigmoid(x @ Wr + h @ Ur)
    n = np.tanh(x @ Wn + (r * h) @ Un)
    return (1 - z) * n + z * h, (x, h, Wz, Wr, Wn, Uz, Ur, Un, z, r, n)


def gru_backward(dout, cache):
    x, h, Wz, Wr, Wn, Uz, Ur, Un, z, r, n = cache
    dh = dout * z
    dz = dout * (h - n) * z * (1 - z)
    dn = dout * (1 - z) * (1 - n**2)
    drh = dn @ Un.T
    dh = dh + drh * r
    dr = drh * h * r * (1 - r)
    dh = dh + dz @ Uz.T + dr @ Ur.T
    dx = dz @ Wz.T + dr @ Wr.T + dn @ Wn.T
    return dx, dh, x.T @ dz, x.T @ dr, x.T @ dn, h.T @ dz, h.T @ dr, (r * h).T @ dn


def word_embedding_forward(x, W):
    return W[x, :], (x, W.shape)


def word_embedding_backward(dout, cache):
    x, shape = cache
    dW = np.zeros(shape)
    np.add.at(dW, x, dout)
    return dW


def attention(X, Wq, Wk, Wv):
    q, k, v = X @ Wq, X @ Wk, X @ Wv
    scores = q @ k.T / np.sqrt(k.shape[1])
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = e / e.sum(axis=-1, keepdims=True)
    return weights @ v, (X, Wq, Wk, Wv, q, k, v, weights)


def attention_backward(dout, cache):
    X, Wq, Wk, Wv, q, k, v, weights = cache
    dv = weights.T @ dout
    dweights = dout @ v.T
    dscores = weights * (dweights - (weights * dweights).sum(axis=-1, keepdims=True))
    dscores /= np.sqrt(k.shape[1])
    dq = dscores @ k
    dk = dscores.T @ q
    dX = dq @ Wq.T
    dX += dk @ Wk.T
    dX += dv @ Wv.T
    return dX, X.T @ dq, X.T @ dk, X.T @ dv


def text(rng):
    return [0, 1, 2, 2, 3], [1, 2, 2, 3, 0], *normal((3, 4), (3, 3), (4, 3), (3, 1), (4, 1))(rng)


def words(rng):
    return WORDS, rng.standard_normal((5, 3))


def small_rnn(rng):
    x, h0, *weights = RNN(rng)
    return x, h0, *(1e-3 * weight for weight in weights)


RNN = normal((3, 4, 5), (3, 2), (5, 2), (2, 2), 2)
LSTM_STEP = normal((3, 4), (3, 2), (3, 2), (4, 8), (2, 8), 8)
LSTM = normal((4, 3, 5), (3, 2), (5, 8), (2, 8), 8)
GRU = normal((3, 4), (3, 2), *[(4, 2)] * 3, *[(2, 2)] * 3)
ATTENTION = normal((4, 5), (5, 3), (5, 3), (5, 2))
RECURRENT = "Wxh Whh bh"
WHOLE_RNN = "x h0 Wx Wh b"
WORDS = np.array([[1, 2, 1], [0, 1, 4]])


def _char(name, mistake, wrong, *edits, **rest):
    pairs = from_cost(lossFun, planted(lossFun, *edits, source=rest.get("source", True)))
    return Case(f"min-char-rnn: {name}", *pairs, text, mistake, tuple(wrong.split()), **rest)


def _rnn(name, args, *rest, **more):
    return planted_case(f"rnn: {name}", rnn_forward, rnn_backward, args, *rest, helpers=(rnn_step_backward,), **more)


def _lstm(name, *rest, **more):
    return planted_case(f"lstm step: {name}", lstm_step_forward, lstm_step_backward, LSTM_STEP, *rest, **more)


def _gru(name, *rest, **more):
    return planted_case(f"gru: {name}", gru_forward, gru_backward, GRU, *rest, **more)


def _attention(name, *rest, **more):
    return planted_case(f"attention: {name}", attention, attention_backward, ATTENTION, *rest, **more)


CASES = (
    _char("no derivative of the tanh", "C1", RECURRENT, ("(1 - hs[t] * hs[t]) * dh", "dh")),
    _char("nothing from the next step", "G1", RECURRENT, (" + dhnext", ""), source=False),
    _char("the state after the step in dWhh", "G3", "Whh", ("dhraw, hs[t - 1].T", "dhraw, hs[t].T")),
    _char("Whh not transposed", "B1", RECURRENT, ("np.dot(Whh.T, dhraw)", "np.dot(Whh, dhraw)"), source=False),
    _char(
        "clips before it returns",
        "G4",
        "Wxh Whh Why bh by",
        (
            "    return loss, dWxh",
            "    for dparam in [dWxh, dWhh, dWhy, dbh, dby]:\n        np.clip(dparam, -0.1, 0.1, out=dparam)\n"
            "    return loss, dWxh",
        ),
    ),
    _char("dby overwritten at every step", "E1", "by", ("dby += dy", "dby = dy"), source=False),
    _char("target plus one", "A1", "Wxh Whh Why bh by", ("dy[targets[t]] -= 1", "dy[targets[t]] += 1")),
    _rnn("Wh not transposed, small weights", small_rnn, "B1", WHOLE_RNN, ("Wh.T", "Wh")),
    _rnn(
        "nothing from the next step, small weights",
        small_rnn,
        "G1",
        WHOLE_RNN,
        ("dh[:, t] + dprev_h", "dh[:, t]"),
        source=False,
    ),
    _rnn(
        "only the last step is asked",
        RNN,
        "C8",
        WHOLE_RNN,
        ("dh[:, t] + dprev_h", "(dh[:, t] if t == T - 1 else 0) + dprev_h"),
        also=("C5",),
    ),
    _rnn(
        "first step forgotten",
        RNN,
        "G2",
        WHOLE_RNN,
        ("range(T - 1, -1, -1)", "range(T - 1, 0, -1)"),
        also=("G1",),
        source=False,
    ),
    _rnn(
        "clips the weights' gradients",
        RNN,
        "G4",
        "Wx Wh b",
        (
            "        db += db_t\n    return dx",
            "        db += db_t\n    dWx, dWh, db = (np.clip(d, -0.1, 0.1) for d in (dWx, dWh, db))\n    return dx",
        ),
        source=False,
    ),
    _rnn("whole numbers in dx", RNN, "H3", "x", ("np.zeros((N, T, D))", "np.zeros((N, T, D), dtype=int)")),
    _rnn("dWh of the last iteration", RNN, "E1", "Wh", ("dWh += dWh_t", "dWh = dWh_t")),
    _rnn("new state for the old one", RNN, "G3", "Wh", ("dWh = prev_h.T.dot", "dWh = next_h.T.dot"), source=False),
    _rnn("derivative at the output's tanh", RNN, "C2", WHOLE_RNN, ("1 - next_h**2", "1 - np.tanh(next_h) ** 2")),
    _lstm(
        "cell forgets the gradient from its output",
        "C8",
        "x prev_h prev_c Wx Wh b",
        ("dc = dnext_c + dnext_h * o * (1 - tc**2)", "dc = dnext_c"),
    ),
    _lstm("forget gate without its derivative", "C1", "x prev_h Wx Wh b", ("df * f * (1 - f)", "df"), source=False),
    _lstm(
        "tanh of the cell derived at the cell",
        "C2",
        "x prev_h prev_c Wx Wh b",
        ("1 - tc**2", "1 - next_c**2"),
        also=("C3",),
    ),
    _lstm(
        "candidate derived as a sigmoid",
        "C3",
        "x prev_h Wx Wh b",
        ("dg * (1 - g**2)", "dg * g * (1 - g)"),
        also=("C4",),
        source=False,
    ),
    planted_case(
        "lstm: no cell gradient between steps",
        lstm_forward,
        lstm_backward,
        LSTM,
        "G1",
        "x h0 Wx Wh b",
        ("dhs[t] + dh_next, dc_next)", "dhs[t] + dh_next, 0 * dc_next)"),
    ),
    planted_case(
        "lstm: dWh overwritten",
        lstm_forward,
        lstm_backward,
        LSTM,
        "E1",
        "Wh",
        ("dWx + dWx_t, dWh + dWh_t", "dWx + dWx_t, dWh_t"),
        source=False,
    ),
    _gru("nothing along the update gate", "C8", "h", ("dh = dout * z\n", "dh = 0\n"), also=("G1",)),
    _gru("state without the reset gate in dUn", "B6", "Un", ("(r * h).T @ dn", "h.T @ dn"), source=False),
    _gru("gate's difference the other way round", "A1", "x h Wz Uz", ("(h - n)", "(n - h)")),
    planted_case(
        "embedding: last of the repeated words",
        word_embedding_forward,
        word_embedding_backward,
        words,
        "E1",
        "W",
        ("np.add.at(dW, x, dout)", "dW[x] = dout"),
    ),
    planted_case(
        "embedding: += on repeated words",
        word_embedding_forward,
        word_embedding_backward,
        words,
        "E1",
        "W",
        ("np.add.at(dW, x, dout)", "dW[x] += dout"),
        source=False,
    ),
    _attention("no scale backward", "A4", "X Wq Wk", ("    dscores /= np.sqrt(k.shape[1])\n", "")),
    _attention(
        "diagonal of the softmax",
        "C6",
        "X Wq Wk",
        (
            "weights * (dweights - (weights * dweights).sum(axis=-1, keepdims=True))",
            "dweights * weights * (1 - weights)",
        ),
        source=False,
    ),
    _attention("scores not transposed for the keys", "B1", "X Wk", ("dscores.T @ q", "dscores @ q")),
    _attention(
        "X without the path through the values", "C8", "X", ("    dX += dv @ Wv.T\n", ""), also=("E1",), source=False
    ),
    _attention(
        "dX overwritten by each path", "E1", "X", ("dX += dk", "dX = dk"), ("dX += dv", "dX = dv"), also=("C8",)
    ),
)

RIGHT_ALTHOUGH = (
    RightAlthough(
        "derivative of the tanh in the state",
        rnn_forward,
        rnn_backward,
        RNN,
        "1 - h**2 lacks the tanh, and the step is asked only once.",
    ),
)
