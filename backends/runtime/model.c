#define _GNU_SOURCE
#include "model.h"

#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "pool.h"

enum { ALIGNMENT = 64 };

struct prunus_model {
    const prunus_program *program;
    prunus_frame frame;
    void *own_arena;   /* NULL: the caller's */
    int32_t threads;
    prunus_pool *pool; /* NULL: one thread */
    uint64_t *step_ns; /* NULL: nobody asks */
};

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int check_options(const prunus_program *program, const prunus_options *options)
{
    if (options->struct_size < sizeof *options)
        return PRUNUS_ERROR_OPTIONS;
    if (options->threads < 0 || options->threads > program->max_threads)
        return PRUNUS_ERROR_THREADS;
    if (!options->arena)
        return PRUNUS_OK;
    if (options->arena_size < program->arena_size || (uintptr_t)options->arena % ALIGNMENT)
        return PRUNUS_ERROR_ARENA;
    return PRUNUS_OK;
}

static bool cpu_fits(const prunus_program *program)
{
    for (int32_t i = 0; i < program->need_count; i++)
        if (!prunus_cpu_has(&program->needs[i]))
            return false;
    return true;
}

static int set_arena(prunus_model *model, void *given)
{
    const size_t size = model->program->arena_size;
    model->frame.arena = given;
    if (given || !size)
        return PRUNUS_OK;
    model->frame.arena = model->own_arena = aligned_alloc(ALIGNMENT, (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    return model->own_arena ? PRUNUS_OK : PRUNUS_ERROR_MEMORY;
}

static int set_threads(prunus_model *model, int32_t threads)
{
    model->threads = threads ? threads : 1;
    if (model->threads == 1)
        return PRUNUS_OK;
    model->pool = prunus_pool_create(model->threads);
    return model->pool ? PRUNUS_OK : PRUNUS_ERROR_START;
}

int prunus_create(prunus_model **out, const prunus_program *program, const prunus_options *options)
{
    static const prunus_options defaults = {.struct_size = sizeof defaults};
    if (!out)
        return PRUNUS_ERROR_POINTER;
    *out = NULL;
    if (!options)
        options = &defaults;
    int error = check_options(program, options);
    if (error)
        return error;
    if (!cpu_fits(program))
        return PRUNUS_ERROR_CPU;

    prunus_model *model = calloc(1, sizeof *model);
    if (!model)
        return PRUNUS_ERROR_MEMORY;
    model->program = program;
    error = set_arena(model, options->arena);
    if (!error)
        error = set_threads(model, options->threads);
    if (error) {
        prunus_destroy(model);
        return error;
    }
    *out = model;
    return PRUNUS_OK;
}

void prunus_destroy(prunus_model *model)
{
    if (!model)
        return;
    if (model->pool)
        prunus_pool_destroy(model->pool);
    free(model->own_arena);
    free(model);
}

/* Run this thread's share of a step: one contiguous piece of its units. */
static void run_share(const prunus_model *model, const prunus_step *step, int32_t thread)
{
    const int64_t shares = step->parallel ? model->threads : 1;
    if (thread >= shares)
        return;
    const int32_t begin = (int32_t)(step->units * (int64_t)thread / shares);
    const int32_t end = (int32_t)(step->units * ((int64_t)thread + 1) / shares);
    if (begin < end)
        step->call(&model->frame, thread, begin, end);
}

/* Thread 0 goes from one undivided step to the next alone; everywhere else the others must have finished. */
static bool must_meet(const prunus_program *program, int32_t step)
{
    return step + 1 == program->step_count || program->steps[step].parallel || program->steps[step + 1].parallel;
}

static void run_steps(void *context, int32_t thread)
{
    const prunus_model *model = context;
    const prunus_program *program = model->program;
    const bool timed = model->step_ns && thread == 0;
    uint64_t before = timed ? clock_ns() : 0;
    for (int32_t i = 0; i < program->step_count; i++) {
        run_share(model, &program->steps[i], thread);
        if (model->pool && must_meet(program, i))
            prunus_pool_barrier(model->pool);
        if (timed) {
            const uint64_t now = clock_ns();
            model->step_ns[i] = now - before;
            before = now;
        }
    }
}

static bool pointers_are_set(const prunus_program *program, const void *const inputs[], void *const outputs[])
{
    if ((program->input_count && !inputs) || (program->output_count && !outputs))
        return false;
    for (int32_t i = 0; i < program->input_count; i++)
        if (!inputs[i])
            return false;
    for (int32_t i = 0; i < program->output_count; i++)
        if (!outputs[i])
            return false;
    return true;
}

int prunus_run(prunus_model *model, const void *const inputs[], void *const outputs[], uint64_t *step_ns)
{
    if (!model || !pointers_are_set(model->program, inputs, outputs))
        return PRUNUS_ERROR_POINTER;
    const prunus_program *program = model->program;
    model->frame.inputs = inputs;
    model->frame.outputs = outputs;
    model->step_ns = step_ns;
    if (model->pool && program->step_count)
        prunus_pool_run(model->pool, run_steps, model);
    else
        run_steps(model, 0);
    if (program->finish)
        program->finish(&model->frame);
    return PRUNUS_OK;
}
