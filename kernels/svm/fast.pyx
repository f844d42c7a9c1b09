"""SMO; equations in reference.py, vector texts in svm.inc. Sums of kernel values are in panels.pyx,
the linear machines' coordinate descent in descent.pyx, logistic regression's loss in logistic.pyx.

Points lie in panels (svm.inc), so a row of the kernel matrix is a tile of few left points times
all panels. A step of SMO is two passes over the active points: the partner of the greatest
decrease, then the change of all scores, in which the next first point is found as well.

Rows are kept, the least recently used is dropped. A missing row is computed together with those of
the points that violate most in the other chunks: they are wanted soon, and a tile of BATCH rows
reads the panels once. Points that stay at a bound are left out (shrinking): all arrays and cached
rows are compacted when a fifth can go. At the end the scores of all points are computed anew, and
the search goes on where one of those left out was wrong.

Chunks are CHUNK points; what they find is compared in order, so threads leave no trace.
Bytes: a step reads and writes 9 numbers a point, a row n d / BATCH. Source: see reference.py.
"""

cimport numpy as cnp
from libc.math cimport INFINITY, fabs, pow, tanh
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from medai_engine.kernels.svm.panels cimport (
    LINEAR, POLY, PRECOMPUTED, Points, RBF, Sums, WORK, add_up, ceil_div, pack, points_of, resize,
    svm_scan, svm_spec)
from medai_engine.kernels.threads.pool cimport parallel_for

from .descent import dual_descent
from .logistic import logistic_loss
from .panels import kernel_sums

cnp.import_array()

__all__ = ["dual_descent", "kernel_sums", "logistic_loss", "smo"]

ctypedef void (*rows_fn)(
    const svm_spec *spec, Py_ssize_t m, Py_ssize_t d, const void *left, const void *norm,
    const void *panels, const void *norms, Py_ssize_t first, Py_ssize_t last,
    void **to) noexcept nogil
ctypedef void (*update_fn)(
    void *score, const void *up, const void *low, const void *row_i, const void *row_j,
    double delta, Py_ssize_t first, Py_ssize_t last, svm_scan *found) noexcept nogil
ctypedef void (*partner_fn)(
    const void *score, const void *low, const void *diagonal, const void *row, double high,
    double diagonal_i, Py_ssize_t first, Py_ssize_t last, svm_scan *found) noexcept nogil
ctypedef void (*gather_fn)(const void *row, const Py_ssize_t *index, Py_ssize_t n,
                           Py_ssize_t padded, void *out) noexcept nogil
ctypedef void (*axpy_fn)(double a, const void *x, void *y, Py_ssize_t n) noexcept nogil

cdef enum:
    CHUNK = 4096            # points of a pass: some microseconds
    BATCH = 6               # rows computed together, of 6 or 12 that a tile can have
    PATIENCE = 1000         # steps between two looks at what can be left out


cdef struct Smo:
    svm_spec spec
    Points points                           # those active, in their order
    Py_ssize_t n                            # all of them
    double epsilon
    const double *target
    const double *lower
    const double *upper
    double *beta
    Py_ssize_t *active
    char *score
    char *up
    char *low
    char *diagonal
    char *rows                              # slots of `padded` numbers
    Py_ssize_t room, slots, filled, clock   # numbers in `rows`; rows it can hold, and does
    Py_ssize_t *slot_of                     # of an active point, or -1
    Py_ssize_t *owner                       # of a slot
    Py_ssize_t *used                        # when, of a slot
    Py_ssize_t *keep                        # those that stay, and where they go, as points are
    Py_ssize_t *place_of                    # left out
    svm_scan *found
    Py_ssize_t chunks
    Py_ssize_t i, batch                     # of the step under way
    double delta, high
    const char *row_i
    const char *row_j
    char *left
    char *left_norm
    void *to[BATCH]


cdef inline double get(const char *p, Py_ssize_t i, bint is_double) noexcept nogil:
    return (<const double *>p)[i] if is_double else (<const float *>p)[i]


cdef inline void put(char *p, Py_ssize_t i, bint is_double, double value) noexcept nogil:
    if is_double:
        (<double *>p)[i] = value
    else:
        (<float *>p)[i] = <float>value


# ---- rows of the kernel matrix ------------------------------------------------------------------


cdef void rows_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Smo *s = <Smo *>ctx
    cdef Points *p = &s.points
    cdef Py_ssize_t per_chunk = 1 + WORK // (s.batch * (p.d + 8) * p.text.nr)
    (<rows_fn>p.text.rows)(&s.spec, s.batch, p.d, s.left, s.left_norm, p.panel, p.norm,
                           chunk * per_chunk, min(p.panels, (chunk + 1) * per_chunk), s.to)


