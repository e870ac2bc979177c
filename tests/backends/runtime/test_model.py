"""The C runtime in programs of its own, under the tools that see what goes wrong in C."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.c_programs import Sample, compile_with_gcc, sample

# Runs the model again and again, sometimes at once and sometimes after the workers fell asleep, and compares.
STRESS = """
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "sample.h"

static void *use(void *argument)
{
    const int32_t threads = *(const int32_t *)argument;
    const size_t bytes = sample_input(0)->bytes, count = bytes / sizeof(float);
    float *x = malloc(bytes), *first = malloc(bytes), *y = malloc(bytes), sum, first_sum = 0;
    for (size_t i = 0; i < count; i++)
        x[i] = (float)i / 500 - 1;
    sample_options options = {sizeof options, threads, NULL, 0};
    for (int cycle = 0; cycle < CYCLES; cycle++) {
        sample *model;
        int code = sample_create(&model, &options);
        for (int run = 0; run < 6 && !code; run++) {
            const void *inputs[] = {x};
            void *outputs[] = {run || cycle ? y : first, run || cycle ? &sum : &first_sum};
            code = sample_run(model, inputs, outputs);
            if ((run || cycle) && (memcmp(first, y, bytes) || memcmp(&first_sum, &sum, sizeof sum)))
                code = 100;
            if (run % 3 == 0)
                usleep(100);
        }
        if (code) {
            fprintf(stderr, "code %d in cycle %d\\n", code, cycle);
            exit(1);
        }
        sample_destroy(model);
    }
    free(x), free(first), free(y);
    return NULL;
}

