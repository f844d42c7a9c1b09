"""The functions of neural networks: ``from medai_engine import functional as F``."""

from .activations import *  # noqa: F403
from .activations import __all__ as _activations
from .attention import *  # noqa: F403
from .attention import __all__ as _attention
from .classification import *  # noqa: F403
from .classification import __all__ as _classification
from .conv import *  # noqa: F403
from .conv import __all__ as _conv
from .layers import *  # noqa: F403
from .layers import __all__ as _layers
from .norm import *  # noqa: F403
from .norm import __all__ as _norm
from .pool import *  # noqa: F403
from .pool import __all__ as _pool
from .recurrent import *  # noqa: F403
from .recurrent import __all__ as _recurrent
from .regression import *  # noqa: F403
from .regression import __all__ as _regression

__all__ = [*_activations, *_attention, *_classification, *_conv, *_layers, *_norm, *_pool,
           *_recurrent, *_regression]
