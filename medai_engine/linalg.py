"""Linear algebra: ``me.linalg.solve(a, b)``."""

from .ops.arrange import diagonal, matrix_transpose
from .ops.contraction import outer, tensordot, vecdot
from .ops.decompositions import cholesky, inv, norm, solve
from .ops.linalg import matmul

__all__ = ["cholesky", "diagonal", "inv", "matmul", "matrix_transpose", "norm", "outer", "solve",
           "tensordot", "vecdot"]