int main(void)
{
    static const int32_t threads[] = {THREADS, THREADS};
    pthread_t users[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&users[i], NULL, use, (void *)&threads[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(users[i], NULL);
    return 0;
}
"""


def stress(threads: int, cycles: int) -> str:
    return STRESS.replace("THREADS", str(threads)).replace("CYCLES", str(cycles))


def run_clean(*command: str | Path) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "ERROR" not in result.stderr
    assert "WARNING" not in result.stderr


@pytest.fixture
def small(tmp_path: Path) -> Sample:
    return sample(tmp_path, size=37)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_two_users_under_address_sanitizer(small: Sample, tmp_path: Path, threads: int) -> None:
    """A thousand cycles over two users; the leak checker of the sanitizer looks at the end."""
    flags = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    run_clean(compile_with_gcc(small, stress(threads, 500), tmp_path, *flags))


def test_threads_under_thread_sanitizer(small: Sample, tmp_path: Path) -> None:
    program = compile_with_gcc(small, stress(3, 20), tmp_path, "-fsanitize=thread")
    # The sanitizer needs a fixed layout of addresses on kernels that randomise more bits than it knows.
    run_clean("setarch", "-R", program)


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
@pytest.mark.parametrize("threads", [1, 2])
def test_two_users_under_valgrind(small: Sample, tmp_path: Path, threads: int) -> None:
    program = compile_with_gcc(small, stress(threads, 5), tmp_path)
    run_clean("valgrind", "-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=all", program)


@pytest.mark.parametrize("processors", [1, 2])
def test_more_threads_than_processors(small: Sample, tmp_path: Path, processors: int) -> None:
    """Nobody spins while another thread waits for the processor; the test is that this ends, and with equal results."""
    usable = sorted(os.sched_getaffinity(0))[:processors]
    program = compile_with_gcc(small, stress(4, 50), tmp_path)
    run_clean("taskset", "-c", ",".join(map(str, usable)), program)


def test_one_thread_starts_no_other(small: Sample, tmp_path: Path) -> None:
    """With one thread no function of the pool is even called: the program is linked without it."""
    main = """
    #include <stdio.h>
    #include "sample.h"
    #include "pool.h"
    prunus_pool *__wrap_prunus_pool_create(int32_t threads);
    prunus_pool *__wrap_prunus_pool_create(int32_t threads) { (void)threads; return NULL; }
    int main(void)
    {
        sample *model;
        sample_options options = {sizeof options, 1, NULL, 0};
        if (sample_create(&model, &options))
            return 1;
        sample_destroy(model);
        options.threads = 0;
        if (sample_create(&model, &options))
            return 2;
        sample_destroy(model);
        options.threads = 2;
        return sample_create(&model, &options) == SAMPLE_ERROR_START && !model ? 0 : 3;
    }
    """
    run_clean(compile_with_gcc(small, main, tmp_path, "-Wl,--wrap=prunus_pool_create"))


def test_wrong_use_gets_codes(small: Sample, tmp_path: Path) -> None:
    main = """
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include "sample.h"
    #define EXPECT(condition) do { if (!(condition)) { puts(#condition); return 1; } } while (0)
    int main(void)
    {
        sample *model = (sample *)1;
        const size_t size = sample_arena_size();
        char *arena = aligned_alloc(64, size + 128);
        sample_options options = {0, 1, NULL, 0};
        EXPECT(sample_create(NULL, NULL) == SAMPLE_ERROR_POINTER);
        EXPECT(sample_create(&model, &options) == SAMPLE_ERROR_OPTIONS && !model);
        options.struct_size = sizeof options;
        options.threads = -1;
        EXPECT(sample_create(&model, &options) == SAMPLE_ERROR_THREADS);
        options.threads = 5;
        EXPECT(sample_create(&model, &options) == SAMPLE_ERROR_THREADS);
        options.threads = 4;
        options.arena = arena;
        options.arena_size = size - 1;
        EXPECT(sample_create(&model, &options) == SAMPLE_ERROR_ARENA);
        options.arena_size = size;
        options.arena = arena + 32;
        EXPECT(sample_create(&model, &options) == SAMPLE_ERROR_ARENA);
        options.arena = arena + 64;
        memset(arena, 0x7b, size + 128);
        EXPECT(sample_create(&model, &options) == SAMPLE_OK && model);

        float x[37] = {1}, y[37], sum;
        const void *inputs[] = {x}, *no_input[] = {NULL};
        void *outputs[] = {y, &sum}, *one_output[] = {y, NULL};
        EXPECT(sample_run(NULL, inputs, outputs) == SAMPLE_ERROR_POINTER);
        EXPECT(sample_run(model, NULL, outputs) == SAMPLE_ERROR_POINTER);
        EXPECT(sample_run(model, inputs, NULL) == SAMPLE_ERROR_POINTER);
        EXPECT(sample_run(model, no_input, outputs) == SAMPLE_ERROR_POINTER);
        EXPECT(sample_run(model, inputs, one_output) == SAMPLE_ERROR_POINTER);
        EXPECT(sample_run(model, inputs, outputs) == SAMPLE_OK);
        EXPECT(sample_reset(model) == SAMPLE_OK && sample_reset(NULL) == SAMPLE_ERROR_POINTER);
        uint64_t step_ns[4] = {0};
        EXPECT(sample_step_count() == 4 && sample_profile(model, inputs, outputs, step_ns) == SAMPLE_OK);
        EXPECT(step_ns[0] && step_ns[1] && step_ns[2] && step_ns[3]);
        sample_destroy(model);
        sample_destroy(NULL);
        for (size_t i = 0; i < 64; i++)
            EXPECT(arena[i] == 0x7b && arena[size + 64 + i] == 0x7b);

        EXPECT(sample_input_count() == 1 && sample_output_count() == 2);
        EXPECT(!sample_input(-1) && !sample_input(1) && !sample_output(2));
        EXPECT(sample_input(0)->rank == 2 && sample_input(0)->shape[1] == 37 && sample_input(0)->bytes == 148);
        EXPECT(sample_output(1)->dtype == SAMPLE_FLOAT32 && sample_output(1)->rank == 1);
        EXPECT(!strcmp(sample_input(0)->name, "x.1 \\"\\303\\251\\""));
        for (int code = -1; code < 10; code++)
            EXPECT(strlen(sample_error(code)) > 5);
        free(arena);
        return 0;
    }
    """
    run_clean(compile_with_gcc(small, main, tmp_path, "-fsanitize=address,undefined"))


def test_without_memory(small: Sample, tmp_path: Path) -> None:
    main = """
    #include <stdlib.h>
    #include "sample.h"
    static int failing;
    void *__real_calloc(size_t count, size_t size);
    void *__real_aligned_alloc(size_t alignment, size_t size);
    void *__wrap_calloc(size_t count, size_t size);
    void *__wrap_aligned_alloc(size_t alignment, size_t size);
    void *__wrap_calloc(size_t count, size_t size) { return failing == 1 ? NULL : __real_calloc(count, size); }
    void *__wrap_aligned_alloc(size_t alignment, size_t size)
    {
        return failing == 2 ? NULL : __real_aligned_alloc(alignment, size);
    }
    int main(void)
    {
        for (failing = 1; failing < 3; failing++) {
            sample *model;
            if (sample_create(&model, NULL) != SAMPLE_ERROR_MEMORY || model)
                return failing;
        }
        return 0;
    }
    """
    flags = ("-Wl,--wrap=calloc,--wrap=aligned_alloc", "-fsanitize=address,undefined")
    run_clean(compile_with_gcc(small, main, tmp_path, *flags))
