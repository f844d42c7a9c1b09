"""medai_engine: tensors with gradients on compiled kernels, for medical AI on a CPU.

``import medai_engine as me``. Names follow the array API standard for arrays, PyTorch for layers,
losses and optimisers, scikit-learn for estimators.
"""

# ruff: noqa: F401, F403, I001 (the package's names, by subject)
from typing import TYPE_CHECKING
from . import errors, kernels
from .mode import backend, enable_grad, no_grad
from .tensor import Buffer, Parameter, Tensor
from .generator import manual_seed
from . import ops
from .dtypes import *
from .ops.arrange import *
from .ops.contraction import *
from .ops.creation import *
from .ops.elementwise import (abs, acos, add, asin, atan, atan2, ceil, clip, cos, cosh, divide,
                              equal, erf, exp, expm1, floor, floor_divide, greater, greater_equal,
                              hypot, isfinite, isinf, isnan, less, less_equal, log, log10, log1p,
                              log2, logaddexp, logical_and, logical_not, logical_or, logical_xor,
                              maximum, minimum, multiply, negative, not_equal, power, power as pow,
                              reciprocal, remainder, round, sigmoid, sign, sin, sinh, sqrt, square,
                              subtract, tan, tanh, trunc)
from .ops.indexing import *
from .ops.linalg import matmul
from .ops.methods import where
from .ops.shape import *
from .ops.sorting import *
from .ops.statistics import *
from . import linalg, random
from .transforms import checkpoint, grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .custom import kernel, op
from .errors import (DataError, DTypeError, GraphError, MedaiError, MissingExtraError,
                     NonFiniteError, NotFittedError, ParameterError, ShapeError)
from . import functional
from .jit import jit
from . import nn, optim
from . import data, inspect, io, testing, training
from .inspect.nans import debug_nans
from .io import load
from .kernels import get_num_threads, set_num_threads

__version__ = "0.1.0"


if TYPE_CHECKING:
    from . import estimators
    from .inspect.profiler import profile
else:

    def __getattr__(name):
        if name in ("estimators", "keras"):  # loaded when they are asked for
            import importlib

            return importlib.import_module(f".{name}", __name__)
        if name == "profile":
            return inspect.profile
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