cdef void give_slot(Smo *s, Py_ssize_t i) noexcept nogil:
    """Let point i have the next row of the batch, in a free slot or the least recently used."""
    cdef Points *p = &s.points
    cdef Py_ssize_t slot, other
    if s.filled < s.slots:
        slot = s.filled
        s.filled += 1
    else:
        slot = 0
        for other in range(1, s.slots):
            if s.used[other] < s.used[slot]:
                slot = other
        s.slot_of[s.owner[slot]] = -1
    s.slot_of[i], s.owner[slot], s.used[slot] = slot, i, s.clock
    s.clock += 1
    s.to[s.batch] = s.rows + slot * p.padded * p.size
    memcpy(s.left + s.batch * p.d * p.size, p.x + s.active[i] * p.d * p.size, p.d * p.size)
    put(s.left_norm, s.batch, p.is_double, get(p.norm, i, p.is_double))
    s.batch += 1


cdef const char *row(Smo *s, Py_ssize_t i, bint first) noexcept nogil:
    """Row i, with those likely to be wanted next: the best of each chunk in the last pass."""
    cdef Points *p = &s.points
    cdef Py_ssize_t chunk, side, other
    if s.slot_of[i] < 0:
        s.batch = 0
        give_slot(s, i)
        if s.spec.kind == PRECOMPUTED:
            (<gather_fn>p.text.gather)(p.x + s.active[i] * s.n * p.size, s.active, p.n, p.padded,
                                       s.to[0])
        else:
            for chunk in range(s.chunks):
                for side in range(2 if first else 1):
                    other = (s.found[chunk].partner if not first else
                             s.found[chunk].low_at if side else s.found[chunk].high_at)
                    if s.batch < min(BATCH, s.slots // 2) and s.slot_of[other] < 0:
                        if other < p.n:
                            give_slot(s, other)
            parallel_for(rows_chunk, s, ceil_div(
                p.panels, 1 + WORK // (s.batch * (p.d + 8) * p.text.nr)))
    s.used[s.slot_of[i]] = s.clock
    s.clock += 1
    return s.rows + s.slot_of[i] * p.padded * p.size


# ---- steps --------------------------------------------------------------------------------------


cdef void update_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Smo *s = <Smo *>ctx
    (<update_fn>s.points.text.update)(
        s.score, s.up, s.low, s.row_i, s.row_j, s.delta, chunk * CHUNK,
        min(s.points.padded, (chunk + 1) * CHUNK), &s.found[chunk])


cdef void partner_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Smo *s = <Smo *>ctx
    (<partner_fn>s.points.text.partner)(
        s.score, s.low, s.diagonal, s.row_i, s.high, get(s.diagonal, s.i, s.points.is_double),
        chunk * CHUNK, min(s.points.padded, (chunk + 1) * CHUNK), &s.found[chunk])


cdef double look(Smo *s, double *low) noexcept nogil:
    """Do the pass over the scores; find the first point, return the violation."""
    cdef Py_ssize_t c
    low[0] = INFINITY
    parallel_for(update_chunk, s, s.chunks)
    s.high, s.i = -INFINITY, 0
    for c in range(s.chunks):
        if s.found[c].high > s.high:
            s.high, s.i = s.found[c].high, s.found[c].high_at
        low[0] = min(low[0], s.found[c].low)
    return s.high - low[0]


cdef void bounds(Smo *s, Py_ssize_t i) noexcept nogil:
    """Set what point i adds to its score on either side: the tube, or that it cannot move."""
    cdef Py_ssize_t k = s.active[i]
    cdef bint is_double = s.points.is_double
    cdef double beta = s.beta[k]
    put(s.up, i, is_double, -INFINITY if beta >= s.upper[k] else
        -s.epsilon if beta >= 0 else s.epsilon)
    put(s.low, i, is_double, INFINITY if beta <= s.lower[k] else
        -s.epsilon if beta > 0 else s.epsilon)


cdef bint step(Smo *s) noexcept nogil:
    """Move the first point up and its partner down; both stop at a bound or at zero."""
    cdef Py_ssize_t c, i = s.i, j = s.i, ki, kj
    cdef bint is_double = s.points.is_double
    cdef double gain = 0, curvature = 1, delta, room_i, room_j, end_i, end_j
    s.row_i = row(s, i, True)
    parallel_for(partner_chunk, s, s.chunks)
    for c in range(s.chunks):
        if s.found[c].gain * curvature > gain * s.found[c].curvature:
            gain, curvature, j = s.found[c].gain, s.found[c].curvature, s.found[c].partner
    if gain == 0:
        return False
    s.row_j = row(s, j, False)
    ki, kj = s.active[i], s.active[j]
    end_i = s.upper[ki] if s.beta[ki] >= 0 else min(0.0, s.upper[ki])
    end_j = s.lower[kj] if s.beta[kj] <= 0 else max(0.0, s.lower[kj])
    room_i, room_j = end_i - s.beta[ki], s.beta[kj] - end_j
    delta = (s.high - get(s.score, j, is_double) - get(s.low, j, is_double)) / curvature
    delta = min(delta, min(room_i, room_j))
    s.beta[ki] = end_i if delta >= room_i else s.beta[ki] + delta
    s.beta[kj] = end_j if delta >= room_j else s.beta[kj] - delta
    s.delta = delta
    bounds(s, i)
    bounds(s, j)
    return True


# ---- which points take part ---------------------------------------------------------------------


cdef double own_value(Smo *s, Py_ssize_t i) noexcept nogil:
    """Return k(x, x) of an active point."""
    cdef Points *p = &s.points
    cdef double y
    if s.spec.kind == PRECOMPUTED:
        return get(p.x, s.active[i] * (s.n + 1), p.is_double)
    y = get(p.norm, i, p.is_double)
    if s.spec.kind == RBF:
        return 1
    if s.spec.kind == LINEAR:
        return y
    y = s.spec.gamma * y + s.spec.coef0
    return pow(y, s.spec.degree) if s.spec.kind == POLY else tanh(y)


cdef void place(Smo *s, Py_ssize_t m) noexcept nogil:
    """Give panels, diagonal and padding to the first m active points."""
    cdef Points *p = &s.points
    cdef Py_ssize_t i
    p.index = s.active
    resize(p, m)
    s.slots = min(m, s.room // p.padded)
    s.chunks = ceil_div(p.padded, CHUNK)
    if s.spec.kind != PRECOMPUTED:
        pack(p)
    for i in range(m):
        put(s.diagonal, i, p.is_double, own_value(s, i))
    for i in range(m, p.padded):
        put(s.score, i, p.is_double, 0)
        put(s.diagonal, i, p.is_double, 0)
        put(s.up, i, p.is_double, -INFINITY)
        put(s.low, i, p.is_double, INFINITY)


cdef void add_support(Smo *s, Py_ssize_t m) noexcept nogil:
    """score = K beta for all points, of which the m in ``active`` have a beta that is not zero."""
    cdef Points *p = &s.points
    cdef Points left = p[0]
    cdef Sums sums
    cdef Py_ssize_t i
    if s.spec.kind == PRECOMPUTED:
        memset(s.score, 0, s.n * p.size)
        for i in range(m):
            (<axpy_fn>p.text.axpy)(s.beta[s.active[i]], p.x + s.active[i] * s.n * p.size, s.score,
                                   s.n)
        return
    resize(p, m)
    p.index = s.active
    pack(p)
    memset(s.up, 0, p.padded * p.size)
    for i in range(m):
        put(s.up, i, p.is_double, s.beta[s.active[i]])
    left.index, left.panel, left.norm = NULL, NULL, s.low
    resize(&left, s.n)
    pack(&left)
    sums.spec, sums.left, sums.right, sums.outputs = s.spec, &left, p, 1
    sums.coef, sums.out = s.up, s.score
    add_up(&sums)


cdef void begin(Smo *s) noexcept nogil:
    """Let all points take part: score = target - K beta; no row is kept."""
    cdef Points *p = &s.points
    cdef Py_ssize_t i, m = 0
    for i in range(s.n):
        if s.beta[i] != 0:
            s.active[m] = i
            m += 1
    if m:
        add_support(s, m)
    for i in range(s.n):
        put(s.score, i, p.is_double,
            s.target[i] - (get(s.score, i, p.is_double) if m else 0))
        s.active[i] = i
        s.slot_of[i] = -1
    place(s, s.n)
    for i in range(s.n):
        bounds(s, i)
    s.filled = 0
    s.row_i = NULL


cdef bint leave_out(Smo *s, double low) noexcept nogil:
    """Compact where a fifth of the active points would only move back; say whether."""
    cdef Points *p = &s.points
    cdef bint is_double = p.is_double
    cdef Py_ssize_t i, slot, m = 0, kept = 0, before = p.padded, n = p.n
    cdef double score
    for i in range(n):
        score = get(s.score, i, is_double)
        s.place_of[i] = -1
        if not (score + get(s.up, i, is_double) < low and
                score + get(s.low, i, is_double) > s.high):
            s.place_of[i] = m
            s.keep[m] = i
            m += 1
    if 5 * m > 4 * n:
        return False
    for i in range(m):
        put(s.score, i, is_double, get(s.score, s.keep[i], is_double))
        put(s.up, i, is_double, get(s.up, s.keep[i], is_double))
        put(s.low, i, is_double, get(s.low, s.keep[i], is_double))
        s.active[i] = s.active[s.keep[i]]
        s.slot_of[i] = -1
    place(s, m)
    # rows, and the numbers in a row, move to the front in order: none is overwritten unread
    for slot in range(s.filled):
        i = s.place_of[s.owner[slot]]
        if i >= 0:
            (<gather_fn>p.text.gather)(s.rows + slot * before * p.size, s.keep, m, p.padded,
                                       s.rows + kept * p.padded * p.size)
            s.owner[kept], s.used[kept], s.slot_of[i] = i, s.used[slot], kept
            kept += 1
    s.filled = kept
    s.row_i = NULL
    return True


# ---- the solver ---------------------------------------------------------------------------------


cdef void solve(Smo *s, double tol, double max_iter, bint shrinking, double *result) noexcept nogil:
    """Step until no pair violates by more than tol."""
    cdef double violation, low, iterations = 0, total = 0, free_points = 0, objective = 0
    cdef Py_ssize_t countdown = min(s.n, PATIENCE), i, k
    begin(s)
    violation = look(s, &low)
    while iterations < max_iter:
        if violation <= tol:
            if s.points.n == s.n:
                break
            begin(s)
            violation = look(s, &low)
            countdown = 1
            if violation <= tol:
                break
        countdown -= 1
        if shrinking and countdown == 0:
            countdown = min(s.n, PATIENCE)
            if leave_out(s, low):
                violation = look(s, &low)
        if not step(s):
            break       # no pair can decrease the objective by a number of this size
        violation = look(s, &low)
        iterations += 1
    if s.points.n < s.n:
        begin(s)
        violation = look(s, &low)
    for i in range(s.n):
        if s.beta[i] != 0 and s.lower[i] < s.beta[i] < s.upper[i]:
            total += get(s.score, i, s.points.is_double) + get(s.up, i, s.points.is_double)
            free_points += 1
        # beta K beta / 2 - target beta = -(score + target) beta / 2
        objective += s.epsilon * fabs(s.beta[i]) - s.beta[i] * (
            s.target[i] + get(s.score, i, s.points.is_double)) / 2
    result[0] = total / free_points if free_points else (s.high + low) / 2
    result[1], result[2], result[3] = objective, iterations, violation


cdef bint allocate(Smo *s, char **memory) noexcept nogil:
    """Take all the arrays over points in one piece."""
    cdef Py_ssize_t size = s.points.size, padded = s.points.padded, batch = BATCH * s.points.d
    cdef Py_ssize_t numbers = 5 * padded + batch + BATCH, wholes = 6 * s.n
    cdef char *at
    if s.spec.kind != PRECOMPUTED:
        numbers += padded * s.points.d
    s.found = <svm_scan *>malloc(ceil_div(padded, CHUNK) * sizeof(svm_scan))
    at = memory[0] = <char *>malloc(numbers * size + wholes * sizeof(Py_ssize_t))
    if not (s.found and at):
        return False
    s.active = <Py_ssize_t *>at
    s.slot_of, s.owner, s.used = s.active + s.n, s.active + 2 * s.n, s.active + 3 * s.n
    s.keep, s.place_of = s.active + 4 * s.n, s.active + 5 * s.n
    s.score = at + wholes * sizeof(Py_ssize_t)
    s.up, s.low = s.score + padded * size, s.score + 2 * padded * size
    s.diagonal, s.points.norm = s.score + 3 * padded * size, s.score + 4 * padded * size
    s.left = s.score + 5 * padded * size
    s.left_norm = s.left + batch * size
    s.points.panel = s.left_norm + BATCH * size
    return True


def smo(cnp.ndarray x, cnp.ndarray target, cnp.ndarray lower, cnp.ndarray upper, cnp.ndarray beta,
        cnp.ndarray workspace, cnp.ndarray result, int kind, int degree, double gamma,
        double coef0, double epsilon, double tol, double max_iter, bint shrinking):
    """Move ``beta`` to the optimum; result = (intercept, objective, iterations, violation)."""
    cdef Smo s
    cdef char *memory = NULL
    cdef double *to = <double *>cnp.PyArray_DATA(result)
    cdef bint found
    s.spec.kind, s.spec.degree, s.spec.gamma, s.spec.coef0 = kind, degree, gamma, coef0
    s.points = points_of(x)
    s.n, s.epsilon = s.points.n, epsilon
    s.target = <const double *>cnp.PyArray_DATA(target)
    s.lower = <const double *>cnp.PyArray_DATA(lower)
    s.upper = <const double *>cnp.PyArray_DATA(upper)
    s.beta = <double *>cnp.PyArray_DATA(beta)
    s.rows, s.room = cnp.PyArray_BYTES(workspace), cnp.PyArray_SIZE(workspace)
    s.clock, s.filled, s.delta = 0, 0, 0
    s.row_i = s.row_j = NULL
    with nogil:
        found = allocate(&s, &memory)
        if found:
            solve(&s, tol, max_iter, shrinking, to)
        free(memory)
        free(s.found)
    if not found:
        raise MemoryError
