"""A convolution.

One small filter, moved over a whole image: what it computes, why it is a matrix product in
disguise, why its gradients are convolutions again, and what it costs.
"""

import numpy as np

import medai_engine as me
from medai_engine import functional as F
from medai_engine import kernels
from medai_engine.data import datasets
from medai_engine.examples.lesson.desk import best_time, check, draw, show
from medai_engine.examples.lesson.pictures import bars, grid
from medai_engine.op import OPS

"""
# The filter and the place

A filter of 3 x 3 weights looks at a pixel and its eight neighbours, and returns one number: the
sum of weight times pixel. It looks at every place of the image in turn, with the same weights:

    y[i, j] = sum over a, b of  weight[a, b] · x[i + a, j + b]

What a filter sees can be told from what it returns for the simplest image: a single bright pixel.
"""

weight = np.arange(1.0, 10.0).reshape(3, 3)
delta = np.zeros((5, 5))
delta[2, 2] = 1


def by_hand(x, weight):
    high, wide = weight.shape
    rows, columns = x.shape[0] - high + 1, x.shape[1] - wide + 1
    y = np.empty((rows, columns))
    for i in range(rows):
        for j in range(columns):
            y[i, j] = (weight * x[i:i + high, j:j + wide]).sum()
    return y


y = by_hand(delta, weight)
draw(grid({"image": delta, "weight": weight, "result": y}),
     "A single bright pixel brings out the filter, turned around.")
check("one bright pixel returns the filter, turned by half a circle",
      np.array_equal(y, weight[::-1, ::-1]))

"""
Turned around: the bright pixel is at the filter's *lower right* when the filter stands at the
upper left of it. The other way round, a filter with a single 1 in its middle returns the image.
"""

only_middle = np.zeros((3, 3))
only_middle[1, 1] = 1
image = np.random.default_rng(0).normal(size=(6, 6))
check("a filter that is 1 in the middle returns the image (without its border)",
      np.array_equal(by_hand(image, only_middle), image[1:-1, 1:-1]))

"""
# Many channels, and which comes last

An image has channels: red, green, blue; later layers have 32 or 128 of them. A filter then has a
weight for every neighbour *and* every channel, and a layer has many filters, each of which makes
one channel of the result. The engine's arrays are

    x (N images, H, W, C channels)    weight (F filters, KH, KW, C)    y (N, H', W', F)

with the channels last. So the C numbers of a pixel lie side by side in memory, and the pixels of a
row behind each other.
"""

x = np.random.default_rng(1).normal(size=(2, 8, 9, 3))
w = np.random.default_rng(2).normal(size=(4, 3, 3, 3))
y = F.conv2d(x, w)
print("x", x.shape, " weight", w.shape, " y", y.shape)
print("numbers from one image to the next {}, row {}, pixel {}, channel {}".format(
    *(step // 8 for step in x.strides)))
check("the engine's convolution is the sum by hand, over all channels",
      all(np.allclose(y.numpy()[n, :, :, f],
                      sum(by_hand(x[n, :, :, c], w[f, :, :, c]) for c in range(3)), rtol=1e-12)
          for n in range(2) for f in range(4)))
check("three columns of a patch are one piece of memory: 3 pixels of 3 channels, without a gap",
      x[0, 0, 0:3].flags.c_contiguous and x[0, 0, 0:3].size == 9)

"""
# A matrix product in disguise

Write each patch of KH · KW · C numbers as a row: one row for each place. Write each filter as a
column. All sums are then one product of two matrices.
"""

patches = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))  # (N, H', W', C, KH, KW)
rows = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 3 * 3 * 3)
product = rows @ w.reshape(4, -1).T
print(f"{rows.shape[0]} patches of {rows.shape[1]} numbers, times {w.reshape(4, -1).T.shape}")
check("patches times filters is the convolution",
      np.allclose(product.reshape(y.shape), y.numpy(), rtol=1e-12, atol=1e-13))
check("written out, the patches hold over five times the numbers of the image",
      rows.size > 5 * x.size)

"""
The shipped kernel never writes those patches. With channels last a row of a patch already is one
piece of memory, so the product can be taken where the image lies. The loops show the order of the
sums:
"""

show("kernels/conv/loops.py", "def convolve(", "@kernel")

"""
# Its gradients are convolutions

The convolution is linear in the image, and linear in the filter. For a result y and a derivative g
of its shape, three sums are one and the same, namely that of weight · x · g over all places:

    sum of conv(x, w) · g  =  sum of x · dx  =  sum of w · dw

where dx and dw are the gradients of image and filter. Each of them is a convolution too:

    dw   the image, filtered with g as the filter: one entry per shift
    dx   g with a border of zeros, filtered with the filter turned around

The engine's gradient rules say just that. `conv` is derived by two further ops, and those by each
other and by `conv`, so derivatives of any order stay among the three.
"""

