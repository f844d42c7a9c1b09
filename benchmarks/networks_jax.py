"""The networks in JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .networks import GATES, RATE, Network, lazily, stride


def trained(loss_of: Callable[..., Any], weights: Any, *data: Any) -> Callable[[], Any]:
    """Return one training step of ``loss_of(weights, *data)``, jitted, with Adam written out."""
    import jax as jx
    import jax.numpy as jnp

    def update(state: Any, count: Any, *data: Any) -> Any:
        weights, first, second = state
        loss, grads = jx.value_and_grad(loss_of)(weights, *data)
        first = jx.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
        second = jx.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, grads)
        rate = RATE * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        weights = jx.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-8),
                              weights, first, second)
        return (weights, first, second), loss

    jitted = jx.jit(update, donate_argnums=0)
    weights = jx.tree.map(jnp.asarray, weights)
    zeros = jx.tree.map(jnp.zeros_like, weights)
    state, count = (weights, zeros, jx.tree.map(jnp.zeros_like, weights)), 0

    def step() -> Any:
        nonlocal state, count
        count += 1
        state, loss = jitted(state, float(count), *data)
        return loss.block_until_ready()

    return step


def jax(network: Network, threads: int) -> tuple[Any, Any]:
    """Return the same in JAX, one jitted function with its own Adam."""
    import jax as jx
    import jax.numpy as jnp

    def rnn(x: Any, w: Any, u: Any, b: Any, c: Any) -> Any:
        def one(h: Any, x_t: Any) -> Any:
            h = jnp.tanh(x_t + h @ u.T)
            return h, h

        zero = jnp.zeros((x.shape[0], u.shape[1]), x.dtype)
        _, hs = jx.lax.scan(one, zero, jnp.swapaxes(x @ w.T + b + c, 0, 1))
        return jnp.swapaxes(hs, 0, 1)

    def lstm(x: Any, w: Any, u: Any, b: Any, c: Any, inside: Any = jnp.tanh) -> Any:
        def one(state: Any, x_t: Any) -> Any:
            h, cell = state
            i, f, g, o = jnp.split(x_t + h @ u.T, 4, axis=-1)
            cell = jx.nn.sigmoid(f) * cell + jx.nn.sigmoid(i) * inside(g)
            h = jx.nn.sigmoid(o) * inside(cell)
            return (h, cell), h

        zero = jnp.zeros((x.shape[0], u.shape[1]), x.dtype)
        _, hs = jx.lax.scan(one, (zero, zero), jnp.swapaxes(x @ w.T + b + c, 0, 1))
        return jnp.swapaxes(hs, 0, 1)

    def forward(weights: Any, x: Any) -> Any:
        for (word, n, _), w in zip(network.steps(), weights, strict=True):
            if word == "linear":
                x = x @ w[0].T + w[1]
            elif word == "conv":
                x = jx.lax.conv_general_dilated(
                    x, w[0], (1, 1), "VALID", dimension_numbers=("NHWC", "OHWI", "NHWC")) + w[1]
            elif word == "same":
                pad = (n[1] // 2, n[1] // 2)
                x = jx.lax.conv_general_dilated(
                    x, w[0], (stride(n),) * 2, (pad, pad),
                    dimension_numbers=("NHWC", "OHWI", "NHWC")) + w[1]
            elif word == "rnn":
                x = rnn(x, *w)
            elif word in GATES:
                x = lstm(x, *w, jx.nn.relu if word == "relulstm" else jnp.tanh)
            elif word == "pool":
                x = jx.lax.reduce_window(x, -jnp.inf, jx.lax.max, (1, 2, 2, 1), (1, 2, 2, 1),
                                         "VALID")
            elif word == "flatten":
                x = x.reshape(x.shape[0], -1)
            elif word == "last":
                x = x[:, -1]
            else:
                x = {"relu": jx.nn.relu, "sigmoid": jx.nn.sigmoid, "tanh": jnp.tanh}[word](x)
        return x

    x, target = map(jnp.asarray, network.data())

    def loss_of(weights: Any, x: Any, target: Any) -> Any:
        y = forward(weights, x)
        if network.loss == "mse":
            return jnp.mean((y - target) ** 2)
        if network.loss == "bce":
            return jnp.mean(jx.nn.softplus(y) - target * y)
        return -jnp.mean(jnp.take_along_axis(jx.nn.log_softmax(y), target[:, None], 1))

    training = trained(loss_of, network.weights(), x, target)

    def predict() -> Any:
        fixed, one = jx.tree.map(jnp.asarray, network.weights()), jnp.asarray(network.data(1)[0])
        function = jx.jit(forward)
        return lambda: function(fixed, one).block_until_ready()

    return training, lazily(predict)
