/* The vector text of recurrent layers, once per instruction set and dtype. */
#include "steps.h"
#define MEDAI_TABLE recurrent_kernels
#define MEDAI_TEXT "recurrent.inc"
#include "every_isa.h"
