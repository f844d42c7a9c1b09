/* The worker pool: one job at a time, its chunks claimed one by one.
 *
 * `claim` holds (job number, next chunk). A thread takes a chunk by adding one to it with
 * compare-and-swap; the job number in the same word keeps a late worker from claiming out of a
 * newer job. A new job closes the word (next chunk = CLOSED), writes fn, ctx and count, then opens
 * it: whoever read a field of the new job fails to swap the old word. The caller works too, and
 * returns when every chunk is done; a thread that loses its processor holds back one chunk, not a
 * barrier. A caller that finds the pool busy (a second Python thread, a nested call) runs all its
 * chunks itself. Chunks must not depend on who runs them: one thread and many give the same bits.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#define POOL_PAUSE() _mm_pause()
#elif defined(__aarch64__)
#define POOL_PAUSE() __asm__ volatile("yield")
#else
#define POOL_PAUSE() ((void)0)
#endif

#define POOL_MAX_WORKERS 256
#define POOL_SPIN_NS 20000
#define POOL_STACK (1 << 20)
#define POOL_CLOSED UINT32_MAX
#define POOL_SLOTS 4

typedef void (*pool_fn)(void *ctx, Py_ssize_t chunk, int worker);

static struct {
    _Atomic uint64_t claim; /* job number << 32 | next chunk */
    char pad0[56];          /* each on its own cache line: claimers, readers, finishers */
    _Atomic(pool_fn) fn;
    _Atomic(void *) ctx;
    _Atomic uint32_t count; /* chunks of the job */
    _Atomic int width;      /* workers 0 .. width - 1 may take part */
    char pad1[40];
    _Atomic uint32_t done; /* chunks finished */
    char pad2[60];
    _Atomic int busy;
    _Atomic int sleepers; /* workers asleep, or about to be */
    _Atomic int waiting;  /* the caller is asleep, or about to be */
    _Atomic int threads;  /* what set_num_threads asked for */
    int started;          /* threads alive, the caller included; belongs to the holder of `busy` */
    pthread_mutex_t mutex;
    pthread_cond_t wake, finished;
} pool = {.claim = POOL_CLOSED,
          .threads = 1,
          .started = 1,
          .mutex = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER,
          .finished = PTHREAD_COND_INITIALIZER};

static int64_t pool_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Busy-waits for `condition`, at most POOL_SPIN_NS; the clock is read every 32 rounds. */
#define POOL_SPIN_UNTIL(condition)                                                                 \
    do {                                                                                           \
        int64_t end_ = 0;                                                                          \
        for (int round_ = 1; !(condition); round_++) {                                             \
            POOL_PAUSE();                                                                          \
            if (round_ % 32) continue;                                                             \
            if (!end_) end_ = pool_now() + POOL_SPIN_NS;                                           \
            else if (pool_now() > end_) break;                                                     \
        }                                                                                          \
    } while (0)

/* Runs chunks until none is left. With a finished chunk in hand the job cannot end, so `count` is
 * still that job's when it is compared with `done`. */
static void pool_work(int worker) {
    uint32_t finished = 0, count;
    uint64_t seen = atomic_load(&pool.claim);
    for (;;) {
        pool_fn fn = atomic_load(&pool.fn);
        void *ctx = atomic_load(&pool.ctx);
        int width = atomic_load(&pool.width);
        count = atomic_load(&pool.count);
        if (worker >= width || (uint32_t)seen >= count) break; /* CLOSED is above every count */
        if (!atomic_compare_exchange_weak(&pool.claim, &seen, seen + 1)) continue;
        fn(ctx, (Py_ssize_t)(uint32_t)seen, worker);
        finished++;
        seen = atomic_load(&pool.claim);
    }
    if (finished && atomic_fetch_add(&pool.done, finished) + finished == count &&
        atomic_load(&pool.waiting)) {
        pthread_mutex_lock(&pool.mutex);
        pthread_cond_signal(&pool.finished);
        pthread_mutex_unlock(&pool.mutex);
    }
}

/* Is there an open job other than number `last`? */
static int pool_has_news(uint32_t last) {
    uint64_t claim = atomic_load(&pool.claim);
    return (uint32_t)claim != POOL_CLOSED && (uint32_t)(claim >> 32) != last;
}

