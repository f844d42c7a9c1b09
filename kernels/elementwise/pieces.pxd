# How arrays of any strides become plain pointers for the contiguous loops (fast.pyx).
#
# Dimensions are folded where all operands step alike. What remains is walked in pieces of the
# output's order, and for each piece every operand gives a pointer by its kind:
#
#     linear      lies like the output                  the pointer
#     constant    one element for all                   64 bytes of copies, read with step 0
#     row         contiguous in a row of the output     the pointer into its row
#     column      one element for each row              64 bytes of copies, filled once a row
#     periodic    repeats after a few elements          a pattern a little longer than a piece,
#                 (a bias on narrow rows)               filled once a chunk
#     gathered    any other strides                     copied to a block in L1
#
# An output that is neither linear nor in rows is computed into a block and copied out.

cimport numpy as cnp
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "../elementwise/loop.h":  # as other families see it too
    ctypedef void (*elementwise_loop)(const char **in_, const Py_ssize_t *step, char *out,
                                      Py_ssize_t n, const double *parameters) noexcept nogil

cdef enum:
    MAX_DIMS = 64       # NumPy's
    MAX_INPUTS = 3
    BLOCK = 512         # elements of a gathered piece: with the patterns 32 KB, about an L1
    NARROW = 128        # rows shorter than this are taken several at a time
    SPLAT = 8           # the widest vector, in words of 8 bytes

cdef enum Kind:
    LINEAR, CONSTANT, ROW, COLUMN, PERIODIC, GATHERED

cdef struct Operand:
    char *data
    Py_ssize_t item
    Py_ssize_t period
    Kind kind
    Py_ssize_t stride[MAX_DIMS]

cdef struct Plan:
    elementwise_loop loop
    const double *parameters
    int inputs
    int ndim
    bint narrow
    bint gathers
    Py_ssize_t size
    Py_ssize_t inner
    Py_ssize_t chunk
    Py_ssize_t shape[MAX_DIMS]
    Operand operand[MAX_INPUTS + 1]     # the output comes after the inputs


# --- pieces of one operand ----------------------------------------------------------------------

ctypedef fused element:
    uint8_t
    uint32_t
    uint64_t


cdef inline void copy_strided(element *out, Py_ssize_t out_step, const element *x,
                              Py_ssize_t x_step, Py_ssize_t n) noexcept nogil:
    """Steps in elements; data is aligned to its item size, so strides are multiples of it."""
    cdef Py_ssize_t i
    if x_step == 1 and out_step == 1:
        for i in range(n):
            out[i] = x[i]
    else:
        for i in range(n):
            out[i * out_step] = x[i * x_step]


