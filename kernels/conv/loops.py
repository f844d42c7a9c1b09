"""Convolution and its gradients as loops; equations in reference.py.

Order: every entry of out once, its sum over kernel positions (pixels, for the weight) and channels
in rising order. Bytes: each input once per entry of out that it joins. Source: see reference.py.
"""

from numba import njit

__all__ = ["conv", "conv_grad_input", "conv_grad_weight"]

kernel = njit(nogil=True, cache=True)


@kernel
def convolve(x, weight, out, stride, padding, dilation, groups):
    N, D, H, W, _ = x.shape
    F, KD, KH, KW, c_group = weight.shape
    for n in range(N):
        for od in range(out.shape[1]):
            for oh in range(out.shape[2]):
                for ow in range(out.shape[3]):
                    for f in range(F):
                        first = f // (F // groups) * c_group
                        total = 0.0
                        for kd in range(KD):
                            d = od * stride[0] - padding[0] + kd * dilation[0]
                            for kh in range(KH):
                                h = oh * stride[1] - padding[1] + kh * dilation[1]
                                for kw in range(KW):
                                    w = ow * stride[2] - padding[2] + kw * dilation[2]
                                    if 0 <= d < D and 0 <= h < H and 0 <= w < W:
                                        for c in range(c_group):
                                            total += (x[n, d, h, w, first + c]
                                                      * weight[f, kd, kh, kw, c])
                        out[n, od, oh, ow, f] = total


@kernel
def add_bias(bias, out):
    for n in range(out.shape[0]):
        for d in range(out.shape[1]):
            for h in range(out.shape[2]):
                for w in range(out.shape[3]):
                    for f in range(out.shape[4]):
                        out[n, d, h, w, f] += bias[f]


def conv(x, weight, bias, out, stride, padding, dilation, groups):
    convolve(x, weight, out, stride, padding, dilation, groups)
    if bias is not None:
        add_bias(bias, out)


@kernel
def conv_grad_input(g, weight, out, stride, padding, dilation, groups):
    N, D, H, W, C = out.shape
    F, KD, KH, KW, c_group = weight.shape
    f_group = F // groups
    for n in range(N):
        for d in range(D):
            for h in range(H):
                for w in range(W):
                    for c in range(C):
                        first = c // c_group * f_group
                        total = 0.0
                        for kd in range(KD):
                            od, rd = divmod(d + padding[0] - kd * dilation[0], stride[0])
                            for kh in range(KH):
                                oh, rh = divmod(h + padding[1] - kh * dilation[1], stride[1])
                                for kw in range(KW):
                                    ow, rw = divmod(w + padding[2] - kw * dilation[2], stride[2])
                                    if (rd == 0 and rh == 0 and rw == 0 and 0 <= od < g.shape[1]
                                            and 0 <= oh < g.shape[2] and 0 <= ow < g.shape[3]):
                                        for f in range(f_group):
                                            total += (g[n, od, oh, ow, first + f]
                                                      * weight[first + f, kd, kh, kw, c % c_group])
                        out[n, d, h, w, c] = total


@kernel
def conv_grad_weight(x, g, out, stride, padding, dilation, groups):
    N, D, H, W, _ = x.shape
    F, KD, KH, KW, c_group = out.shape
    for f in range(F):
        first = f // (F // groups) * c_group
        for kd in range(KD):
            for kh in range(KH):
                for kw in range(KW):
                    for c in range(c_group):
                        total = 0.0
                        for n in range(N):
                            for od in range(g.shape[1]):
                                d = od * stride[0] - padding[0] + kd * dilation[0]
                                for oh in range(g.shape[2]):
                                    h = oh * stride[1] - padding[1] + kh * dilation[1]
                                    for ow in range(g.shape[3]):
                                        w = ow * stride[2] - padding[2] + kw * dilation[2]
                                        if 0 <= d < D and 0 <= h < H and 0 <= w < W:
                                            total += (x[n, d, h, w, first + c]
                                                      * g[n, od, oh, ow, f])
                        out[f, kd, kh, kw, c] = total
