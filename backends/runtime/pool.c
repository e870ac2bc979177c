/* Waiting is spinning for a moment, then sleeping on a futex: steps of a model last microseconds, as long as waking does. */
#define _GNU_SOURCE
#include "pool.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SPIN_NS = 50000, PAUSES_PER_LOOK_AT_CLOCK = 64 };

/* A gate opens again and again; each opening is one more turn. Waiters wait for the turn after the one they saw. */
typedef struct {
    _Alignas(64) atomic_uint turn;
    atomic_uint sleepers;
} gate;

typedef struct {
    prunus_pool *pool;
    int32_t index;
    pthread_t thread;
} worker;

struct prunus_pool {
    gate start;
    gate barrier;
    _Alignas(64) atomic_int arrived;
    int32_t threads;
    int32_t spin_ns;
    bool stop;
    prunus_task task;
    void *context;
    worker workers[];
};

static void pause_thread(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* `yield` takes a single cycle on these cores and gives nothing back */
#else
    __asm__ volatile("yield");
#endif
}

static int64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool spin(gate *gate, unsigned seen, int32_t spin_ns)
{
    if (!spin_ns)
        return false;
    const int64_t end = clock_ns() + spin_ns;
    do {
        for (int i = 0; i < PAUSES_PER_LOOK_AT_CLOCK; i++) {
            if (atomic_load_explicit(&gate->turn, memory_order_acquire) != seen)
                return true;
            pause_thread();
        }
    } while (clock_ns() < end);
    return false;
}

static void gate_wait(gate *gate, unsigned seen, int32_t spin_ns)
{
    if (spin(gate, seen, spin_ns))
        return;
    /* Sequentially consistent on both sides: either the opener sees the sleeper or the sleeper sees the new turn. */
    atomic_fetch_add(&gate->sleepers, 1);
    while (atomic_load(&gate->turn) == seen)
        syscall(SYS_futex, &gate->turn, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&gate->sleepers, 1);
}

static void gate_open(gate *gate)
{
    atomic_fetch_add(&gate->turn, 1);
    if (atomic_load(&gate->sleepers))
        syscall(SYS_futex, &gate->turn, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void prunus_pool_barrier(prunus_pool *pool)
{
    const unsigned seen = atomic_load_explicit(&pool->barrier.turn, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel) + 1 < pool->threads) {
        gate_wait(&pool->barrier, seen, pool->spin_ns);
        return;
    }
    atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
    gate_open(&pool->barrier);
}

static void *work(void *argument)
{
    worker *self = argument;
    prunus_pool *pool = self->pool;
    for (unsigned turn = 0;; turn++) {
        gate_wait(&pool->start, turn, pool->spin_ns);
        if (pool->stop)
            return NULL;
        pool->task(pool->context, self->index);
    }
}

/* Spinning helps only where every thread has a processor of its own. */
static int32_t spin_time(int32_t threads)
{
    cpu_set_t usable;
    CPU_ZERO(&usable);
    if (sched_getaffinity(0, sizeof usable, &usable))
        return 0;
    return CPU_COUNT(&usable) >= threads ? SPIN_NS : 0;
}

/* Start one worker, deaf to signals: the program's handlers run in the program's own threads. */
static bool start_worker(worker *self)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&self->thread, NULL, work, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return !error;
}

static void stop_workers(prunus_pool *pool, int32_t started)
{
    pool->stop = true;
    gate_open(&pool->start);
    for (int32_t i = 0; i < started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    free(pool);
}

prunus_pool *prunus_pool_create(int32_t threads)
{
    const size_t bytes = sizeof(prunus_pool) + (size_t)(threads - 1) * sizeof(worker);
    prunus_pool *pool = aligned_alloc(_Alignof(prunus_pool), (bytes + 63) / 64 * 64);
    if (!pool)
        return NULL;
    *pool = (prunus_pool){.threads = threads, .spin_ns = spin_time(threads)};
    for (int32_t i = 0; i < threads - 1; i++) {
        pool->workers[i] = (worker){.pool = pool, .index = i + 1};
        if (!start_worker(&pool->workers[i])) {
            stop_workers(pool, i);
            return NULL;
        }
    }
    return pool;
}

void prunus_pool_destroy(prunus_pool *pool)
{
    stop_workers(pool, pool->threads - 1);
}

void prunus_pool_run(prunus_pool *pool, prunus_task task, void *context)
{
    pool->task = task;
    pool->context = context;
    gate_open(&pool->start);
    task(context, 0);
}
