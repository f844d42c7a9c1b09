"""Elementwise kernels on vectors and threads.

elementwise.inc has one contiguous loop per kernel, instruction set and dtype; pieces.pxd brings
arrays of any strides to it; this file takes the calls. Bytes moved: every input once, the output
once. Large problems are cut into chunks of a fixed number of elements; an element's bits depend on
neither chunk nor piece.
"""

cimport numpy as cnp
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from medai_engine.kernels.elementwise import reference
from medai_engine.kernels.elementwise.pieces cimport (
    MAX_DIMS, MAX_INPUTS, SPLAT, Plan, classify, elementwise_loop, fold, run, run_chunk, splat,
)
from medai_engine.kernels.memory.allocator cimport empty_array
from medai_engine.kernels.simd cimport isa
from medai_engine.kernels.threads.pool cimport parallel_for

cnp.import_array()

cdef extern from "elementwise.h":
    enum:
        KERNELS
    struct elementwise_kernels:
        elementwise_loop *loop
    struct elementwise_row:
        const char *name
        int inputs, parameters, is_bool, cost
    const elementwise_kernels *elementwise_kernels_table[3][2]
    const elementwise_row *elementwise_rows

# Elements of a chunk by cost: some ten microseconds of work. One chunk runs on the calling thread.
cdef Py_ssize_t *CHUNK = [16384, 4096, 1024]


cdef int row_of(str name):
    return <int>BY_NAME.get(name, -1)


cdef int row_at(int opcode) noexcept nogil:
    return ROWS[opcode]


cdef int cost_of(int row) noexcept nogil:
    return elementwise_rows[row].cost


cdef elementwise_loop loop_of(int row, bint is_double) noexcept nogil:
    return elementwise_kernels_table[isa.level][is_double].loop[row]


cdef inline bint same_shape(cnp.ndarray a, cnp.ndarray b) noexcept:
    cdef int d, ndim = cnp.PyArray_NDIM(a)
    if ndim != cnp.PyArray_NDIM(b):
        return False
    for d in range(ndim):
        if cnp.PyArray_DIM(a, d) != cnp.PyArray_DIM(b, d):
            return False
    return True


