/* What the generated driver of every library hands to the runtime, and what it gets. */
#ifndef PRUNUS_MODEL_H
#define PRUNUS_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "cpu.h"

typedef struct prunus_model prunus_model;

/* The memory of one run. */
typedef struct {
    char *arena;
    const void *const *inputs;
    void *const *outputs;
} prunus_frame;

/* One call of a kernel: units begin..end of the work, by the thread that `thread` counts. */
typedef void (*prunus_call)(const prunus_frame *frame, int32_t thread, int32_t begin, int32_t end);

typedef struct {
    prunus_call call;
    int32_t units;
    int32_t parallel; /* worth splitting among threads */
} prunus_step;

typedef struct {
    const prunus_step *steps;
    int32_t step_count;
    int32_t input_count;
    int32_t output_count;
    int32_t max_threads;
    size_t arena_size;
    void (*finish)(const prunus_frame *frame); /* after the last step; NULL: nothing */
    const prunus_cpu_bit *needs;
    int32_t need_count;
} prunus_program;

/* The first fields that every NAME_options has had; more may follow in later versions. */
typedef struct {
    uint32_t struct_size;
    int32_t threads;
    void *arena;
    size_t arena_size;
} prunus_options;

/* The codes of NAME_error. */
enum {
    PRUNUS_OK,
    PRUNUS_ERROR_CPU,
    PRUNUS_ERROR_MEMORY,
    PRUNUS_ERROR_OPTIONS,
    PRUNUS_ERROR_THREADS,
    PRUNUS_ERROR_ARENA,
    PRUNUS_ERROR_START,
    PRUNUS_ERROR_POINTER
};

int prunus_create(prunus_model **out, const prunus_program *program, const prunus_options *options);

/* Run all steps; where `step_ns` is not NULL, store the nanoseconds that each took. */
int prunus_run(prunus_model *model, const void *const inputs[], void *const outputs[], uint64_t *step_ns);
void prunus_destroy(prunus_model *model);

#endif
