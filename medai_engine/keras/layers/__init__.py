"""Layers with Keras's names and defaults."""

from ..engine import Input, InputLayer, Layer
from .conv import *  # noqa: F403
from .conv import __all__ as _conv
from .core import *  # noqa: F403
from .core import __all__ as _core
from .pool import *  # noqa: F403
from .pool import __all__ as _pool
from .recurrent import *  # noqa: F403
from .recurrent import __all__ as _recurrent

ALIASES = {"AvgPool": "AveragePooling", "GlobalAvgPool": "GlobalAveragePooling",
           "GlobalMaxPool": "GlobalMaxPooling", "MaxPool": "MaxPooling", "Convolution": "Conv"}
_short = {name.replace(long, short): name for short, long in ALIASES.items()
          for name in (*_conv, *_pool) if name.startswith(long)}
globals().update({short: globals()[name] for short, name in _short.items()})

__all__ = ["Input", "InputLayer", "Layer", *_conv, *_core, *_pool, *_recurrent, *_short]