cdef int compute(int k, PyObject **inputs, cnp.ndarray out, const double *parameters) except -1:
    cdef Plan plan
    cdef const char *data[MAX_INPUTS]
    cdef Py_ssize_t step[MAX_INPUTS]
    cdef uint64_t memory[MAX_INPUTS][SPLAT]
    cdef int i, n = elementwise_rows[k].inputs
    cdef bint is_double
    cdef bint alike = cnp.PyArray_IS_C_CONTIGUOUS(out)
    cdef cnp.ndarray x
    for i in range(n):
        if not cnp.PyArray_Check(<object>inputs[i]):
            raise TypeError(f"expected an array, got {type(<object>inputs[i]).__name__}")
    is_double = cnp.PyArray_TYPE(<cnp.ndarray>inputs[n - 1]) == cnp.NPY_DOUBLE
    plan.loop = elementwise_kernels_table[isa.level][is_double].loop[k]
    plan.parameters = parameters
    plan.inputs = n
    plan.size = cnp.PyArray_SIZE(out)
    plan.chunk = CHUNK[elementwise_rows[k].cost]
    for i in range(n):
        x = <cnp.ndarray>inputs[i]
        data[i] = cnp.PyArray_BYTES(x)
        step[i] = 1
        if not (cnp.PyArray_IS_C_CONTIGUOUS(x) and same_shape(x, out)):
            if cnp.PyArray_SIZE(x) == 1 and plan.size > 1:
                step[i] = 0
            else:
                alike = False
    if alike and plan.size <= plan.chunk:
        for i in range(n):
            if step[i] == 0:
                splat(<char *>memory[i], data[i], cnp.PyArray_ITEMSIZE(<cnp.ndarray>inputs[i]))
                data[i] = <char *>memory[i]
        plan.loop(data, step, cnp.PyArray_BYTES(out), plan.size, parameters)
        return 0
    for i in range(n + 1):
        x = <cnp.ndarray>inputs[i] if i < n else out
        plan.operand[i].data = cnp.PyArray_BYTES(x)
        plan.operand[i].item = cnp.PyArray_ITEMSIZE(x)
    fold(&plan, out, inputs)
    classify(&plan)
    if plan.size <= plan.chunk:
        run(&plan, 0, plan.size)
    else:
        with nogil:
            parallel_for(run_chunk, &plan, (plan.size + plan.chunk - 1) // plan.chunk)
    return 0


cdef object compute_new(int k, PyObject **inputs, const double *parameters):
    """The short path: allocate the broadcast result; None where the engine must look closer."""
    cdef cnp.npy_intp shape[MAX_DIMS]
    cdef int i, d, at, n = elementwise_rows[k].inputs, ndim = 0, kind = -1
    cdef cnp.npy_intp length
    cdef cnp.ndarray x
    for i in range(n):
        if not cnp.PyArray_CheckExact(<object>inputs[i]):
            return None
        x = <cnp.ndarray>inputs[i]
        if not (cnp.PyArray_ISALIGNED(x) and cnp.PyArray_ISNOTSWAPPED(x)):
            return None
        if i == 0 and k == WHERE:
            if cnp.PyArray_TYPE(x) != cnp.NPY_BOOL:
                return None
        elif kind == -1:
            kind = cnp.PyArray_TYPE(x)
            if kind != cnp.NPY_FLOAT and kind != cnp.NPY_DOUBLE:
                return None
        elif cnp.PyArray_TYPE(x) != kind:
            return None
        at = cnp.PyArray_NDIM(x) - ndim
        if at > 0:          # move what is known to the end, a new dimension starts as 1
            for d in range(ndim - 1, -1, -1):
                shape[d + at] = shape[d]
            for d in range(at):
                shape[d] = 1
            ndim += at
        at = ndim - cnp.PyArray_NDIM(x)
        for d in range(cnp.PyArray_NDIM(x)):
            length = cnp.PyArray_DIM(x, d)
            if shape[at + d] == 1:
                shape[at + d] = length
            elif length != 1 and length != shape[at + d]:
                return None
    out = empty_array(ndim, shape, cnp.NPY_BOOL if elementwise_rows[k].is_bool else kind)
    if cnp.PyArray_SIZE(<cnp.ndarray>out) > 0:
        compute(k, inputs, <cnp.ndarray>out, parameters)
    return out


cdef object unary(int k):
    def kernel(x, out=None):
        cdef PyObject *inputs = <PyObject *>x
        cdef double *none = [0, 0]
        if out is None:
            return compute_new(k, &inputs, none)
        compute(k, &inputs, out, none)
    return kernel


cdef object binary(int k):
    def kernel(a, b, out=None):
        cdef PyObject **inputs = [<PyObject *>a, <PyObject *>b]
        cdef double *none = [0, 0]
        if out is None:
            return compute_new(k, inputs, none)
        compute(k, inputs, out, none)
    return kernel


cdef object ternary(int k):
    def kernel(a, b, c, out=None):
        cdef PyObject **inputs = [<PyObject *>a, <PyObject *>b, <PyObject *>c]
        cdef double *none = [0, 0]
        if out is None:
            return compute_new(k, inputs, none)
        compute(k, inputs, out, none)
    return kernel


cdef object with_parameters(int k):
    cdef int n = elementwise_rows[k].inputs

    def kernel(*arguments):
        cdef PyObject **inputs = [<PyObject *>arguments[0], <PyObject *>arguments[1]]
        cdef double *parameters = [0, 0]
        cdef int i
        for i in range(n + 1, len(arguments)):
            parameters[i - n - 1] = arguments[i]
        if arguments[n] is None:
            return compute_new(k, inputs, parameters)
        compute(k, inputs, arguments[n], parameters)
    return kernel


cdef int WHERE = -1
cdef int ROWS[KERNELS]
cdef dict BY_NAME = {}
__all__ = []


cdef object publish():
    """Make every row of the table a function of this module."""
    global WHERE
    cdef int k
    for k in range(KERNELS):
        name = elementwise_rows[k].name.decode()
        if elementwise_rows[k].parameters > 0:
            kernel = with_parameters(k)
        else:
            kernel = [unary, binary, ternary][elementwise_rows[k].inputs - 1](k)
        if name == "where":
            WHERE = k
        kernel.__name__ = kernel.__qualname__ = name
        globals()[name] = kernel
        __all__.append(name)
        ROWS[reference.__all__.index(name)] = BY_NAME[name] = k


publish()
