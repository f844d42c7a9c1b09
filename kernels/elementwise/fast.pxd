# The compiled loops live in this module alone; other families (program, gemm) find them here.

from medai_engine.kernels.elementwise.pieces cimport elementwise_loop

# The row in elementwise.h by the kernel's name, or -1.
cdef int row_of(str name)
# The row of an opcode: the place of the name in reference.__all__.
cdef int row_at(int opcode) noexcept nogil
cdef int cost_of(int row) noexcept nogil
# The loop of a row on the present instruction set.
cdef elementwise_loop loop_of(int row, bint is_double) noexcept nogil
