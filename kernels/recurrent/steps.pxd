"""What a recurrent layer's steps work on, and its chunks; see steps.pyx."""

from libc.stdint cimport int64_t

cdef extern from "steps.h":
    ctypedef void (*recurrent_step)(
        Py_ssize_t H, int relu, const void *a, const void *z, void *c, void *h, void *output,
        void *cells, void *gates) noexcept nogil
    ctypedef void (*recurrent_step_grad)(
        Py_ssize_t H, int relu, const void *g_output, const void *g_gates, const void *g_cells,
        const void *gates, const void *cells, const void *last, void *d_h, void *d_c, void *row,
        void *panel, Py_ssize_t panel_step) noexcept nogil
    struct recurrent_kernels:
        void *tile
        void *pack
        void *pack_transposed
        recurrent_step lstm, gru, rnn
        recurrent_step_grad lstm_grad, gru_grad, rnn_grad
        void (*keep)(Py_ssize_t width, const void *row, void *panel,
                     Py_ssize_t panel_step) noexcept nogil
        void (*sum_rows)(Py_ssize_t rows, const void *panel, Py_ssize_t n, int accumulate,
                         void *out) noexcept nogil
        void (*row)(Py_ssize_t n, Py_ssize_t kc, const void *l, const void *panels, void *out,
                    int accumulate, const void *bias, int back) noexcept nogil
        Py_ssize_t mr, nr
    void recurrent_fetch(const char *start, Py_ssize_t n_bytes) noexcept nogil


cdef struct Job:
    const recurrent_kernels *kernels
    recurrent_step step
    recurrent_step_grad step_grad
    Py_ssize_t size, N, T, D, H         # bytes of an element; sizes of x (N, T, D) and h (N, H)
    Py_ssize_t G, blocks                # gates, and blocks of gradients
    int reverse, relu
    Py_ssize_t rows                     # sequences of a chunk
    const int64_t *order                # sequences, longest first
    const int64_t *lengths              # of sequence n, between 0 and T
    const int64_t *first                # valid steps of all that come earlier in the order
    const char *weight                  # the recurrent one, in panels
    const char *weight_x                # that of the inputs, or NULL
    const char *bias                    # of the recurrent product, or NULL
    const char *bias_x                  # of the projection
    const char *x
    const char *h0
    const char *c0                      # or NULL, as c, gates, cells where a layer has none
    char *output
    char *gates                         # what the activations gave: of rnn the outputs
    char *cells
    char *h
    char *c
    const char *a                       # projected inputs, in order; NULL: projected step by step
    const char *last                    # states that step_grad asks for, with their first ones
    const char *last0
    const char *g_output
    const char *g_h
    const char *g_c
    const char *g_gates
    const char *g_cells
    char *g_x                           # or NULL
    char *g_h0
    char *g_c0
    char *panels                        # gradients of a and z, by block and vector of units
    char *met_x                         # the inputs that the weights met, in panels of columns
    char *met_h                         # the states that the recurrent weight met
    Py_ssize_t valid, room              # valid steps, and the rows of a panel that has them
    char *g_weight_ih
    char *g_weight_hh
    char *g_bias_ih
    char *g_bias_hh                     # or NULL
    Py_ssize_t vectors                  # of units, gradients of whose weights one chunk adds up


cdef const recurrent_kernels *kernels_for(bint is_double) noexcept nogil
cdef void forward_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil
cdef void backward_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil
cdef void weights_chunk(void *ctx, Py_ssize_t chunk, int worker) noexcept nogil
