"""Mistakes in the two derived forms of backpropagation through time."""

from tests.mutants.mistake import BARELY, mistakes

EVERYTHING = "x h0 U W b"
DELTA = "delta = slopes[k] * np.einsum"

THROUGH_TIME = {
    "bptt_double_sum": (
        *mistakes(
            EVERYTHING,
            ("missing derivative at the loss", "delta = f_backward(e[t], f_caches[t])", "delta = e[t]", "C1"),
            ("missing derivative on the way", "f_backward(U.T @ delta, f_caches[k])", "U.T @ delta", "C1"),
            ("U not transposed", "f_backward(U.T @ delta", "f_backward(U @ delta", "B1"),
            (
                "slope of the step behind",
                "f_backward(U.T @ delta, f_caches[k])",
                "f_backward(U.T @ delta, f_caches[k + 1])",
                "C2 G3 C4",
            ),
            ("missing derivative of g", "e = g_backward(dy, g_cache)", "e = dy", "C1"),
            ("first step forgotten", "range(t, -1, -1)", "range(t, 0, -1)", "G2"),
            ("last loss alone", "for t in range(len(dy))", "for t in [len(dy) - 1]", "C8 G2"),
            ("barely through time", "f_backward(U.T @ delta", f"f_backward({BARELY} * U.T @ delta", "A4"),
        ),
        *mistakes(
            "U", ("printed without h", "dU += delta @ h_before[k].T", "dU += delta.sum(axis=1)[:, None]", "B6 C8")
        ),
        *mistakes("W", ("input of the loss's step", "x[k].T", "x[t].T", "G3 B6")),
        *mistakes("b", ("bias of one sample", "delta.sum(axis=1)", "delta[:, 0]", "E1 C8 B3")),
        *mistakes("x", ("input of the loss's step alone", "dx[k] += W.T", "dx[t] += W.T", "G3 B6 E1")),
        *mistakes("h0", ("start without U", "dh0 += U.T @ delta", "dh0 += delta", "B6 C8")),
    ),
    "bptt_jacobians": (
        *mistakes(
            "x U W b",
            ("missing immediate derivative", DELTA, "delta = np.einsum", "C1"),
            ("product not transposed", f'{DELTA}("bpi,pb->ib", product', f'{DELTA}("bip,pb->ib", product', "B1"),
            ("slope of the loss's step", "slopes[k] *", "slopes[t] *", "C2 G3 C4"),
            ("barely", DELTA, f"delta = {BARELY} * slopes[k] * np.einsum", "A4"),
        ),
        *mistakes(EVERYTHING, ("missing derivative of g", "e = g_backward(dy, g_cache)", "e = dy", "C1")),
        *mistakes(EVERYTHING, ("Jacobian of U transposed", "step_jacobians(U, ", "step_jacobians(U.T, ", "B1")),
        *mistakes("h0", ("start of the first loss", "dh0 += np.einsum", "dh0 = np.einsum", "E1")),
        *mistakes("U", ("state of the step itself", "h_before[k].T", "h_before[min(k + 1, t)].T", "G3")),
    ),
}
