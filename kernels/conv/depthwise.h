/* The vector texts of convolution with few channels in a group, once per instruction set and dtype. */
#include "lines.h"

struct depthwise_kernels {
    void *outputs, *weights, *add_parts, *pack, *pack_groups;
    Py_ssize_t width, longest; /* of a vector; outputs of a block */
    Py_ssize_t quick;          /* channels of groups are spread over lanes by one instruction */
};
#define MEDAI_TABLE depthwise_kernels
#define MEDAI_TEXT "depthwise.inc"
#include "every_isa.h"
