"""The outputs of an axis as runs that use the same kernel positions (see direct.pyx)."""

from medai_engine.kernels.conv.cuts cimport Axis, Run, ceil_div, cut, floor_div


cdef inline void forward_run(const Axis *a, Py_ssize_t o, Run *run) noexcept nogil:
    """The run that starts at output o, of one output."""
    cdef Py_ssize_t base = o * a.stride - a.padding
    cdef Py_ssize_t first = max(0, ceil_div(-base, a.dilation))
    run.taps = max(0, min(a.kernel, ceil_div(a.source - base, a.dilation)) - first)
    run.first, run.step, run.count = o, 1, 1
    run.source, run.source_step, run.source_tap = base + first * a.dilation, a.stride, a.dilation
    run.tap, run.tap_step = first, 1


cdef inline void gradient_run(const Axis *a, Py_ssize_t i, Run *run) noexcept nogil:
    """The run that starts at entry i of the input: kernel positions count from the last."""
    cdef Py_ssize_t t = i + a.padding, k = 0, period = 1, low, high
    while period * a.dilation % a.stride:
        period += 1
    while k < period and floor_div(t - k * a.dilation, a.stride) * a.stride != t - k * a.dilation:
        k += 1
    run.first, run.step, run.count = i, a.stride, 1
    run.source_step, run.source_tap = 1, period * a.dilation // a.stride
    run.tap_step = period
    low = max(0, ceil_div(t - (a.source - 1) * a.stride - k * a.dilation, period * a.dilation))
    high = min(floor_div(a.kernel - 1 - k, period),
               floor_div(t - k * a.dilation, period * a.dilation))
    run.taps = max(0, high - low + 1) if k < period else 0
    k += high * period
    run.source, run.tap = floor_div(t - k * a.dilation, a.stride), a.kernel - 1 - k


cdef inline void cut_runs(Axis *a, Py_ssize_t longest) noexcept nogil:
    """Cut runs in place, from the last to the first."""
    cdef Py_ssize_t total = 0, i, j, n, start
    cdef Run run
    for i in range(a.pieces):
        total += ceil_div(a.runs[i].count, longest)
    i = a.pieces
    a.pieces = total
    while i > 0:
        i -= 1
        run = a.runs[i]
        n = ceil_div(run.count, longest)
        j = n
        while j > 0:
            j -= 1
            total -= 1
            start = cut(run.count, n, j)
            a.runs[total] = run
            a.runs[total].count = cut(run.count, n, j + 1) - start
            a.runs[total].first += start * run.step
            a.runs[total].source += start * run.source_step


cdef inline void find_runs(Axis *a, bint gradient, Py_ssize_t longest) noexcept nogil:
    """Cut the outputs of an axis into runs, and these into pieces of at most `longest`."""
    cdef Py_ssize_t phases = min(a.stride, a.out) if gradient else 1, phase, i
    cdef Run run
    cdef Run *last
    a.pieces = 0
    for phase in range(phases):
        last = NULL
        for i from phase <= i < a.out by phases:    # Cython's range wants a constant step
            if gradient:
                gradient_run(a, i, &run)
            else:
                forward_run(a, i, &run)
            if last and run.taps == last.taps and run.tap == last.tap or (
                    last and not run.taps and not last.taps):
                last.count += 1
            else:
                last = a.runs + a.pieces
                last[0] = run
                a.pieces += 1
    cut_runs(a, longest)


cdef inline bint clip_run(const Run *run, Py_ssize_t start, Py_ssize_t stop,
                          Run *part) noexcept nogil:
    """The outputs of a run (with step 1) from start to stop; tell whether there are any."""
    part[0] = run[0]
    part.first = max(start, run.first)
    part.count = min(stop, run.first + run.count) - part.first
    part.source += (part.first - run.first) * run.source_step
    return part.count > 0
