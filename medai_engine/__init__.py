"""medai_engine: tensors with gradients on compiled kernels, for medical AI on a CPU."""
from . import kernels
from .mode import backend, enable_grad, no_grad
from .tensor import Buffer, Parameter, Tensor
from .op import OPS, apply
from . import ops
from .transforms import checkpoint, grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
