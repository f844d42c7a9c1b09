"""medai_engine: tensors with gradients on compiled kernels, for medical AI on a CPU.

``import medai_engine as me``. Names follow the array API standard for arrays, PyTorch for layers,
losses and optimisers, scikit-learn for estimators.
"""

from . import errors, kernels
from .mode import backend, enable_grad, no_grad
from .tensor import Buffer, Parameter, Tensor
from .generator import manual_seed
from . import ops
from .transforms import checkpoint, grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .custom import kernel, op
from .errors import (DataError, DTypeError, GraphError, MedaiError, MissingExtraError,
                     ParameterError, ShapeError)
from . import optim
from .kernels import get_num_threads, set_num_threads

__version__ = "0.1.0"
