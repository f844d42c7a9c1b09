/* The vector texts of depthwise convolution, once per instruction set and dtype. */
#include "lines.h"

struct depthwise_kernels {
    void *outputs, *weights, *add_parts, *pack;
    Py_ssize_t width, longest; /* of a vector; outputs of a block */
};
#define MEDAI_TABLE depthwise_kernels
#define MEDAI_TEXT "depthwise.inc"
#include "every_isa.h"
