"""Random numbers from a counter: the definition.

word(w) = lane w % 4 of Philox4x32-10 with key `seed` (64 bits) and counter `offset + w // 4`
(128 bits; low halves first). A number is a function of (seed, offset, its index) and of nothing
else: not of threads, of earlier draws, or of the instruction set.

random_bits       out[i] = word(i)
random_uniform    out[i] = low + u_i (high - low), kept below `high` where rounding would reach it
                  float32: u_i = (word(i) >> 8) / 2^24
                  float64: u_i = ((word(2i) >> 5) 2^26 + (word(2i + 1) >> 6)) / 2^53
random_normal     out[i] = mean + std z_i by Box and Muller: one pair of numbers from (s, t),
                  (z_2j, z_2j+1) = sqrt(-2 log s) (cos 2 pi t, sin 2 pi t)
                  float32: s = (float32(word(2j) >> 1) + 1) / 2^31, t = (word(2j + 1) >> 8) / 2^24
                  float64: s = 1 - u_2j, t = u_2j+1
                  s is never 0 and has its finest steps there: tails reach 6.5 and 8.5 deviations
random_integers   out[i] = low + floor((high - low) (word(2i) + 2^32 word(2i + 1)) / 2^64)
                  a value's probability is off by less than 2^-64, (high - low) 2^-64 of itself
dropout           out[i] = x[i] / (1 - p) where (word(i) >> 8) / 2^24 >= p, else 0 (also for a NaN);
                  one mask for float32 and float64; the gradient is the same kernel on g

A draw of n numbers uses ceil(n / 4) counters where a number takes one word (bits, dropout, float32)
and ceil(n / 2) where it takes two (float64, integers); the next draw starts behind them.

Bytes: each result is written once; dropout also reads x.
Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011);
Box, Muller (1958); Lemire, "Fast random integer generation in an interval" (2019).
"""

import math

import numpy as np

__all__ = ["dropout", "random_bits", "random_integers", "random_normal", "random_uniform"]

MASK32, MASK64 = 2**32 - 1, 2**64 - 1
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85  # golden ratio and sqrt(3) - 1: the key grows by them every round


def words(count, seed, offset):
    """Return the first `count` words of a draw as uint64 below 2^32."""
    low = np.arange(-(-count // 4), dtype=np.uint64) + np.uint64(offset & MASK64)
    high = np.uint64(offset >> 64 & MASK64) + (low < offset & MASK64).astype(np.uint64)
    a, b, c, d = low & MASK32, low >> 32, high & MASK32, high >> 32
    for step in range(10):
        key0 = (seed + step * WEYL[0]) & MASK32
        key1 = ((seed >> 32) + step * WEYL[1]) & MASK32
        left, right = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b, c, d = right >> 32 ^ b ^ key0, right & MASK32, left >> 32 ^ d ^ key1, left & MASK32
    return np.stack([a, b, c, d], axis=1).reshape(-1)[:count]


def unit(count, dtype, seed, offset):
    """Return `count` numbers of [0, 1): multiples of 2^-24 (float32) or 2^-53 (float64)."""
    if dtype == np.float32:
        return (words(count, seed, offset) >> 8).astype(dtype) * dtype.type(2.0**-24)
    first, second = words(2 * count, seed, offset).reshape(-1, 2).T
    return ((first >> 5).astype(dtype) * 2.0**26 + (second >> 6).astype(dtype)) * 2.0**-53


def random_bits(out, seed, offset):
    out.reshape(-1)[...] = words(out.size, seed, offset)


def random_uniform(out, seed, offset, low, high):
    below = np.nextafter(out.dtype.type(high), out.dtype.type(low))
    u = unit(out.size, out.dtype, seed, offset)
    np.minimum(u * (high - low) + low, below, out=out.reshape(-1))


def random_normal(out, seed, offset, mean, std):
    pairs = -(-out.size // 2)
    if out.dtype == np.float32:
        first, second = words(2 * pairs, seed, offset).reshape(-1, 2).T
        s = ((first >> 1).astype(np.float32) + np.float32(1)) * np.float32(2.0**-31)
        t = (second >> 8) * 2.0**-24
    else:
        u = unit(2 * pairs, out.dtype, seed, offset)
        s, t = 1 - u[0::2], u[1::2]
    radius, angle = np.sqrt(-2 * np.log(s.astype(np.float64))), 2 * math.pi * t
    z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    out.reshape(-1)[...] = mean + std * z.reshape(-1)[: out.size]


def random_integers(out, seed, offset, low, high):
    first, second = words(2 * out.size, seed, offset).reshape(-1, 2).T
    r = high - low
    r0, r1 = r & MASK32, r >> 32
    # The upper half of the 64 x 64 bit product, from products of 32-bit halves.
    middle = first * r1 + (first * r0 >> 32)
    other = second * r0 + (middle & MASK32)
    scaled = second * r1 + (middle >> 32) + (other >> 32)
    out.reshape(-1)[...] = (scaled + np.uint64(low & MASK64)).view(np.int64)


def dropout(x, out, seed, offset, p):
    keep = unit(x.size, np.dtype(np.float32), seed, offset).reshape(x.shape) >= np.float64(p)
    with np.errstate(all="ignore"):
        np.multiply(x, np.divide(1.0, 1.0 - p).astype(x.dtype), out=out)
    out[~keep] = 0
