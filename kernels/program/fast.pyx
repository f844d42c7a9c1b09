"""Chains of elementwise kernels in one pass over tiles of the outputs.

Order: chunks of tiles over the threads; in a chunk tile by tile, in a tile instruction by
instruction. A tile of a register is 4 KiB of float32, so that the few registers alive at a time
stay in L1. Instructions are the loops of the elementwise family, called through their table: an
element's bits are those of the kernels called one by one. Inputs that lie as the outputs are read
where they lie, one element is read with step 0, a pattern that repeats within a tile (a bias) is
written out once a chunk, anything else is gathered a tile at a time; outputs are written where
they lie and read from there by later instructions.
Bytes: every input and output once, whatever the number of instructions.
Source: strip-mining, Wolfe, "High Performance Compilers for Parallel Computing" (1996), 9.
"""

cimport numpy as cnp
from cpython.list cimport PyList_GET_ITEM
from libc.stdint cimport int64_t

from medai_engine.kernels.elementwise.fast cimport cost_of, loop_of, row_at
from medai_engine.kernels.elementwise.pieces cimport (
    SPLAT, copy_run, elementwise_loop, splat, stride_of,
)
from medai_engine.kernels.program import reference
from medai_engine.kernels.threads.pool cimport parallel_for, scratch

cnp.import_array()

__all__ = ["program"]

cdef enum:
    MAX_INPUTS = 24
    MAX_OUTPUTS = 64            # one a step
    MAX_STEPS = 64
    MAX_REGISTERS = 152         # inputs, outputs and a temporary a step
    MAX_DIMS = 12
    TILE = 1024                 # elements
    CHUNK = 32                  # tiles of one cheap instruction: some ten microseconds
    COLUMNS = 6

assert (MAX_INPUTS, MAX_STEPS, MAX_DIMS) == (
    reference.MAX_INPUTS, reference.MAX_STEPS, reference.MAX_DIMS)

cdef enum Kind:
    LINEAR, CONSTANT, PERIODIC, GATHERED

cdef struct Operand:
    char *data
    Py_ssize_t item, period
    Kind kind
    int block                   # number of its memory among the blocks
    int ndim
    Py_ssize_t shape[MAX_DIMS]
    Py_ssize_t stride[MAX_DIMS]

cdef struct Step:
    elementwise_loop loop
    int inputs, target
    int source[3]
    double parameters[2]

cdef struct Job:
    int inputs, linear, registers, steps, blocks    # linear: inputs and outputs
    Py_ssize_t size, chunk
    Operand operand[MAX_INPUTS + MAX_OUTPUTS]
    Step step[MAX_STEPS]


cdef void fill(const Operand *x, Py_ssize_t start, Py_ssize_t n, char *block) noexcept nogil:
    """Copy elements start .. start + n, in the order of the outputs."""
    cdef int d, last = x.ndim - 1
    cdef Py_ssize_t index[MAX_DIMS]
    cdef Py_ssize_t column = start % x.shape[last], rest = start // x.shape[last], run
    cdef const char *data = x.data
    for d in range(last - 1, -1, -1):
        index[d] = rest % x.shape[d]
        rest //= x.shape[d]
        data += index[d] * x.stride[d]
    while True:
        run = min(n, x.shape[last] - column)
        copy_run(block, x.item, data + column * x.stride[last], x.stride[last], x.item, run)
        n -= run
        if n == 0:
            return
        block += run * x.item
        column = 0
        for d in range(last - 1, -1, -1):
            index[d] += 1
            data += x.stride[d]
            if index[d] < x.shape[d]:
                break
            index[d] = 0
            data -= x.stride[d] * x.shape[d]


cdef void run_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Job *job = <const Job *>context
    cdef char *data[MAX_REGISTERS]
    cdef Py_ssize_t stride[MAX_REGISTERS]       # 0 where one element serves all
    cdef const char *source[3]
    cdef Py_ssize_t step[3]
    cdef Py_ssize_t start = chunk * job.chunk, stop = min(start + job.chunk, job.size), n
    cdef char *memory = <char *>scratch(0, job.blocks * (TILE * 8))
    cdef const Operand *x
    cdef const Step *s
    cdef int i, k
    for i in range(job.linear):
        x = &job.operand[i]
        stride[i] = x.kind != CONSTANT
        data[i] = memory + x.block * (TILE * 8)
        if x.kind == CONSTANT:
            splat(data[i], x.data, x.item)
        elif x.kind == PERIODIC:
            fill(x, 0, min(job.size, x.period + min(stop - start, TILE)), data[i])
    for i in range(job.linear, job.registers):
        data[i] = memory + (job.blocks - job.registers + i) * (TILE * 8)
        stride[i] = 1
    while start < stop:
        n = min(TILE, stop - start)
        for i in range(job.linear):
            x = &job.operand[i]
            if x.kind == LINEAR:
                data[i] = x.data + start * x.item
            elif x.kind == PERIODIC:
                data[i] = memory + x.block * (TILE * 8) + start % x.period * x.item
            elif x.kind == GATHERED:
                fill(x, start, n, data[i])
        for k in range(job.steps):
            s = &job.step[k]
            for i in range(s.inputs):
                source[i] = data[s.source[i]]
                step[i] = stride[s.source[i]]
            s.loop(source, step, data[s.target], n, s.parameters)
        start += n


