"""Random numbers from a counter, as loops; equations and mappings in reference.py.

Order: rising index; each step makes the four words of one counter and what is drawn from them.
Bytes: each result is written once; dropout also reads x. Source: see reference.py.
"""

import math

import numpy as np
from numba import njit

__all__ = ["dropout", "random_bits", "random_integers", "random_normal", "random_uniform"]

kernel = njit(nogil=True, cache=True, error_model="numpy")

MASK64 = 2**64 - 1
# Numba makes a float of uint64 with int64: every integer here is a uint64.
MASK32 = np.uint64(2**32 - 1)
M0, M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
W0, W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
B1, B5, B6, B8, B32 = np.uint64(1), np.uint64(5), np.uint64(6), np.uint64(8), np.uint64(32)


def _origin(seed, offset):
    """Return seed, low and high half of the 128-bit offset as uint64."""
    return np.uint64(seed), np.uint64(offset & MASK64), np.uint64(offset >> 64 & MASK64)


@kernel
def _philox(origin, index):
    """Return the four words of the counter `index` places behind the draw's first."""
    seed, low, high = origin
    first = low + np.uint64(index)
    second = high + np.uint64(first < low)
    a, b, c, d = first & MASK32, first >> B32, second & MASK32, second >> B32
    key0, key1 = seed & MASK32, seed >> B32
    for _ in range(10):
        left, right = a * M0, c * M1
        a, b = (right >> B32) ^ b ^ key0, right & MASK32
        c, d = (left >> B32) ^ d ^ key1, left & MASK32
        key0, key1 = (key0 + W0) & MASK32, (key1 + W1) & MASK32
    return a, b, c, d


@kernel
def _unit24(word):
    return np.float64(word >> B8) * 2.0**-24


@kernel
def _unit53(first, second):
    return (np.float64(first >> B5) * 2.0**26 + np.float64(second >> B6)) * 2.0**-53


@kernel
def _bits(out, origin):
    for i in range(0, out.size, 4):
        four = _philox(origin, i // 4)
        for w in range(min(4, out.size - i)):
            out[i + w] = four[w]


@kernel
def _uniform(out, origin, start, width, below):
    n = 4 if out.itemsize == 4 else 2
    for i in range(0, out.size, n):
        a, b, c, d = _philox(origin, i // n)
        if n == 4:
            u = (_unit24(a), _unit24(b), _unit24(c), _unit24(d))
        else:
            u = (_unit53(a, b), _unit53(c, d), 0.0, 0.0)
        for k in range(min(n, out.size - i)):
            out[i + k] = min(start + out.dtype.type(u[k]) * width, below)


@kernel
def _pair(s, t):
    radius, angle = math.sqrt(-2.0 * math.log(s)), 2.0 * math.pi * t
    return radius * math.cos(angle), radius * math.sin(angle)


@kernel
def _normal(out, origin, mean, std):
    n = 4 if out.itemsize == 4 else 2
    for i in range(0, out.size, n):
        a, b, c, d = _philox(origin, i // n)
        if n == 4:
            s0 = np.float32(np.float32(a >> B1) + np.float32(1)) * np.float32(2.0**-31)
            s1 = np.float32(np.float32(c >> B1) + np.float32(1)) * np.float32(2.0**-31)
            z = _pair(np.float64(s0), _unit24(b)) + _pair(np.float64(s1), _unit24(d))
        else:
            first, second = _pair(1.0 - _unit53(a, b), _unit53(c, d))
            z = (first, second, 0.0, 0.0)
        for k in range(min(n, out.size - i)):
            out[i + k] = mean + std * z[k]


@kernel
def _high_product(x, y):
    """Return the upper 64 bits of x y, from products of 32-bit halves."""
    x0, x1, y0, y1 = x & MASK32, x >> B32, y & MASK32, y >> B32
    middle = x0 * y1 + (x0 * y0 >> B32)
    other = x1 * y0 + (middle & MASK32)
    return x1 * y1 + (middle >> B32) + (other >> B32)


@kernel
def _integers(out, origin, start, width):
    for i in range(0, out.size, 2):
        a, b, c, d = _philox(origin, i // 2)
        out[i] = np.int64(start + _high_product(a | (b << B32), width))
        if i + 1 < out.size:
            out[i + 1] = np.int64(start + _high_product(c | (d << B32), width))


@kernel
def _dropout(x, out, origin, p, scale):
    for i in range(0, x.size, 4):
        four = _philox(origin, i // 4)
        for w in range(min(4, x.size - i)):
            out[i + w] = x[i + w] * scale if _unit24(four[w]) >= p else 0.0


def random_bits(out, seed, offset):
    _bits(out.reshape(-1), _origin(seed, offset))


def random_uniform(out, seed, offset, low, high):
    real = out.dtype.type
    below = np.nextafter(real(high), real(low))
    _uniform(out.reshape(-1), _origin(seed, offset), real(low), real(high - low), below)


def random_normal(out, seed, offset, mean, std):
    _normal(out.reshape(-1), _origin(seed, offset), float(mean), float(std))


def random_integers(out, seed, offset, low, high):
    start, width = np.uint64(low & MASK64), np.uint64(high - low)
    _integers(out.reshape(-1), _origin(seed, offset), start, width)


def dropout(x, out, seed, offset, p):
    scale = x.dtype.type(1.0 / (1.0 - p)) if p < 1 else x.dtype.type(0)
    _dropout(x.reshape(-1), out.reshape(-1), _origin(seed, offset), float(p), scale)
