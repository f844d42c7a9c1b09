#ifndef MEDAI_TAPS_H
#define MEDAI_TAPS_H
#include <stddef.h>

/* A part of a sum: `length` steps from offset l of the broadcast and r of the vector operand. */
struct conv_tap {
    ptrdiff_t l, r, length;
};
#endif
