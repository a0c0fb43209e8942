"""Mistakes in compositions: perceptrons, recurrent nets, LeNet-5."""

from tests.mutants.mistake import BARELY, mistakes

C1 = "X params['C1']"
C3 = f"{C1} params['S2'] params['C3']"
C5 = f"{C3} params['S4'] params['C5']"
ALL_OF_LENET = f"{C5} params['F6'] params['output']"

THROUGH_TIME = "X h0 Wxh Whh bh"
THROUGH_COLUMNS = "x h0 U W b"

NETWORKS = {
    "mlp": (
        *mistakes(
            "X layers",
            (
                "derivative at the activation",
                "sigma_backward(dA, sigma_cache)",
                "sigma_backward(dA, np.tanh(sigma_cache))",
                "C2",
            ),
            ("factor 2", "loss_backward(dC", "2 * loss_backward(dC", "A4"),
        ),
        *mistakes(
            "X layers[0] layers[1]",
            (
                "weights updated first",
                "affine_backward(dZ, affine_cache)",
                "affine_backward(dZ, (affine_cache[0], affine_cache[1] - 0.1 * affine_cache[0].T @ dZ))",
                "E4 B6",
            ),
        ),
        *mistakes(
            "layers[0][1] layers[1][1] layers[2][1]",
            ("biases not summed", "(dW, db))", "(dW, dZ))", "B3"),
            ("biases over everything", "(dW, db))", "(dW, np.full_like(db, db.sum())))", "B4"),
        ),
        *mistakes(
            "layers[0][0] layers[1][0] layers[2][0]",
            ("weights clipped", "(dW, db))", "(np.clip(dW, -0.01, 0.01), db))", "G4"),
        ),
        *mistakes(
            "X layers",
            ("missing derivative everywhere", "dZ = sigma_backward(dA, sigma_cache)", "dZ = dA", "C1"),
            (
                "derivative applied twice",
                "sigma_backward(dA, sigma_cache)",
                "sigma_backward(sigma_backward(dA, sigma_cache), sigma_cache)",
                "C3 C6",
            ),
            ("cotangent ignored", "loss_backward(dC, loss_cache)", "loss_backward(1.0, loss_cache)", "C5"),
            ("sign", "loss_backward(dC", "-loss_backward(dC", "A1"),
            ("barely", "loss_backward(dC", f"{BARELY} * loss_backward(dC", "A4"),
            (
                "divided by the batch twice",
                "loss_backward(dC, loss_cache)",
                "loss_backward(dC, loss_cache) / len(loss_cache[0])",
                "A3 A2",
            ),
        ),
        *mistakes(
            "layers",
            ("last layer forgotten", "dlayers[::-1]", "dlayers[:0:-1]", "C8"),
            ("weights and biases exchanged", "(dW, db))", "(db, dW))", "B5"),
        ),
        *mistakes(
            "X",
            ("dX of the activation", "return dA, dlayers", "return dZ, dlayers", "B6 C4"),
            ("dX zero", "return dA, dlayers", "return 0 * dA, dlayers", "C8"),
            (
                "dX without the last sample",
                "return dA, dlayers",
                "return np.r_[dA[:-1], 0 * dA[-1:]], dlayers",
                "C8 E1 G2",
            ),
        ),
        *mistakes("layers[0] layers[2]", ("layers in reverse order", "dlayers[::-1]", "dlayers", "B5")),
        *mistakes(
            "layers[0][1] layers[1][1] layers[2][1]",
            ("biases by mean for sum", "(dW, db))", "(dW, db / len(dA)))", "A3 A2"),
        ),
        *mistakes(
            "layers[0][0] layers[1][0] layers[2][0]",
            ("weight decay that the forward has not", "(dW, db))", "(dW + 0.01 * affine_cache[1], db))", "D1"),
        ),
    ),
    "mlp_one_hidden": (
        *mistakes(
            "x W1 b1 W2 b2",
            ("factor 2 in the loss", "dy = loss_backward", "dy = 2 * loss_backward", "A4"),
            ("loss by mean for sum", "(dL, E_cache)", "(dL, E_cache) / len(h_cache[0])", "A2"),
            ("diagonal of the softmax", "f2_backward(dy, y_cache)", "dy * y_cache * (1 - y_cache)", "C6"),
        ),
        *mistakes(
            "x W1 b1",
            (
                "derivative of f1 at the activation",
                "f1_backward(dz, z_cache)",
                "f1_backward(dz, np.tanh(z_cache))",
                "C2",
            ),
            (
                "W2 updated first",
                "affine_backward(da, a_cache)",
                "affine_backward(da, (a_cache[0], a_cache[1] - 0.1 * a_cache[0].T @ da))",
                "E4 B6",
            ),
        ),
        *mistakes(
            "W1 W2",
            ("weight decay halved", "dW1 + decay1, dW2 + decay2", "dW1 + decay1 / 2, dW2 + decay2 / 2", "D1"),
            (
                "weights clipped",
                "dW1 + decay1, dW2 + decay2",
                "np.clip(dW1, -0.1, 0.1), np.clip(dW2, -0.1, 0.1)",
                "G4 D1",
            ),
        ),
        *mistakes(
            "b2",
            ("db2 not summed", "return dx, dW1, db1, dW2, db2", "return dx, dW1, db1, dW2, da", "B3"),
            ("db2 over everything", "return dx, dW1, db1, dW2, db2", "return dx, dW1, db1, dW2, db2.sum()", "B4"),
        ),
        *mistakes(
            "x W1 b1 W2 b2",
            ("missing derivative of f2", "da = f2_backward(dy, y_cache)", "da = dy", "C1 C6"),
            ("sign of the loss", "dy = loss_backward", "dy = -loss_backward", "A1"),
            ("loss ignores the cotangent", "loss_backward(dL, E_cache)", "loss_backward(1.0, E_cache)", "C5"),
        ),
        *mistakes(
            "x W1 b1",
            ("missing derivative of f1", "dh = f1_backward(dz, z_cache)", "dh = dz", "C1"),
            (
                "derivative of f1 applied twice",
                "dh = f1_backward(dz, z_cache)",
                "dh = f1_backward(f1_backward(dz, z_cache), z_cache)",
                "C3 C6",
            ),
        ),
        *mistakes(
            "W1 W2",
            ("weight decay forgotten", "dW1 + decay1, dW2 + decay2", "dW1, dW2", "D1 C8"),
            ("weight decay for the data", "dW1 + decay1, dW2 + decay2", "decay1, decay2", "C8 E1"),
            ("weight decay twice", "dW1 + decay1, dW2 + decay2", "dW1 + 2 * decay1, dW2 + 2 * decay2", "D1"),
            ("weight decay subtracted", "dW1 + decay1, dW2 + decay2", "dW1 - decay1, dW2 - decay2", "D1"),
            ("weight decay ignores the cotangent", "weight_decay_backward(dL", "weight_decay_backward(1.0", "C5 D1"),
        ),
        *mistakes("W2", ("weight decay in one layer", "dW2 + decay2", "dW2", "D1 C8")),
        *mistakes("b1", ("db1 barely", "dh, h_cache)", f"dh, h_cache)\n    db1 = {BARELY} * db1", "A4")),
        *mistakes(
            "x",
            ("dx of the hidden layer", "return dx,", "return dz,", "B6 C4"),
            ("dx zero", "return dx,", "return 0 * dx,", "C8"),
        ),
        *mistakes(
            "b1 b2", ("db1 and db2 exchanged", "return dx, dW1, db1, dW2, db2", "return dx, dW1, db2, dW2, db1", "B5")
        ),
    ),
    "rnn": (
        *mistakes(
            "X h0 Wxh Whh bh Whs bs",
            ("sign of the loss", "ds = softmax", "ds = -softmax", "A1"),
            ("mean over the batch", "(dL, loss_cache)", "(dL, loss_cache) / n", "A2"),
            ("cotangent ignored", "(dL, loss_cache)", "(1.0, loss_cache)", "C5"),
            (
                "softmax derived again",
                "(dL, loss_cache)",
                "(dL, loss_cache) * loss_cache[0] * (1 - loss_cache[0])",
                "C6",
            ),
        ),
        *mistakes(
            THROUGH_TIME,
            ("derivative at the state", "(dh_t, step_caches[t])", "(dh_t, np.tanh(step_caches[t]))", "C2"),
            ("later steps added twice", "dh[t] + r", "dh[t] + r + r", "E2 A4"),
            ("clipped on the way", "r = dz[t] @ Whh.T", "r = np.clip(dz[t] @ Whh.T, -0.1, 0.1)", "G4"),
            ("horizon of two steps", "dh[t] + r", "dh[t] + (t % 2 == 0) * r", "G2 G1"),
        ),
        *mistakes(
            "Whh",
            ("dWhh with the new state", "h_before.T @ dz_flat", "output_cache[0].T @ dz_flat", "G3"),
            ("dWhh clipped", "h_before.T @ dz_flat", "np.clip(h_before.T @ dz_flat, -0.1, 0.1)", "G4"),
            ("dWhh without the first step", "h_before.T @ dz_flat", "h_before[n:].T @ dz_flat[n:]", "G2 G3"),
        ),
        *mistakes("bh", ("dbh over everything", "dWhh, dbh,", "dWhh, dbh.sum(),", "B4")),
        *mistakes(
            THROUGH_TIME,
            ("later steps dropped", "dh[t] + r", "dh[t]", "G1"),
            ("own output dropped", "dh[t] + r", "r", "C8 G2"),
            ("missing derivative", "sigma_backward(dh_t, step_caches[t])", "dh_t", "C1"),
            ("derivative one step early", "step_caches[t])", "step_caches[t - 1])", "C2 G3 C4"),
            ("Whh not transposed", "Whh.T", "Whh", "B1"),
            ("forwards in time", "reversed(range(T))", "range(T)", "G1 G2"),
            ("cut after the last step", "r = dz[t] @ Whh.T", "r = (t == T - 1) * dz[t] @ Whh.T", "G2 G1"),
            ("barely through time", "r = dz[t]", f"r = {BARELY} * dz[t]", "A4"),
        ),
        *mistakes(
            "h0",
            ("dh0 without Whh", "dh0 = r", "dh0 = dz[0]", "B6 C8"),
            ("dh0 zero", "dh0 = r", "dh0 = np.zeros_like(r)", "C8 G1"),
        ),
        *mistakes(
            "Whh",
            ("dWhh of the last step", "h_before.T @ dz_flat", "h_before[-n:].T @ dz_flat[-n:]", "E1 G1 G2"),
            ("dWhh off by one in time", "h_before.T @ dz_flat", "h_before[n:].T @ dz_flat[:-n]", "G3 G2"),
            ("dWhh transposed", "h_before.T @ dz_flat", "dz_flat.T @ h_before", "B1"),
            ("dWhh mean over time", "h_before.T @ dz_flat", "h_before.T @ dz_flat / T", "A2 A3 A4"),
        ),
        *mistakes(
            "X",
            (
                "dX with time and batch exchanged",
                "dX_flat.reshape(T, n, d)",
                "dX_flat.reshape(n, T, d).swapaxes(0, 1)",
                "B1",
            ),
        ),
        *mistakes("Wxh Whh", ("dWxh and dWhh exchanged", "dh0, dWxh, dWhh,", "dh0, dWhh, dWxh,", "B5")),
        *mistakes("Whs", ("dWhs mean over time", "dWhs, dbs\n", "dWhs / T, dbs\n", "A2 A3 A4")),
        *mistakes("bs", ("dbs sign", "dWhs, dbs\n", "dWhs, -dbs\n", "A1")),
        *mistakes("bh", ("dbh of the first step", "dWhh, dbh,", "dWhh, dz[0].sum(axis=0),", "E1 C8 G1 G2")),
    ),
    "rnn_columns": (
        *mistakes(
            THROUGH_COLUMNS,
            ("cotangent ignored", "g_backward(dy, g_cache)", "g_backward(np.ones_like(dy), g_cache)", "C5"),
            ("derivative at the state", "(dh_t, f_caches[t])", "(dh_t, np.tanh(f_caches[t]))", "C2"),
            ("cut after the last step", "r = U.T", "r = (t == len(dy) - 1) * U.T", "G2 G1"),
            ("later steps added twice", "dh_from_y[t] + r", "dh_from_y[t] + r + r", "E2 A4"),
            ("sign on the way back", "r = U.T", "r = -U.T", "A1"),
        ),
        *mistakes(
            "U",
            (
                "dU with the new state",
                "np.tensordot(dz, h_before,",
                "np.tensordot(dz, np.roll(h_before, -1, axis=0),",
                "G3",
            ),
            ("dU without the first step", "np.tensordot(dz, h_before,", "np.tensordot(dz[1:], h_before[1:],", "G2 G3"),
            ("dU clipped", "return dx, dh0, dU,", "return dx, dh0, np.clip(dU, -0.1, 0.1),", "G4"),
        ),
        *mistakes("b", ("db over everything", "dz.sum(axis=(0, 2))", "dz.sum()", "B4")),
        *mistakes(
            THROUGH_COLUMNS,
            ("later steps dropped", "dh_from_y[t] + r", "dh_from_y[t]", "G1"),
            ("own output dropped", "dh_from_y[t] + r", "r", "C8 G2"),
            ("missing derivative", "f_backward(dh_t, f_caches[t])", "dh_t", "C1"),
            ("derivative one step early", "f_caches[t])", "f_caches[t - 1])", "C2 G3 C4"),
            ("U not transposed", "U.T @", "U @", "B1"),
            ("forwards in time", "reversed(range(len(dy)))", "range(len(dy))", "G1 G2"),
            ("missing derivative of g", "g_backward(dy, g_cache)", "dy", "C1"),
            ("barely through time", "r = U.T", f"r = {BARELY} * U.T", "A4"),
        ),
        *mistakes("x", ("dx shifted in time", "W.T @ dz", "np.roll(W.T @ dz, 1, axis=0)", "G3 F3 G2")),
        *mistakes(
            "h0",
            ("dh0 without U", "dh0 = r", "dh0 = dz[0]", "B6 C8"),
            ("dh0 zero", "dh0 = r", "dh0 = np.zeros_like(r)", "C8 G1"),
        ),
        *mistakes(
            "U",
            ("dU off by one in time", "np.tensordot(dz, h_before,", "np.tensordot(dz[:-1], h_before[1:],", "G3 G2"),
            ("dU of the last step", "np.tensordot(dz, h_before,", "np.tensordot(dz[-1:], h_before[-1:],", "E1 G1 G2"),
            ("dU transposed", "return dx, dh0, dU,", "return dx, dh0, dU.T,", "B1"),
        ),
        *mistakes(
            "W", ("dW of the first column", "np.tensordot(dz, x,", "np.tensordot(dz[..., :1], x[..., :1],", "E1 C8")
        ),
        *mistakes(
            "b",
            ("db not summed over the columns", "axis=(0, 2))  # (B8)", "axis=0)", "B3"),
            ("db mean over time", "dz.sum(axis=(0, 2))", "dz.mean(axis=0).sum(axis=1)", "A2 A3 A4"),
        ),
    ),
    "lenet5": (
        *mistakes(
            ALL_OF_LENET,
            ("sign of the loss", "dZ = softmax", "dZ = -softmax", "A1"),
            ("divided by the batch twice", "(dL, loss)", "(dL, loss) / len(loss[0])", "A3 A2"),
            ("softmax derived again", "(dL, loss)", "(dL, loss) * loss[0] * (1 - loss[0])", "C6"),
        ),
        *mistakes(
            C3,
            ("derivative at the activation", "tanh_backward(dY3, tanh3)", "tanh_backward(dY3, np.tanh(tanh3))", "C2"),
        ),
        *mistakes(
            f"{C1} params['S2']",
            ("sum for mean in the pooling", "tanh_backward(dX2, tanh2)", "4 * tanh_backward(dX2, tanh2)", "A5 A4"),
        ),
        *mistakes(
            "params['C3'][0]",
            (
                "link table ignored",
                "conv_backward(dC3, conv3)",
                "conv_backward(dC3, (*conv3[:3], np.ones_like(conv3[3])))",
                "F5",
            ),
        ),
        *mistakes(
            "params['output']",
            ("last layer clipped", '"output": output', '"output": [g.clip(-0.01, 0.01) for g in output]', "G4"),
        ),
        *mistakes("params['C3'][1]", ("bias of C3 over everything", '"C3": c3', '"C3": (c3[0], c3[1].sum())', "B4")),
        *mistakes(
            C1,
            ("missing derivative of C1", "dC1 = tanh_backward(dY1, tanh1)", "dC1 = dY1", "C1"),
            ("derivative at a cotangent", "tanh_backward(dY1, tanh1)", "tanh_backward(dY1, dY1)", "C2 C3"),
        ),
        *mistakes(f"{C1} params['S2']", ("missing derivative of S2", "tanh_backward(dX2, tanh2)", "dX2", "C1")),
        *mistakes(
            C3, ("barely through C3", "tanh_backward(dY3, tanh3)", f"{BARELY} * tanh_backward(dY3, tanh3)", "A4")
        ),
        *mistakes(C5, ("missing derivative of C5", "tanh_backward(dY5, tanh5)[", "dY5[", "C1")),
        *mistakes(
            ALL_OF_LENET,
            (
                "loss ignores the cotangent",
                "softmax_cross_entropy_backward(dL, loss)",
                "softmax_cross_entropy_backward(1.0, loss)",
                "C5",
            ),
        ),
        *mistakes(
            "X",
            ("dX zero", "return dX,", "return 0 * dX,", "C8"),
            ("dX of C1", "return dX,", "return dC1,", "B6 C4"),
            ("dX turned", "return dX,", "return dX[..., ::-1, ::-1],", "F1"),
        ),
        *mistakes(
            "params['S2'] params['S4']",
            ("poolings exchanged", '"S2": s2, "C3": c3, "S4": s4', '"S2": s4, "C3": c3, "S4": s2', "B5"),
        ),
        *mistakes(
            "params['output']",
            (
                "last layer scaled and negated",
                '"output": output',
                '"output": [output[0] / len(dZ), -output[1]]',
                "A3 A2 A1",
            ),
        ),
        *mistakes("params['S4']", ("a layer forgotten", '"S4": s4, ', "", "C8")),
    ),
}
