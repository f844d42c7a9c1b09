"""Layers, containers, losses and initialisers: ``from medai_engine import nn``."""

from ..tensor import Buffer, Parameter
from . import init
from .activations import *  # noqa: F403
from .activations import __all__ as _activations
from .attention import *  # noqa: F403
from .attention import __all__ as _attention
from .containers import *  # noqa: F403
from .containers import __all__ as _containers
from .conv import *  # noqa: F403
from .conv import __all__ as _conv
from .linear import *  # noqa: F403
from .linear import __all__ as _linear
from .losses import *  # noqa: F403
from .losses import __all__ as _losses
from .module import Module
from .norm import *  # noqa: F403
from .norm import __all__ as _norm
from .pool import *  # noqa: F403
from .pool import __all__ as _pool
from .recurrent import *  # noqa: F403
from .recurrent import __all__ as _recurrent

__all__ = ["Buffer", "Module", "Parameter", "init",
           *_activations, *_attention, *_containers, *_conv, *_linear, *_losses, *_norm, *_pool,
           *_recurrent]
