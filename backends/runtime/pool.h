/* Threads that run one task together, and the barrier between its parts. */
#ifndef PRUNUS_POOL_H
#define PRUNUS_POOL_H

#include <stdint.h>

typedef struct prunus_pool prunus_pool;
typedef void (*prunus_task)(void *context, int32_t thread);

/* Start `threads - 1` workers beside the caller. NULL where the system refuses. */
prunus_pool *prunus_pool_create(int32_t threads);
void prunus_pool_destroy(prunus_pool *pool);

/* Call `task(context, t)` for every t in 0..threads, 0 in the calling thread. The task must end with a barrier. */
void prunus_pool_run(prunus_pool *pool, prunus_task task, void *context);

/* Return when all threads of the running task have come here. */
void prunus_pool_barrier(prunus_pool *pool);

#endif
