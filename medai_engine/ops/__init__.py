"""The ops, one file per family; importing this registers all of them."""

from . import (  # noqa: F401
    arrange,
    contraction,
    conv,
    creation,
    decompositions,
    dropout,
    elementwise,
    indexing,
    inplace,
    linalg,
    loss,
    methods,
    norm,
    optimizer,
    random,
    recurrent,
    reduce,
    shape,
    sorting,
    statistics,
)