cdef inline void copy_run(char *out, Py_ssize_t out_stride, const char *x, Py_ssize_t x_stride,
                   Py_ssize_t item, Py_ssize_t n) noexcept nogil:
    if item == 4:
        copy_strided(<uint32_t *>out, out_stride // 4, <const uint32_t *>x, x_stride // 4, n)
    elif item == 8:
        copy_strided(<uint64_t *>out, out_stride // 8, <const uint64_t *>x, x_stride // 8, n)
    else:
        copy_strided(<uint8_t *>out, out_stride, <const uint8_t *>x, x_stride, n)


cdef inline char *row_start(const Plan *plan, const Operand *x, Py_ssize_t row) noexcept nogil:
    cdef char *data = x.data
    cdef int d
    for d in range(plan.ndim - 2, 0, -1):
        data += row % plan.shape[d] * x.stride[d]
        row //= plan.shape[d]
    return data + row * x.stride[0] if plan.ndim > 1 else data


cdef inline void transfer(const Plan *plan, const Operand *x, Py_ssize_t start, Py_ssize_t n,
                   char *block, bint outwards) noexcept nogil:
    """Copy elements start .. start + n of the output's order to a block, or from it to x."""
    cdef Py_ssize_t row = start // plan.inner, column = start % plan.inner, run
    cdef Py_ssize_t stride = x.stride[plan.ndim - 1]
    cdef Py_ssize_t index[MAX_DIMS]     # of the row
    cdef char *data = row_start(plan, x, row)
    cdef int d
    for d in range(plan.ndim - 2, -1, -1):
        index[d] = row % plan.shape[d]
        row //= plan.shape[d]
    while True:
        run = min(n, plan.inner - column)
        if outwards:
            copy_run(data + column * stride, stride, block, x.item, x.item, run)
        else:
            copy_run(block, x.item, data + column * stride, stride, x.item, run)
        block += run * x.item
        n -= run
        if n == 0:
            return
        column = 0
        for d in range(plan.ndim - 2, -1, -1):
            index[d] += 1
            data += x.stride[d]
            if index[d] < plan.shape[d]:
                break
            index[d] = 0
            data -= x.stride[d] * plan.shape[d]


cdef inline void splat(char *block, const char *x, Py_ssize_t item) noexcept nogil:
    copy_run(block, item, x, 0, item, 8 * SPLAT // item)


# --- a chunk ------------------------------------------------------------------------------------


cdef inline void run(const Plan *plan, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef uint64_t memory[MAX_INPUTS + 1][2 * BLOCK]
    cdef char *block[MAX_INPUTS + 1]
    cdef const char *data[MAX_INPUTS]
    cdef Py_ssize_t step[MAX_INPUTS]
    cdef Py_ssize_t position = start, n, row = 0, column = 0
    cdef const Operand *x
    cdef const Operand *out = &plan.operand[plan.inputs]
    cdef bint new_row = True
    cdef int i
    for i in range(plan.inputs + 1):
        block[i] = <char *>memory[i]
    for i in range(plan.inputs):
        x = &plan.operand[i]
        data[i] = block[i]
        step[i] = x.kind != CONSTANT and x.kind != COLUMN
        if x.kind == CONSTANT:
            splat(block[i], x.data, x.item)
        elif x.kind == PERIODIC:
            transfer(plan, x, 0, min(plan.size, x.period + min(stop - start, BLOCK)), block[i],
                     False)
    if not plan.narrow:
        row, column = start // plan.inner, start % plan.inner
    while position < stop:
        n = stop - position
        if not plan.narrow:
            n = min(n, plan.inner - column)
        if plan.gathers:
            n = min(n, BLOCK)
        for i in range(plan.inputs):
            x = &plan.operand[i]
            if x.kind == LINEAR:
                data[i] = x.data + position * x.item
            elif x.kind == ROW:
                data[i] = row_start(plan, x, row) + column * x.item
            elif x.kind == COLUMN:
                if new_row:
                    splat(block[i], row_start(plan, x, row), x.item)
            elif x.kind == PERIODIC:
                data[i] = block[i] + position % x.period * x.item
            elif x.kind == GATHERED:
                transfer(plan, x, position, n, block[i], False)
        if out.kind == LINEAR:
            plan.loop(data, step, out.data + position * out.item, n, plan.parameters)
        elif out.kind == ROW:
            plan.loop(data, step, row_start(plan, out, row) + column * out.item, n,
                      plan.parameters)
        else:
            plan.loop(data, step, block[plan.inputs], n, plan.parameters)
            transfer(plan, out, position, n, block[plan.inputs], True)
        position += n
        column += n
        new_row = column >= plan.inner
        if new_row:
            row += 1
            column = 0


cdef inline void run_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Plan *plan = <const Plan *>context
    cdef Py_ssize_t start = chunk * plan.chunk
    run(plan, start, min(start + plan.chunk, plan.size))


# --- the plan -----------------------------------------------------------------------------------


cdef inline Py_ssize_t stride_of(cnp.ndarray x, int from_end) noexcept:
    """The stride of a dimension counted from the last (-1), 0 where x is broadcast."""
    cdef int d = cnp.PyArray_NDIM(x) + from_end
    return cnp.PyArray_STRIDE(x, d) if d >= 0 and cnp.PyArray_DIM(x, d) != 1 else 0


cdef inline void fold(Plan *plan, cnp.ndarray out, PyObject **inputs) noexcept:
    """Take out's dimensions, largest stride first; join those that all operands step alike."""
    cdef int d, i, k, at, ndim = cnp.PyArray_NDIM(out), n = plan.inputs
    cdef int order[MAX_DIMS]
    cdef Py_ssize_t strides[MAX_INPUTS + 1]
    cdef Py_ssize_t length
    cdef bint joins
    cdef Operand *x
    k = 0
    for d in range(ndim):
        if cnp.PyArray_DIM(out, d) == 1:
            continue
        at = k
        while at > 0 and (abs(cnp.PyArray_STRIDE(out, order[at - 1]))
                          < abs(cnp.PyArray_STRIDE(out, d))):
            order[at] = order[at - 1]
            at -= 1
        order[at] = d
        k += 1
    plan.ndim = 0
    for at in range(k):
        d = order[at]
        length = cnp.PyArray_DIM(out, d)
        for i in range(n + 1):
            strides[i] = stride_of(<cnp.ndarray>inputs[i] if i < n else out, d - ndim)
        joins = plan.ndim > 0
        for i in range(n + 1):
            joins = joins and plan.operand[i].stride[plan.ndim - 1] == strides[i] * length
        if joins:
            plan.shape[plan.ndim - 1] *= length
        else:
            plan.shape[plan.ndim] = length
            plan.ndim += 1
        for i in range(n + 1):
            plan.operand[i].stride[plan.ndim - 1] = strides[i]
    if plan.ndim == 0:
        plan.ndim = plan.shape[0] = 1
        for i in range(n + 1):
            plan.operand[i].stride[0] = 0


cdef inline void classify(Plan *plan) noexcept:
    cdef int i, d, last = plan.ndim - 1, first
    cdef Py_ssize_t span
    cdef Operand *x
    plan.inner = plan.shape[last]
    plan.narrow = plan.ndim > 1 and plan.inner < NARROW
    plan.gathers = plan.narrow
    for i in range(plan.inputs + 1):
        x = &plan.operand[i]
        span = x.item
        first = plan.ndim       # the first dimension in which x steps
        x.kind = LINEAR
        for d in range(last, -1, -1):
            if x.stride[d] != span and plan.shape[d] > 1:
                x.kind = GATHERED
            if x.stride[d] != 0:
                first = d
            span *= plan.shape[d]
        if x.kind == LINEAR:
            continue
        if i < plan.inputs and first == plan.ndim:
            x.kind = CONSTANT
        elif plan.narrow:
            x.period = 1
            for d in range(first, plan.ndim):
                x.period *= plan.shape[d]
            if i < plan.inputs and first > 0 and x.period <= BLOCK:
                x.kind = PERIODIC
        elif x.stride[last] == x.item:
            x.kind = ROW
        elif i < plan.inputs and x.stride[last] == 0:
            x.kind = COLUMN
        plan.gathers = plan.gathers or x.kind == GATHERED
