"""Dense and what has no weights or works step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import functional as F
from ...errors import ShapeError, say
from ...nn import Parameter
from ...tensor import Tensor
from .. import activations, initializers, regularizers
from ..backend import me
from ..engine import Layer, Weight, flatten, unlike

__all__ = ["ELU", "Activation", "Add", "Average", "Concatenate", "Dense", "Dropout", "Embedding",
           "Flatten", "GaussianNoise", "Lambda", "LeakyReLU", "Masking", "Maximum", "Minimum",
           "Multiply", "PReLU", "Permute", "ReLU", "RepeatVector", "Rescaling", "Reshape",
           "Softmax", "Subtract", "TimeDistributed", "add", "concatenate"]


def transpose(w: np.ndarray) -> np.ndarray:
    """Return a matrix with rows and columns exchanged."""
    return w.T


class Dense(Layer):
    """``activation(x kernel + bias)`` over the last axis; kernel (in, units) in Keras's layout."""

    def __init__(self, units: int, activation: Any = None, use_bias: bool = True,
                 kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros",
                 kernel_regularizer: Any = None, bias_regularizer: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(units, (int, np.integer)) or units < 1:
            raise unlike("Dense", "units of 1 or more", units, "Use Dense(64)")
        self.units, self.use_bias = int(units), use_bias
        self.activation = activations.get(activation)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        if input_shape[-1] is None:
            raise ShapeError(say(self.name, "a known last axis", input_shape,
                                 "State the features: Input(shape=(None, 32))"))
        kernel = self.kernel_initializer((input_shape[-1], self.units), np.float32)
        self.kernel = Parameter(np.ascontiguousarray(kernel.T))
        self.bias = Parameter(self.bias_initializer((self.units,), np.float32)) if (
            self.use_bias) else None

    def call(self, inputs: Any) -> Any:
        """Return the activated product."""
        return self.activation(F.linear(inputs, self.kernel, self.bias))

    def slots(self) -> list[Weight]:
        """Return kernel and bias."""
        if not self.built:
            return []
        bias = [Weight("bias", self.bias)] if self.bias is not None else []
        return [Weight("kernel", self.kernel, transpose, transpose), *bias]


class Activation(Layer):
    """A function by name or as a callable."""

    def __init__(self, activation: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def call(self, inputs: Any) -> Any:
        """Return the activated input."""
        return self.activation(inputs)


class Softmax(Layer):
    """Softmax over an axis."""

    def __init__(self, axis: int = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, inputs: Any) -> Any:
        """Return probabilities."""
        return F.softmax(inputs, axis=self.axis)


class ReLU(Layer):
    """max(x, 0), with an upper limit or a slope on the left."""

    def __init__(self, max_value: float | None = None, negative_slope: float = 0.0,
                 threshold: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        if threshold:
            raise unlike("ReLU", "threshold 0", threshold, "Subtract it before")
        self.max_value, self.negative_slope = max_value, negative_slope

    def call(self, inputs: Any) -> Any:
        """Return the activated input."""
        y = F.leaky_relu(inputs, self.negative_slope) if self.negative_slope else F.relu(inputs)
        return y if self.max_value is None else me.minimum(y, self.max_value)


class LeakyReLU(Layer):
    """x where positive, else ``negative_slope`` x (``alpha`` is its old name)."""

    def __init__(self, negative_slope: float = 0.3, alpha: float | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.negative_slope = float(negative_slope if alpha is None else alpha)

    def call(self, inputs: Any) -> Any:
        """Return the activated input."""
        return F.leaky_relu(inputs, self.negative_slope)


class ELU(Layer):
    """x where positive, else alpha (e^x - 1)."""

    def __init__(self, alpha: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.alpha = alpha

    def call(self, inputs: Any) -> Any:
        """Return the activated input."""
        return F.elu(inputs, self.alpha)


class PReLU(Layer):
    """x where positive, else a learned slope of each entry times x."""

    alpha: Any

    def __init__(self, alpha_initializer: Any = "zeros", **kwargs: Any):
        super().__init__(**kwargs)
        self.alpha_initializer = alpha_initializer

    def build(self, input_shape: Any) -> None:
        """Make one slope per entry of a sample."""
        self.add_weight(input_shape[1:], self.alpha_initializer, name="alpha")

    def call(self, inputs: Any) -> Any:
        """Return the activated input."""
        return F.relu(inputs) - self.alpha * F.relu(-inputs)


class Dropout(Layer):
    """Set a share of the entries to 0 while training, and enlarge the others."""

    mask_aware = False

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None,
                 **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise unlike("Dropout", "a rate from 0 to below 1", rate, "Use Dropout(0.5)")
        if noise_shape is not None:
            raise unlike("Dropout", "no noise_shape", noise_shape, "Leave it out")
        self.rate = rate

    def call(self, inputs: Any) -> Any:
        """Return x, thinned while training."""
        return F.dropout(inputs, self.rate, self.training)


class GaussianNoise(Layer):
    """Add normal noise while training."""

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.stddev = stddev

    def call(self, inputs: Any) -> Any:
        """Return x, noisy while training."""
        from ...random import normal

        return inputs + self.stddev * normal(inputs.shape) if self.training else inputs


class Rescaling(Layer):
    """x scale + offset: ``Rescaling(1 / 255)`` before an image network."""

    def __init__(self, scale: float, offset: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale, self.offset = float(scale), float(offset)

    def call(self, inputs: Any) -> Any:
        """Return the scaled input, in floating point."""
        x = inputs if inputs.dtype.kind == "f" else me.astype(inputs, np.float32)
        return x * self.scale + self.offset


class Flatten(Layer):
    """All axes but the batch's in one."""

    def call(self, inputs: Any) -> Any:
        """Return x as (N, entries)."""
        return me.reshape(inputs, (inputs.shape[0], math.prod(inputs.shape[1:])))


class Reshape(Layer):
    """Another shape of each sample; -1 once for what is left."""

    def __init__(self, target_shape: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.target_shape = tuple(target_shape)

    def call(self, inputs: Any) -> Any:
        """Return x reshaped."""
        return me.reshape(inputs, (inputs.shape[0], *self.target_shape))


class Permute(Layer):
    """Axes of each sample in another order, counted from 1."""

    def __init__(self, dims: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.dims = tuple(dims)

    def call(self, inputs: Any) -> Any:
        """Return x turned."""
        return me.permute_dims(inputs, (0, *self.dims))


class RepeatVector(Layer):
    """(N, D) n times over, as (N, n, D)."""

    def __init__(self, n: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.n = n

    def call(self, inputs: Any) -> Any:
        """Return the repeated rows."""
        return me.repeat(me.expand_dims(inputs, axis=1), self.n, axis=1)


class Lambda(Layer):
    """Any function of a tensor, written with this engine's functions."""

    def __init__(self, function: Callable[[Any], Any], **kwargs: Any):
        kwargs.pop("output_shape", None)
        super().__init__(**kwargs)
        self.function = function

    def call(self, inputs: Any) -> Any:
        """Return its value."""
        return self.function(inputs)


class Embedding(Layer):
    """Rows of a table by number: (N, T) integers to (N, T, output_dim)."""

    embeddings: Any

    def __init__(self, input_dim: int, output_dim: int, embeddings_initializer: Any = "uniform",
                 embeddings_regularizer: Any = None, mask_zero: bool = False,
                 input_length: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.input_dim, self.output_dim, self.mask_zero = input_dim, output_dim, mask_zero
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        if input_length is not None:
            self.first_shape = (None, input_length)

    def build(self, input_shape: Any) -> None:
        """Make the table."""
        self.add_weight((self.input_dim, self.output_dim), self.embeddings_initializer,
                        name="embeddings")

    def call(self, inputs: Any) -> Any:
        """Return the rows; numbers may come as floats that are whole."""
        if inputs.dtype.kind == "f":
            inputs = me.astype(inputs, np.int64)
        return F.embedding(inputs, self.embeddings)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Return where the number is not 0, with ``mask_zero``."""
        return me.not_equal(inputs, 0) if self.mask_zero else mask


class Masking(Layer):
    """Leave out the steps whose features all have one value."""

    def __init__(self, mask_value: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.mask_value = mask_value

    def call(self, inputs: Any) -> Any:
        """Return x."""
        return inputs

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Return (N, T), True at the steps that count."""
        return me.any(me.not_equal(inputs, self.mask_value), axis=-1)


class TimeDistributed(Layer):
    """A layer applied to every step of (N, T, ...) alike."""

    def __init__(self, layer: Layer, **kwargs: Any):
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape: Any) -> None:
        """Build the layer for one step."""
        if not self.layer.built:
            self.layer.make((input_shape[0], *input_shape[2:]))

    def call(self, inputs: Any) -> Any:
        """Return the layer's outputs of all steps, computed as one batch."""
        n, t = inputs.shape[:2]
        y = self.layer(me.reshape(inputs, (n * t, *inputs.shape[2:])))
        return me.reshape(y, (n, t, *y.shape[1:]))

    def slots(self) -> list[Weight]:
        """Return those of the layer."""
        return self.layer.slots()


# ---- several inputs -----------------------------------------------------------------------------


class Merge(Layer):
    """What layers of several inputs share."""

    def call(self, inputs: Any) -> Any:
        """Return the inputs folded into one."""
        inputs = flatten(inputs)
        y = inputs[0]
        for x in inputs[1:]:
            y = self.fold(y, x)
        return y

    def fold(self, y: Tensor, x: Tensor) -> Any:
        """Return two put together."""
        raise unlike(type(self).__name__, "a method fold(self, y, x)", "none", "Define it")


class Add(Merge):
    """The sum of the inputs."""

    def fold(self, y: Tensor, x: Tensor) -> Any:
        """Return y + x."""
        return y + x


class Subtract(Merge):
    """The first input minus the second."""

    def fold(self, y: Tensor, x: Tensor) -> Any:
        """Return y - x."""
        return y - x


class Multiply(Merge):
    """The product of the inputs, entry by entry."""

    def fold(self, y: Tensor, x: Tensor) -> Any:
        """Return y x."""
        return y * x


class Maximum(Merge):
    """The largest of the inputs, entry by entry."""

    def fold(self, y: Tensor, x: Tensor) -> Any:
        """Return max(y, x)."""
        return me.maximum(y, x)


class Minimum(Merge):
    """The smallest of the inputs, entry by entry."""

    def fold(self, y: Tensor, x: Tensor) -> Any:
        """Return min(y, x)."""
        return me.minimum(y, x)


class Average(Add):
    """The mean of the inputs."""

    def call(self, inputs: Any) -> Any:
        """Return their mean."""
        return super().call(inputs) / len(inputs)


class Concatenate(Layer):
    """The inputs behind one another along an axis."""

    def __init__(self, axis: int = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, inputs: Any) -> Any:
        """Return one tensor."""
        return me.concat(list(inputs), axis=self.axis)


def concatenate(inputs: Sequence[Any], axis: int = -1, **kwargs: Any) -> Any:
    """Return ``Concatenate(axis)(inputs)``."""
    return Concatenate(axis, **kwargs)(inputs)


def add(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Return ``Add()(inputs)``."""
    return Add(**kwargs)(inputs)
