"""Derivations of convolution, pooling, softmax, losses, normalisation, attention, recurrence."""

from __future__ import annotations

__all__ = ["LAYERS"]

PULL = "first g is brought back through the activation, which the result y alone tells (relu: " \
       "[y > 0]); "
TRILINEAR = ("Convolution, this op and the third one are the partial maps of one form, "
             "sum g_of w_fkc x_(..)c, which is linear in each of x, w and g. ")

LAYERS: dict[str, dict[str, str]] = {
    "conv": {
        "x": "x at a place is read by every output whose window covers it, through another entry "
             "of the kernel each; its gradient is the sum over those outputs of w_fkc g_of. That "
             "is a convolution of g with the flipped kernel: conv_grad_input.",
        "weight": "w_fkc is used at every output place o with the input x at (o stride - padding "
                  "+ k dilation), so dL/dw_fkc = sum_o g_of x_(..)c: each tap correlates the input "
                  "with the error. One small array summed over all images: conv_grad_weight.",
        "bias": "b_f is added at every place of channel f: g summed over images and places."},
    "conv_grad_input": {
        "g": TRILINEAR + "In g it gives back the convolution, of the cotangent with w.",
        "weight": TRILINEAR + "In w it gives conv_grad_weight, with the cotangent u as the image."},
    "conv_grad_weight": {
        "x": TRILINEAR + "In x it gives conv_grad_input, with the cotangent u as the kernel.",
        "g": TRILINEAR + "In g it gives the convolution of x with the cotangent u as the kernel."},
    "conv_activation": {
        "*": PULL + "then the three rules of conv apply to it. Nothing at full size but y was "
             "kept."},
    "conv_pool": {
        "*": PULL + "then each entry belongs to the one place of its window that was the maximum "
             "(a byte says which), and the gradients of the convolution read it from there, row by "
             "row: the gradient at full resolution is never an array."},
    "conv_pool_grad_input": {
        "*": "linear in g and in the weight, as conv_grad_input: g's gradient is the convolution "
             "of the cotangent, read at the places of the maxima; the weight's is "
             "conv_pool_grad_weight with the cotangent as the image."},
    "conv_pool_grad_weight": {
        "*": "linear in x and in g, as conv_grad_weight: x's gradient is conv_pool_grad_input with "
             "the cotangent as the kernel; g's is a convolution with it, read at the places of the "
             "maxima."},
    "conv_pool_grad_bias": {
        "g": "each entry of g is added to its channel once, so it receives the channel's cotangent "
             "(0 where a place lies outside its window)."},
    "max_pool": {
        "x": "y is one element of its window: dy/dx = 1 at the maximum, 0 for the others, so g "
             "goes to the place that was noted, and windows that share an element add up. Ties go "
             "to the first."},
    "max_pool_grad": {"g": "each entry of g is moved to one place; its gradient is the cotangent "
                           "read at that place: max_pool_take."},
    "max_pool_take": {"x": "an element is read by the windows that it won: the sum of their "
                           "cotangents, max_pool_grad."},
    "resample": {
        "x": "y = A x with fixed weights (1 / window size for an average, distances for an "
             "interpolation), so dL/dx = A^T g: the same op with the windows transposed, outputs "
             "in the place of inputs."},
    # losses and softmax
    "softmax": {
        "x": "dy_i/dx_j = y_i ([i = j] - y_j): raising x_j raises y_j and lowers all others, "
             "because they sum to 1. Summed with g: dL/dx_j = y_j (g_j - sum_i g_i y_i), g minus "
             "its mean under y. A gradient that is the same for all classes has no effect."},
    "softmax_grad": {
        "g": "out = y (g - sum g y) is linear in g, and its matrix diag(y) - y y^T is symmetric: "
             "its own adjoint, so the op itself with u for g.",
        "y": "the product rule on y (g - s), s = sum g y: u (g - s) directly, and -g sum u y "
             "through s."},
    "log_softmax": {
        "x": "dy_i/dx_j = [i = j] - softmax(x)_j, and softmax(x) = e^y: "
             "dL/dx_j = g_j - e^y_j sum_i g_i."},
    "log_softmax_grad": {
        "g": "out_j = g_j - p_j sum_i g_i with p = e^y: an entry of g is in out_j itself and in "
             "every sum: u_i - sum_j u_j p_j.",
        "y": "only p = e^y depends on y, and is its own derivative: -u_j p_j sum g."},
    "softmax_cross_entropy": {
        "logits": "lse has the gradient p = softmax(logits) = e^(logits - lse), and loss = lse - "
                  "logits_label, so dloss/dlogits_c = p_c - [c = label]: predicted minus wanted. "
                  "It is 0 only where all probability is on the label, and never larger than 1."},
    "softmax_cross_entropy_grad": {
        "*": "out = (g_loss + g_lse) p - g_loss [label] with p = e^(logits - lse) is linear in "
             "both g: sum u p minus u at the label, and sum u p. In logits and in lse only p "
             "changes, p' = p and -p."},
    "binary_cross_entropy": {
        "x": "y = -t log x - (1 - t) log(1 - x), so dy/dx = -t / x + (1 - t) / (1 - x) = "
             "(x - t) / (x (1 - x)), with the divisor bounded from below: near 0 and 1 it would "
             "be infinite. Logits (bce_with_logits) need no bound.",
        "t": "y is linear in t: dy/dt = log(1 - x) - log x, both bounded by -100."},
    "binary_cross_entropy_grad": {
        "g": "linear in g: the same slope times the new cotangent u.",
        "x": "with q = x (1 - x), ((x - t) / q)' = (1 - (x - t) (1 - 2 x) / q) / q, the quotient "
             "rule; where the bound holds q is constant.",
        "t": "(x - t) / q has the derivative -1 / q in t, times g."},
    # normalisation
    "norm": {
        "*": "with r = 1 / sqrt(var + eps) and xhat = (x - mean) r, y = xhat weight + bias gives "
             "dbias = sum g and dweight = sum g xhat at once. x acts three ways: directly, through "
             "the mean and through the variance; with h = g weight and means over the m elements "
             "of a group, dx = r (h - mean(h) - xhat mean(h xhat)): what would shift or scale the "
             "whole group is taken out of the gradient, as the op takes it out of x."},
    "norm_grad": {
        "*": "dx = r w g + slope d + (g_mean - r A) / m with d = x - mean, A = sum g w, B = "
             "sum g w d and slope = (2 g_var - r^3 B) / m; dweight = sum r g d; dbias = sum g. The "
             "second derivatives come from the product rule on these, with r' = -r^3 / 2 in the "
             "variance. The rule returns all seven."},
    "channel_affine": {
        "*": "y = (x - center) scale + shift is linear in x with slope scale, in center with slope "
             "-scale, in scale with slope x - center, in shift with slope 1; what a channel has "
             "one of is used at every place: its gradient is summed over them."},
    "channel_affine_grad": {
        "*": "dx = g scale, dscale = sum g (x - center) and dshift = sum g are linear in g: with "
             "the cotangents u, p and q its gradient is u scale + p (x - center) + q. x meets p g, "
             "center the sum of -p g, scale the sum of u g."},
    "dropout": {"x": "the mask is a constant of the call: y = x m with m = 0 or 1 / (1 - p). The "
                     "same mask multiplies g; it is drawn again from its counter, not kept."},
    # sequences
    "attention": {
        "*": "out_i = sum_j p_ij v_j with p = softmax(s), s = scale q k^T + mask. Values: dv_j = "
             "sum_i p_ij g_i. Weights: dp_ij = g_i v_j, and through the softmax ds_ij = "
             "p_ij (dp_ij - delta_i), delta_i = sum_j p_ij dp_ij = g_i out_i, one number a row "
             "(less g_lse_i, where lse is used). Scores: dq_i = scale sum_j ds_ij k_j, dk_j = "
             "scale sum_i ds_ij q_i. p is computed again from lse, tile by tile, so memory stays "
             "linear in the length."},
    "lstm": {
        "*": "backpropagation through time, the chain rule from the last step to the first. At a "
             "step h = o act(c) and c = f c_before + i g: dh gives do = dh act(c) and dc += dh o "
             "act'(c); dc gives di = dc g, df = dc c_before, dg = dc i and passes dc f on to the "
             "step before, a factor f near 1 that does not vanish. Through the gates' slopes this "
             "is da, and h_before receives da W_hh. Weights are the same at all steps, so their "
             "gradients are sums: dW_ih = sum da^T x, dW_hh = sum da^T h_before, db = sum da; "
             "dx = da W_ih. Gates and cells were kept as outputs, so nothing is computed twice."},
    "gru": {
        "*": "from the last step to the first: h = (1 - z) n + z h_before gives dn = dh (1 - z), "
             "dz = dh (h_before - n) and a direct path dh z to the step before. n = tanh(a_n + r "
             "m_n) gives, through 1 - n^2, dr = dn m_n and dm_n = dn r; with the slopes of the "
             "sigmoids these are da and dm. h_before also receives dm W_hh. Weights are shared by "
             "all steps: dW_ih = sum da^T x, dW_hh = sum dm^T h_before, dx = da W_ih."},
    "rnn": {
        "*": "from the last step to the first: h = act(a), a = W_ih x + W_hh h_before + b, gives "
             "da = dh act'(a), told by h (1 - h^2 for tanh). h_before receives da W_hh: a product "
             "of as many matrices as steps lie between, which is why gradients vanish or explode. "
             "dW_ih = sum da^T x, dW_hh = sum da^T h_before, db = sum da, dx = da W_ih."},
}
