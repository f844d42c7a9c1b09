/* The vector texts of convolution to few channels, once per instruction set and dtype. */
#include "lines.h"

struct narrow_kernels {
    void *outputs, *pack;
    Py_ssize_t width;         /* of a vector */
    const Py_ssize_t *pixels; /* of a block of 1, 2, 3, 4 channels, from index 1 */
};
#define MEDAI_TABLE narrow_kernels
#define MEDAI_TEXT "narrow.inc"
#include "every_isa.h"
