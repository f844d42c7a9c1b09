"""Derivations of the ops that move, choose and reduce elements.

Most are linear. The gradient rule of a linear map is its adjoint, the map A^T with
<A x, g> = <x, A^T g>: what is read goes back, what is repeated is summed, what is summed is
repeated.
"""

from __future__ import annotations

__all__ = ["ARRAYS"]

SAME = "y = x, element for element, so g goes back unchanged."

ARRAYS: dict[str, dict[str, str]] = {
    "copy": {"x": SAME},
    "alias": {"x": SAME},
    "astype": {"x": "y = x up to rounding, so g goes back unchanged, in the dtype of x."},
    "reshape": {"x": "no element changes, only its address: g goes back in the shape of x."},
    "permute_dims": {"x": "y[i, j, k] = x in another order of axes; the inverse order brings every "
                          "entry of g to where its element came from."},
    "broadcast_to": {"x": "an element of x is read many times, and each reader adds to its "
                          "gradient: dL/dx is g summed over the repeats, which is sum_to."},
    "sum_to": {"x": "y = x_1 + x_2 + ... has dy/dx_i = 1, so every summand receives the g of its "
                    "sum: g repeated to the shape of x, which is broadcast_to."},
    "concat": {"*": "each array lies somewhere in y unchanged; its gradient is that stretch of g."},
    "slice": {"x": "the chosen elements are copied (dy/dx = 1), the others do not appear in y "
                   "(gradient 0): g is put back into zeros, which is unslice."},
    "unslice": {"g": "the adjoint of slice was needed once; its own adjoint is slice again."},
    "gather": {"x": "row v of x is copied to every i with indices[i] = v, so its gradient is the "
                    "sum of those rows of g: scatter_add. Rows that nobody asked for get 0."},
    "scatter_add": {"g": "row i of g is added to row indices[i] of y once, so it receives that row "
                         "of the cotangent: gather."},
    "put_along_axis": {
        "x": "an element of x that stays has dy/dx = 1, one that was overwritten has 0: g, with "
             "zeros at the written places.",
        "values": "a value that was written receives the g of its place; of several values for one "
                  "place only the last stayed, the others get 0."},
    "sort": {"x": "sorting moves elements, it does not change them: with the order held fixed "
                  "(a small change of x does not change it) g goes back to where each came from."},
    "sum": {"x": "y = x_1 + x_2 + ... has dy/dx_i = 1: g is repeated along the summed axes."},
    "mean": {"x": "y = (x_1 + ... + x_n) / n has dy/dx_i = 1/n: g / n, repeated along the axes."},
    "prod": {"x": "dy/dx_i is the product of all other elements. y / x_i would be NaN at a zero; "
                  "the rule multiplies a running product from the left by one from the right."},
    "max": {"x": "y is the largest element: dy/dx = 1 there, 0 elsewhere; several that are equally "
                 "large share g, g / count each, so that the order of elements does not matter."},
    "min": {"x": "dy/dx = 1 at the smallest element, 0 elsewhere; equal ones share g."},
    "logsumexp": {"x": "dy/dx_i = e^x_i / sum_j e^x_j = e^(x_i - y): the softmax, computed from "
                       "the result without a second sum."},
    "cumulative_sum": {"x": "x_j is part of y_j, y_(j+1), ... so its gradient is the sum of g from "
                            "j to the end: the running sum of g, backwards."},
    "cumulative_prod": {"x": "for k >= j, dy_k/dx_j is the product x_0 ... x_k without x_j. The "
                             "rule builds those products without dividing, so zeros do no harm: "
                             "what stands before j times what stands between j and k."},
    # products
    "matmul": {
        "a": "y_ij = sum_k a_ik b_kj, so dy_ij/da_ik = b_kj and dL/da_ik = sum_j g_ij b_kj: "
             "g b^T. The sizes leave no other choice: (M, N) times (N, K) is (M, K).",
        "b": "dL/db_kj = sum_i a_ik g_ij: a^T g."},
    "matmul_add": {"c": "y = c + a b has dy/dc = 1.", "a": "as for a matrix product: g b^T.",
                   "b": "as for a matrix product: a^T g."},
    "linear": {
        "x": "y_nf = sum_d x_nd W_fd + b_f, so dL/dx_nd = sum_f g_nf W_fd: g W, back along the "
             "same connections.",
        "weight": "dL/dW_fd = sum_n g_nf x_nd: g^T x, the sum over all samples of error times "
                  "input.",
        "bias": "b_f is added to every sample, so its gradient is g summed over them."},
    "linear_activation": {
        "*": "the chain rule in two steps: h = g f'(.), where f' is told by the result y alone "
             "(1 - y^2 for tanh, [y > 0] for relu), then the three rules of linear on h: h W, "
             "h^T x, sum h. Nothing between the product and the activation was stored."},
    "solve": {
        "b": "x = a^-1 b is linear in b; the adjoint of a^-1 is a^-T, so dL/db = a^-T g: one more "
             "solve, with the transposed matrix.",
        "a": "a x = b stays true: da x + a dx = 0, so dx = -a^-1 da x, and dL/da = "
             "-(a^-T g) x^T, an outer product of what the rule for b gives with the solution."},
    "inv": {"a": "y a = 1 stays true: dy a + y da = 0, so dy = -y da y and dL/da = -y^T g y^T."},
    "cholesky": {
        "a": "a = y y^T gives da = dy y^T + y dy^T. Multiplied by y^-1 and y^-T from both sides "
             "the right side is a lower triangle plus its transpose, so dy = y P(y^-1 da y^-T), "
             "P the lower half with half a diagonal; the rule is the adjoint of that "
             "(Murray 2016)."},
}
