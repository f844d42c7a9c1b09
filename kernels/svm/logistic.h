/* The vector text of the logistic loss with its gradient. */
struct svm_logistic_kernels {
    void *loss;
};
#define MEDAI_TABLE svm_logistic_kernels
#define MEDAI_TEXT "logistic.inc"
#include "every_isa.h"