show("ops/conv.py", "CONV: Op = define(", "# ---- the gradient of x")

tx, tw = (me.tensor(v, dtype=me.float64, requires_grad=True) for v in (x, w))
y = F.conv2d(tx, tw)
g = np.random.default_rng(3).normal(size=y.shape)
y.backward(g)
dx, dw = tx.grad.numpy(), tw.grad.numpy()

# images become channels: a sum over n instead of one over c
as_filter = F.conv2d(x.transpose(3, 1, 2, 0), g.transpose(3, 1, 2, 0)).numpy()
check("the filter's gradient is the image, filtered with g",
      np.allclose(dw, as_filter.transpose(3, 1, 2, 0), rtol=1e-11, atol=1e-12))

turned = np.ascontiguousarray(w[:, ::-1, ::-1, :].transpose(3, 1, 2, 0))
check("the image's gradient is g with a border of 2, filtered with the turned filter",
      np.allclose(dx, F.conv2d(g, turned, padding=2).numpy(), rtol=1e-11, atol=1e-12))

sums = [float((a * b).sum()) for a, b in ((y.numpy(), g), (x, dx), (w, dw))]
print("three sums:", ", ".join(f"{s:.10f}" for s in sums))
check("the three sums are one", np.allclose(sums, sums[0], rtol=1e-11))

second = [op for op in ("conv", "conv_grad_input", "conv_grad_weight")
          if OPS[op].vjp is not None and OPS[op].linear]
check("all three ops are linear in each input and have gradients themselves", len(second) == 3)

"""
# Edges found

A filter that takes the left neighbours from the right ones answers to edges that run up and down.
Here is a made-up slice with an anatomy of its own, and what two such filters make of it.
"""

slices, _, _ = datasets.slices(1, size=32, seed=3)
one = slices[0].reshape(1, 32, 32, 1)
sobel = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
edges = F.conv2d(one.astype(np.float64), np.stack([sobel, sobel.T])[..., None]).numpy()
draw(grid({"slice": one[0, :, :, 0], "edges up and down": edges[0, :, :, 0],
           "edges across": edges[0, :, :, 1]}, cell=6, numbers=False),
     "A slice of 32 x 32 and its edges: blue is positive, red negative.")
flat = F.conv2d(np.ones((1, 8, 8, 1)), np.stack([sobel, sobel.T])[..., None]).numpy()
check("an even area has no edges: both filters return 0", np.array_equal(flat, 0 * flat))

"""
# What it costs

Every place of the result takes KH · KW · C products and as many additions, for each filter. The
record counts them; the gradient of the filter and that of the image cost as much again, each.
"""

N, S, C, K = 8, 56, 64, 3
x = np.random.default_rng(4).normal(size=(N, S, S, C)).astype(np.float32)
w = np.random.default_rng(5).normal(size=(C, K, K, C)).astype(np.float32)
geometry = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
bias = np.zeros(C, np.float32)
flops = OPS["conv"].cost([x, w, bias], **geometry).contraction
out = S - K + 1
print(f"{flops / 1e9:.2f} thousand million operations for {x.nbytes / 1e6:.1f} MB of image")
check("2 N H' W' F KH KW C operations", flops == 2 * N * out * out * C * K * K * C)
g = np.zeros((N, out, out, C), np.float32)
costs = [OPS["conv_grad_input"].cost([g, w], sizes=(S, S), **geometry).contraction,
         OPS["conv_grad_weight"].cost([x, g], kernel=(K, K), **geometry).contraction]
check("each gradient costs what the convolution costs", costs == [flops, flops])

"""
A processor has a ceiling: so many multiply-adds a cycle, and no more. How near does the kernel
come? Measured just now, with one thread, against a loop that does nothing but multiply-adds in
registers:
"""

if kernels.COMPILED:
    from medai_engine.kernels.simd.ceilings import peak_flops

    threads = kernels.get_num_threads()
    kernels.set_num_threads(1)
    seconds = best_time(lambda: F.conv2d(x, w), repeats=5)
    peak = peak_flops("float32", 1)
    kernels.set_num_threads(threads)
    rates = {"this convolution": flops / seconds / 1e9, "the ceiling": peak / 1e9}
    print(f"{1e3 * seconds:.1f} ms, {100 * flops / seconds / peak:.0f} % of the ceiling")
else:
    rates = {"nothing is compiled here": 0.0}

draw(bars(rates, "GFLOP/s"), "Thousand million operations per second, one thread, 64 channels to "
     "64 channels with filters of 3 x 3.")