static void *pool_worker(void *id) {
    uint32_t last = (uint32_t)(atomic_load(&pool.claim) >> 32) - 1; /* join what is under way */
    for (;;) {
        POOL_SPIN_UNTIL(pool_has_news(last));
        if (!pool_has_news(last)) {
            pthread_mutex_lock(&pool.mutex);
            atomic_fetch_add(&pool.sleepers, 1); /* before the look: a poster looks after posting */
            while (!pool_has_news(last)) pthread_cond_wait(&pool.wake, &pool.mutex);
            atomic_fetch_sub(&pool.sleepers, 1);
            pthread_mutex_unlock(&pool.mutex);
        }
        last = (uint32_t)(atomic_load(&pool.claim) >> 32);
        pool_work((int)(intptr_t)id);
    }
    return NULL;
}

/* The child of a fork has no workers and may have inherited a locked mutex or a running job. */
static void pool_after_fork(void) {
    pthread_mutex_init(&pool.mutex, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pthread_cond_init(&pool.finished, NULL);
    atomic_store(&pool.claim, atomic_load(&pool.claim) | POOL_CLOSED);
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.waiting, 0);
    atomic_store(&pool.busy, 0);
    pool.started = 1;
}

/* Starts what is missing of `threads`; with no signals, so that Python's main thread gets them. A
 * system that refuses a thread leaves the pool smaller, never wrong. */
static void pool_start(int threads) {
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, POOL_STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; pool.started < threads; pool.started++) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, pool_worker, (void *)(intptr_t)pool.started))
            break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

/* Calls fn(ctx, chunk, worker) for every chunk in 0 .. count - 1 and returns when all are done. */
static void pool_parallel_for(pool_fn fn, void *ctx, Py_ssize_t count) {
    int threads = atomic_load(&pool.threads);
    if (count <= 1 || threads <= 1 || count >= POOL_CLOSED || atomic_exchange(&pool.busy, 1)) {
        for (Py_ssize_t i = 0; i < count; i++) fn(ctx, i, 0);
        return;
    }
    uint64_t job = (atomic_load(&pool.claim) >> 32) + 1;
    atomic_store(&pool.claim, job << 32 | POOL_CLOSED);
    if (pool.started < threads) pool_start(threads);
    atomic_store(&pool.fn, fn);
    atomic_store(&pool.ctx, ctx);
    atomic_store(&pool.count, (uint32_t)count);
    atomic_store(&pool.width, threads);
    atomic_store(&pool.done, 0);
    atomic_store(&pool.claim, job << 32);
    if (atomic_load(&pool.sleepers)) {
        pthread_mutex_lock(&pool.mutex);
        pthread_cond_broadcast(&pool.wake);
        pthread_mutex_unlock(&pool.mutex);
    }
    pool_work(0);
    POOL_SPIN_UNTIL(atomic_load(&pool.done) == (uint32_t)count);
    if (atomic_load(&pool.done) != (uint32_t)count) {
        pthread_mutex_lock(&pool.mutex);
        atomic_store(&pool.waiting, 1); /* before the look, as above */
        while (atomic_load(&pool.done) != (uint32_t)count)
            pthread_cond_wait(&pool.finished, &pool.mutex);
        atomic_store(&pool.waiting, 0);
        pthread_mutex_unlock(&pool.mutex);
    }
    atomic_store(&pool.busy, 0);
}

/* Scratch memory of the calling thread: 64-byte aligned, grows, content undefined between jobs.
 * Each thread has its own, so two jobs at once cannot meet in it. Workers' live as long as the
 * process, other threads' until the thread ends. */
static __thread struct {
    void *memory[POOL_SLOTS];
    size_t bytes[POOL_SLOTS];
} pool_scratch_slots;
static pthread_key_t pool_scratch_key;

static void pool_scratch_free(void *memory) {
    for (int i = 0; i < POOL_SLOTS; i++) free(((void **)memory)[i]);
}

static void *pool_scratch(int slot, size_t bytes) {
    if (bytes > pool_scratch_slots.bytes[slot]) {
        void *memory;
        free(pool_scratch_slots.memory[slot]);
        if (posix_memalign(&memory, 64, bytes)) {
            /* in a worker there is no Python error to raise, and no result without the memory */
            fprintf(stderr, "medai_engine: no memory for %zu bytes of kernel scratch\n", bytes);
            abort();
        }
        pool_scratch_slots.memory[slot] = memory;
        pool_scratch_slots.bytes[slot] = bytes;
        pthread_setspecific(pool_scratch_key, pool_scratch_slots.memory);
    }
    return pool_scratch_slots.memory[slot];
}

static int pool_get_threads(void) { return atomic_load(&pool.threads); }
static void pool_set_threads(int n) { atomic_store(&pool.threads, n); }

static int pool_init(void) {
    return pthread_key_create(&pool_scratch_key, pool_scratch_free) ||
           pthread_atfork(NULL, NULL, pool_after_fork);
}
