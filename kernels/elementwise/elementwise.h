/* The list of the family and its tables of loops: elementwise_kernels_table[isa][is_double]->loop[k].
 *
 *   KERNEL(name, input arrays, parameters, result is bool, cost)
 *
 * cost 0: arithmetic, bound by memory; 1: a vector polynomial or two; 2: libm, element by element.
 */
#include "loop.h"

#define ELEMENTWISE(KERNEL)                                                                        \
    KERNEL(negative, 1, 0, 0, 0)                                                                   \
    KERNEL(positive, 1, 0, 0, 0)                                                                   \
    KERNEL(abs, 1, 0, 0, 0)                                                                        \
    KERNEL(sign, 1, 0, 0, 0)                                                                       \
    KERNEL(square, 1, 0, 0, 0)                                                                     \
    KERNEL(sqrt, 1, 0, 0, 0)                                                                       \
    KERNEL(reciprocal, 1, 0, 0, 0)                                                                 \
    KERNEL(exp, 1, 0, 0, 1)                                                                        \
    KERNEL(expm1, 1, 0, 0, 1)                                                                      \
    KERNEL(log, 1, 0, 0, 1)                                                                        \
    KERNEL(log1p, 1, 0, 0, 1)                                                                      \
    KERNEL(log2, 1, 0, 0, 1)                                                                       \
    KERNEL(log10, 1, 0, 0, 2)                                                                      \
    KERNEL(sin, 1, 0, 0, 1)                                                                        \
    KERNEL(cos, 1, 0, 0, 1)                                                                        \
    KERNEL(tan, 1, 0, 0, 2)                                                                        \
    KERNEL(asin, 1, 0, 0, 2)                                                                       \
    KERNEL(acos, 1, 0, 0, 2)                                                                       \
    KERNEL(atan, 1, 0, 0, 2)                                                                       \
    KERNEL(sinh, 1, 0, 0, 2)                                                                       \
    KERNEL(cosh, 1, 0, 0, 2)                                                                       \
    KERNEL(tanh, 1, 0, 0, 1)                                                                       \
    KERNEL(erf, 1, 0, 0, 1)                                                                        \
    KERNEL(floor, 1, 0, 0, 0)                                                                      \
    KERNEL(ceil, 1, 0, 0, 0)                                                                       \
    KERNEL(round, 1, 0, 0, 0)                                                                      \
    KERNEL(trunc, 1, 0, 0, 0)                                                                      \
    KERNEL(isnan, 1, 0, 1, 0)                                                                      \
    KERNEL(isinf, 1, 0, 1, 0)                                                                      \
    KERNEL(isfinite, 1, 0, 1, 0)                                                                   \
    KERNEL(logical_not, 1, 0, 1, 0)                                                                \
    KERNEL(add, 2, 0, 0, 0)                                                                        \
    KERNEL(subtract, 2, 0, 0, 0)                                                                   \
    KERNEL(multiply, 2, 0, 0, 0)                                                                   \
    KERNEL(divide, 2, 0, 0, 0)                                                                     \
    KERNEL(power, 2, 0, 0, 2)                                                                      \
    KERNEL(maximum, 2, 0, 0, 0)                                                                    \
    KERNEL(minimum, 2, 0, 0, 0)                                                                    \
    KERNEL(atan2, 2, 0, 0, 2)                                                                      \
    KERNEL(hypot, 2, 0, 0, 2)                                                                      \
    KERNEL(logaddexp, 2, 0, 0, 1)                                                                  \
    KERNEL(remainder, 2, 0, 0, 2)                                                                  \
    KERNEL(floor_divide, 2, 0, 0, 2)                                                               \
    KERNEL(equal, 2, 0, 1, 0)                                                                      \
    KERNEL(not_equal, 2, 0, 1, 0)                                                                  \
    KERNEL(less, 2, 0, 1, 0)                                                                       \
    KERNEL(less_equal, 2, 0, 1, 0)                                                                 \
    KERNEL(greater, 2, 0, 1, 0)                                                                    \
    KERNEL(greater_equal, 2, 0, 1, 0)                                                              \
    KERNEL(logical_and, 2, 0, 1, 0)                                                                \
    KERNEL(logical_or, 2, 0, 1, 0)                                                                 \
    KERNEL(logical_xor, 2, 0, 1, 0)                                                                \
    KERNEL(where, 3, 0, 0, 0)                                                                      \
    KERNEL(clip, 1, 2, 0, 0)                                                                       \
    KERNEL(relu, 1, 0, 0, 0)                                                                       \
    KERNEL(relu6, 1, 0, 0, 0)                                                                      \
    KERNEL(sigmoid, 1, 0, 0, 1)                                                                    \
    KERNEL(log_sigmoid, 1, 0, 0, 1)                                                                \
    KERNEL(softsign, 1, 0, 0, 0)                                                                   \
    KERNEL(gelu, 1, 0, 0, 1)                                                                       \
    KERNEL(gelu_tanh, 1, 0, 0, 1)                                                                  \
    KERNEL(silu, 1, 0, 0, 1)                                                                       \
    KERNEL(mish, 1, 0, 0, 1)                                                                       \
    KERNEL(hardsigmoid, 1, 0, 0, 0)                                                                \
    KERNEL(hardswish, 1, 0, 0, 0)                                                                  \
    KERNEL(hardtanh, 1, 2, 0, 0)                                                                   \
    KERNEL(leaky_relu, 1, 1, 0, 0)                                                                 \
    KERNEL(elu, 1, 1, 0, 1)                                                                        \
    KERNEL(selu, 1, 0, 0, 1)                                                                       \
    KERNEL(celu, 1, 1, 0, 1)                                                                       \
    KERNEL(softplus, 1, 2, 0, 1)                                                                   \
    KERNEL(bce_with_logits, 2, 0, 0, 1)                                                            \
    KERNEL(relu_grad, 2, 0, 0, 0)                                                                  \
    KERNEL(relu6_grad, 2, 0, 0, 0)                                                                 \
    KERNEL(sigmoid_grad, 2, 0, 0, 0)                                                               \
    KERNEL(tanh_grad, 2, 0, 0, 0)                                                                  \
    KERNEL(log_sigmoid_grad, 2, 0, 0, 1)                                                           \
    KERNEL(softsign_grad, 2, 0, 0, 0)                                                              \
    KERNEL(gelu_grad, 2, 0, 0, 1)                                                                  \
    KERNEL(gelu_tanh_grad, 2, 0, 0, 1)                                                             \
    KERNEL(silu_grad, 2, 0, 0, 1)                                                                  \
    KERNEL(mish_grad, 2, 0, 0, 1)                                                                  \
    KERNEL(hardsigmoid_grad, 2, 0, 0, 0)                                                           \
    KERNEL(hardswish_grad, 2, 0, 0, 0)                                                             \
    KERNEL(hardtanh_grad, 2, 2, 0, 0)                                                              \
    KERNEL(clip_grad, 2, 2, 0, 0)                                                                  \
    KERNEL(leaky_relu_grad, 2, 1, 0, 0)                                                            \
    KERNEL(elu_grad, 2, 1, 0, 0)                                                                   \
    KERNEL(selu_grad, 2, 0, 0, 0)                                                                  \
    KERNEL(celu_grad, 2, 1, 0, 1)                                                                  \
    KERNEL(softplus_grad, 2, 2, 0, 1)                                                              \
    KERNEL(bce_with_logits_grad, 3, 0, 0, 1)

#define COUNT(...) +1
enum { KERNELS = 0 ELEMENTWISE(COUNT) };
struct elementwise_kernels {
    elementwise_loop loop[KERNELS];
};

struct elementwise_row {
    const char *name;
    int inputs, parameters, is_bool, cost;
};
#define ROW(name, ...) {#name, __VA_ARGS__},
static const struct elementwise_row elementwise_rows[KERNELS] = {ELEMENTWISE(ROW)};

#define MEDAI_TABLE elementwise_kernels
#define MEDAI_TEXT "elementwise.inc"
#include "every_isa.h"
