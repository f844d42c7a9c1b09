"""From a row of `hyper` to the scalars of a segment, columns as in reference.COLUMNS: once a step."""

from libc.math cimport pow, sqrt


cdef extern from "optimizer.h" nogil:
    enum: SIGN, DECAY, SHRINK, RATE, EPS, KEEP1, ADD1, KEEP2, ADD2, ROOT, OF_G, OF_M
    enum: FIRST, NESTEROV, RECTIFIED


cdef inline void average(double *s, double beta1, double beta2) noexcept nogil:
    s[KEEP1] = beta1
    s[ADD1] = 1 - beta1
    s[KEEP2] = beta2
    s[ADD2] = 1 - beta2


cdef inline void sgd_scalars(const double *row, double *s) noexcept nogil:
    s[RATE] = row[0]
    s[KEEP1] = row[1]
    s[ADD1] = 1 - row[2]
    s[NESTEROV] = row[3]
    s[DECAY] = row[4]
    s[FIRST] = row[5] == 1
    s[SIGN] = -1 if row[6] else 1


cdef inline void adam_family(const double *row, double *s) noexcept nogil:
    """lr, beta1, beta2, eps, weight_decay, decoupled, step, maximize"""
    s[SHRINK] = 1 - row[0] * row[4] if row[5] else 1
    s[DECAY] = 0 if row[5] else row[4]
    s[SIGN] = -1 if row[7] else 1
    s[EPS] = row[3]
    average(s, row[1], row[2])


cdef inline void adam_scalars(const double *row, double *s) noexcept nogil:
    adam_family(row, s)
    s[RATE] = row[0] / (1 - pow(row[1], row[6]))
    s[ROOT] = 1 / sqrt(1 - pow(row[2], row[6]))


cdef inline void nadam_scalars(const double *row, double *s) noexcept nogil:
    cdef double mu = row[1] * (1 - 0.5 * pow(0.96, row[6] * row[8]))
    cdef double mu_next = row[1] * (1 - 0.5 * pow(0.96, (row[6] + 1) * row[8]))
    adam_family(row, s)
    s[OF_G] = row[0] * (1 - mu) / (1 - row[9])
    s[OF_M] = row[0] * mu_next / (1 - row[9] * mu_next)
    s[ROOT] = 1 / sqrt(1 - pow(row[2], row[6]))


cdef inline void radam_scalars(const double *row, double *s) noexcept nogil:
    cdef double decay = pow(row[2], row[6]), limit = 2 / (1 - row[2]) - 1
    cdef double length = limit - 2 * row[6] * decay / (1 - decay)
    adam_family(row, s)
    s[RATE] = row[0] / (1 - pow(row[1], row[6]))
    s[RECTIFIED] = length > 5
    if length > 5:
        s[RATE] *= sqrt((length - 4) * (length - 2) * limit * (1 - decay)
                        / ((limit - 4) * (limit - 2) * length))


cdef inline void rmsprop_scalars(const double *row, double *s) noexcept nogil:
    average(s, row[1], row[3])
    s[RATE] = row[0]
    s[EPS] = row[2]
    s[DECAY] = row[4]
    s[SIGN] = -1 if row[5] else 1


cdef inline void adagrad_scalars(const double *row, double *s) noexcept nogil:
    s[RATE] = row[0] / (1 + (row[4] - 1) * row[1])
    s[EPS] = row[2]
    s[DECAY] = row[3]
    s[SIGN] = -1 if row[5] else 1


cdef inline void adadelta_scalars(const double *row, double *s) noexcept nogil:
    average(s, row[1], row[1])
    s[RATE] = row[0]
    s[EPS] = row[2]
    s[DECAY] = row[3]
    s[SIGN] = -1 if row[4] else 1


cdef inline void adamax_scalars(const double *row, double *s) noexcept nogil:
    average(s, row[1], row[2])
    s[RATE] = row[0] / (1 - pow(row[1], row[5]))
    s[EPS] = row[3]
    s[DECAY] = row[4]
    s[SIGN] = -1 if row[6] else 1


cdef inline void lion_scalars(const double *row, double *s) noexcept nogil:
    average(s, row[1], row[2])
    s[RATE] = row[0]
    s[SHRINK] = 1 - row[0] * row[3]
    s[SIGN] = -1 if row[4] else 1