cdef void describe(Operand *x, cnp.ndarray a, cnp.ndarray out, Job *job) noexcept:
    """Find how the elements of an array follow the order of the outputs."""
    cdef int d, first, ndim = cnp.PyArray_NDIM(out)
    cdef Py_ssize_t length, stride
    x.data = cnp.PyArray_BYTES(a)
    x.item = cnp.PyArray_ITEMSIZE(a)
    if cnp.PyArray_SIZE(a) == job.size and cnp.PyArray_IS_C_CONTIGUOUS(a):
        x.kind = LINEAR
        return
    x.block = job.blocks
    job.blocks += 1
    if cnp.PyArray_SIZE(a) == 1:
        x.kind = CONSTANT
        return
    x.ndim = 0
    for d in range(ndim):
        length = cnp.PyArray_DIM(out, d)
        if length == 1:
            continue
        stride = stride_of(a, d - ndim)
        if x.ndim > 0 and x.stride[x.ndim - 1] == stride * length:
            x.shape[x.ndim - 1] *= length
        else:
            x.shape[x.ndim] = length
            x.ndim += 1
        x.stride[x.ndim - 1] = stride
    x.kind = GATHERED
    if x.ndim == 1 and x.stride[0] == 0:
        x.kind = CONSTANT
    elif x.stride[0] == 0:  # what follows the first axis repeats
        x.period = 1
        for d in range(1, x.ndim):
            x.period *= x.shape[d]
        if x.period <= TILE:
            x.kind = PERIODIC
            job.blocks += 1     # a pattern is up to two tiles long


def program(list inputs, list outs, cnp.ndarray code, cnp.ndarray parameters):
    """Run the rows of ``code`` on every tile."""
    cdef Job job
    cdef Step *s
    cdef const int64_t *row = <const int64_t *>cnp.PyArray_DATA(code)
    cdef const double *values = <const double *>cnp.PyArray_DATA(parameters)
    cdef cnp.ndarray out = outs[0], a
    cdef int i, k, kernel, weight = 0
    cdef bint is_double = False
    cdef Py_ssize_t n_inputs = len(inputs), n_outputs = len(outs), n = cnp.PyArray_DIM(code, 0)
    if n_inputs > MAX_INPUTS or n_outputs > MAX_OUTPUTS or n > MAX_STEPS or (
            cnp.PyArray_NDIM(out) > MAX_DIMS):
        raise ValueError("more inputs, outputs, instructions or dimensions than a program has")
    job.inputs, job.linear, job.steps = n_inputs, n_inputs + n_outputs, n
    job.size = cnp.PyArray_SIZE(out)
    job.blocks = 0
    for i in range(job.linear):
        a = <cnp.ndarray>(PyList_GET_ITEM(inputs, i) if i < n_inputs
                          else PyList_GET_ITEM(outs, i - n_inputs))
        is_double = is_double or cnp.PyArray_TYPE(a) == cnp.NPY_DOUBLE
        describe(&job.operand[i], a, out, &job)
    job.registers = job.linear
    for k in range(job.steps):
        s = &job.step[k]
        kernel = row_at(row[0])
        s.loop = loop_of(kernel, is_double)
        s.inputs = row[1]
        for i in range(3):
            s.source[i] = row[2 + i]
        s.target = row[5]
        s.parameters[0], s.parameters[1] = values[0], values[1]
        job.registers = max(job.registers, s.target + 1)
        weight += 1 << 2 * cost_of(kernel)
        row += COLUMNS
        values += 2
    job.blocks += job.registers - job.linear
    job.chunk = TILE * max(1, CHUNK // (1 + weight))
    if job.size <= job.chunk:
        run_chunk(&job, 0, 0)
    else:
        with nogil:
            parallel_for(run_chunk, &job, (job.size + job.chunk - 1) // job.chunk)
