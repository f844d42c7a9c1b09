/* The caching allocator behind every result: size classes, 64-byte alignment, NumPy owns the array.
 *
 * A block is a 64-byte header followed by the data. Sizes are rounded up to eight classes an octave
 * (at most 1/8 wasted). NumPy (>= 1.22) remembers in each array who allocated it, so a dead array
 * comes back through `memory_free` and its block waits in the list of its class. The lists hold at
 * most `limit` bytes; the block that would exceed it empties all lists first, so that sizes of an
 * earlier model cannot keep the cache from a later one. The GIL guards everything: NumPy allocates
 * and frees with it held.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#define MEMORY_CLASSES 320 /* 64 bytes to 2^46 */
#define MEMORY_HUGE ((size_t)2 << 20)

typedef union memory_block {
    struct {
        union memory_block *next;
        size_t bytes; /* of the data, rounded up */
        int class_;
    };
    char pad[64];
} memory_block;

static struct {
    memory_block *lists[MEMORY_CLASSES];
    size_t cached, limit;
    int poison;
} memory = {.limit = (size_t)1 << 30};

/* The class of a size and the class's size: the top four bits of the size, rounded up. */
static int memory_class(size_t bytes, size_t *rounded) {
    size_t lines = bytes ? (bytes - 1) / 64 + 1 : 1;
    if (lines <= 16) {
        *rounded = lines * 64;
        return (int)lines - 1;
    }
    int shift = 60 - __builtin_clzll(lines - 1); /* leaves 8 .. 15 */
    size_t top = ((lines - 1) >> shift) + 1;
    *rounded = (top << shift) * 64;
    return (int)(8 * shift + top - 1);
}

static void memory_clear(void) {
    for (int i = 0; i < MEMORY_CLASSES; i++)
        while (memory.lists[i]) {
            memory_block *block = memory.lists[i];
            memory.lists[i] = block->next;
            free(block);
        }
    memory.cached = 0;
}

static void *memory_malloc(void *context, size_t bytes) {
    (void)context;
    if (bytes > (size_t)1 << 46) return NULL;
    size_t rounded;
    int class_ = memory_class(bytes, &rounded);
    memory_block *block = memory.lists[class_];
    if (block) {
        memory.lists[class_] = block->next;
        memory.cached -= rounded;
    } else {
        void *fresh;
        size_t alignment = rounded >= 2 * MEMORY_HUGE ? MEMORY_HUGE : 64;
        if (posix_memalign(&fresh, alignment, rounded + sizeof(memory_block))) {
            memory_clear(); /* what is cached may be what is missing */
            if (posix_memalign(&fresh, 64, rounded + sizeof(memory_block))) return NULL;
        }
#if defined(__linux__) && defined(MADV_HUGEPAGE)
        /* large pages: 512 times fewer page faults and address translations; advice only */
        if (alignment == MEMORY_HUGE) madvise(fresh, rounded & ~(MEMORY_HUGE - 1), MADV_HUGEPAGE);
#endif
        block = fresh;
        block->bytes = rounded;
        block->class_ = class_;
    }
    if (memory.poison) memset(block + 1, 0xff, rounded); /* NaN in every floating type */
    return block + 1;
}

static void memory_free(void *context, void *data, size_t bytes) {
    (void)context, (void)bytes;
    if (!data) return;
    memory_block *block = (memory_block *)data - 1;
    if (block->bytes > memory.limit) {
        free(block);
        return;
    }
    if (memory.cached + block->bytes > memory.limit) memory_clear();
    memory.cached += block->bytes;
    block->next = memory.lists[block->class_];
    memory.lists[block->class_] = block;
}

static void *memory_calloc(void *context, size_t count, size_t size) {
    if (size && count > SIZE_MAX / size) return NULL;
    void *data = memory_malloc(context, count * size);
    if (data) memset(data, 0, count * size);
    return data;
}

static void *memory_realloc(void *context, void *data, size_t bytes) {
    void *fresh = memory_malloc(context, bytes);
    if (fresh && data) {
        size_t old = ((memory_block *)data - 1)->bytes;
        memcpy(fresh, data, old < bytes ? old : bytes);
        memory_free(context, data, old);
    }
    return fresh;
}

static PyDataMem_Handler memory_handler = {
    "medai_engine", 1, {NULL, memory_malloc, memory_calloc, memory_realloc, memory_free}};

/* A new array over fresh memory; `descr` is borrowed. What PyArray_NewFromDescr does under our
 * handler, without the two context-variable switches that installing the handler would cost. */
static PyObject *memory_array(PyObject *handler, int ndim, const npy_intp *shape,
                              PyArray_Descr *descr) {
    npy_intp bytes = PyDataType_ELSIZE(descr);
    for (int i = 0; i < ndim; i++)
        if (__builtin_mul_overflow(bytes, shape[i], &bytes)) bytes = -1;
    void *data = bytes < 0 ? NULL : memory_malloc(NULL, (size_t)bytes);
    if (!data) return PyErr_NoMemory();
    Py_INCREF(descr);
    PyObject *array = PyArray_NewFromDescr(&PyArray_Type, descr, ndim, (npy_intp *)shape, NULL,
                                           data, NPY_ARRAY_CARRAY, NULL);
    if (!array) {
        memory_free(NULL, data, 0);
        return NULL;
    }
    PyArray_ENABLEFLAGS((PyArrayObject *)array, NPY_ARRAY_OWNDATA);
    Py_INCREF(handler);
    ((PyArrayObject_fields *)array)->mem_handler = handler;
    return array;
}
