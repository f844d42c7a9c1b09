/* One text, compiled once per instruction set and dtype.
 *
 * A family writes a vector text and a header that includes it through this file:
 *
 *     // scale.inc: the text; `real`, `vec`, VW and the V... macros come from vector.inc
 *     static void NAME(scale)(const real *x, real *out, Py_ssize_t n, double a) {
 *         Py_ssize_t i = 0;
 *         for (; i + VW <= n; i += VW) VSTORE(out + i, VMUL(VLOAD(x + i), VSET((real)a)));
 *         if (i < n) VSTORE_PART(out + i, VMUL(VLOAD_PART(x + i, n - i), VSET((real)a)), n - i);
 *     }
 *     static const struct MEDAI_TABLE NAME(MEDAI_TABLE) = {(void *)NAME(scale)};
 *
 *     // scale.h, what the family's fast.pyx reads with `cdef extern from "scale.h"`
 *     struct scale_kernels { void *scale; };      // pointers only: float and double share it
 *     #define MEDAI_TABLE scale_kernels
 *     #define MEDAI_TEXT "scale.inc"
 *     #include "every_isa.h"
 *     // now: const struct scale_kernels *const scale_kernels_table[MEDAI_ISAS][2];
 *     // call: ((scale_fn)scale_kernels_table[isa.level][is_double].scale)(...)
 *
 * Once per C file; several texts go through one that includes them. A text sees `ISA` (ISA_BASELINE,
 * ISA_AVX2, ISA_AVX512) and `IS_DOUBLE` for the few places where a tile's shape depends on them.
 * Nothing outside the texts is compiled above the baseline: an inline function from a system header
 * that got compiled with AVX-512 could be the copy that the linker keeps for everybody.
 */
#ifndef MEDAI_EVERY_ISA_H
#define MEDAI_EVERY_ISA_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
#ifndef Py_ssize_t /* the texts can be compiled without Python, for experiments */
#ifndef PY_SSIZE_T_MAX
typedef ptrdiff_t Py_ssize_t;
#endif
#endif

#define ISA_BASELINE 0 /* SSE2 on x86-64, NEON on aarch64 */
#define ISA_AVX2 1
#define ISA_AVX512 2
#if defined(__x86_64__)
#define MEDAI_ISAS 3
#else
#define MEDAI_ISAS 1
#endif

#define MEDAI_JOIN_(a, b) a##_##b
#define MEDAI_JOIN(a, b) MEDAI_JOIN_(a, b)
#define NAME(x) MEDAI_JOIN(x, MEDAI_SUFFIX)
#define INLINE static inline __attribute__((always_inline, unused))

#ifdef MEDAI_KERNEL_DEBUG
#include <assert.h>
#define CHECK(condition) assert(condition)
#else
#define CHECK(condition) ((void)0)
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi" /* vectors are passed between inlined functions only */
#endif
#endif /* MEDAI_EVERY_ISA_H */

/* Baseline ----------------------------------------------------------------------------------- */
#define ISA ISA_BASELINE
#define IS_DOUBLE 0
#define MEDAI_SUFFIX baseline_f32
#include "vector.inc"
#include MEDAI_TEXT
#include "vector_end.inc"
#define IS_DOUBLE 1
#define MEDAI_SUFFIX baseline_f64
#include "vector.inc"
#include MEDAI_TEXT
#include "vector_end.inc"
#undef ISA

#if MEDAI_ISAS == 3
/* AVX2 with fused multiply-add ---------------------------------------------------------------- */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define ISA ISA_AVX2
#define IS_DOUBLE 0
#define MEDAI_SUFFIX avx2_f32
#include "vector.inc"
#include MEDAI_TEXT
#include "vector_end.inc"
#define IS_DOUBLE 1
#define MEDAI_SUFFIX avx2_f64
#include "vector.inc"
#include MEDAI_TEXT
#include "vector_end.inc"
#undef ISA
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

/* AVX-512 ------------------------------------------------------------------------------------- */
#if defined(__clang__)
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#endif
#define ISA ISA_AVX512
#define IS_DOUBLE 0
#define MEDAI_SUFFIX avx512_f32
#include "vector.inc"
#include MEDAI_TEXT
#include "vector_end.inc"
#define IS_DOUBLE 1
#define MEDAI_SUFFIX avx512_f64
#include "vector.inc"
#include MEDAI_TEXT
#include "vector_end.inc"
#undef ISA
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif /* MEDAI_ISAS == 3 */

#define MEDAI_ROW_(t, isa) {&t##_##isa##_f32, &t##_##isa##_f64}
#define MEDAI_ROW(t, isa) MEDAI_ROW_(t, isa)
static const struct MEDAI_TABLE *const MEDAI_JOIN(MEDAI_TABLE, table)[MEDAI_ISAS][2] = {
    MEDAI_ROW(MEDAI_TABLE, baseline),
#if MEDAI_ISAS == 3
    MEDAI_ROW(MEDAI_TABLE, avx2),
    MEDAI_ROW(MEDAI_TABLE, avx512),
#endif
};
#undef MEDAI_ROW
#undef MEDAI_ROW_
#undef MEDAI_TEXT
#undef MEDAI_TABLE
