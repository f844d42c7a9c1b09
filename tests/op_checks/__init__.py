"""What is checked of every op: functions of a row that raise AssertionError.

``test_ops.py`` runs them on every backend and instruction set, ``test_harness.py`` against wrong
gradient rules.
"""

from .gradients import check_adjoint, check_gradient, check_second, check_subsets, method
from .memory import LAYOUTS, check_inplace, check_layouts, check_ownership
from .plans import check_jit
from .record import check_cost, check_threads
from .run import engine, engines, forward, reference, reverse, wanted
from .values import check_bad, check_forward, check_infer, check_oracles, check_pins

__all__ = ["LAYOUTS", "check_adjoint", "check_bad", "check_cost", "check_forward", "check_gradient",
           "check_infer", "check_inplace", "check_jit", "check_layouts", "check_oracles",
           "check_ownership", "check_pins", "check_second", "check_subsets", "check_threads",
           "engine", "engines", "forward", "method", "reference", "reverse", "wanted"]
