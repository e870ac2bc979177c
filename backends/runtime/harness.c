/* Run a library of any name in a process of its own: under an emulator, or on a board.
 *
 *     harness LIBRARY NAME THREADS SETS <inputs >outputs
 *
 * Standard input holds SETS times all inputs, one behind the other; standard output gets as many times all outputs.
 * Exit code 3: the library refused; standard error has its code, a line feed, and its text. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* NAME_options and NAME_tensor. */
typedef struct {
    uint32_t struct_size;
    int32_t threads;
    void *arena;
    size_t arena_size;
} options;

typedef struct {
    const char *name;
    int32_t dtype;
    int32_t rank;
    const int64_t *shape;
    size_t bytes;
    float scale;
    int32_t zero_point;
} tensor;

typedef const tensor *(*describe)(int index);

static void *library;
static const char *name;

static void fail(const char *text)
{
    fprintf(stderr, "%s\n", text);
    exit(2);
}

/* Dlsym returns pointers to data; POSIX promises that they also hold functions. */
static void *find(const char *function)
{
    char symbol[512];
    snprintf(symbol, sizeof symbol, "%s_%s", name, function);
    void *found = dlsym(library, symbol);
    if (!found)
        fail(dlerror());
    return found;
}

static void check(int code)
{
    if (!code)
        return;
    const char *(*error)(int) = (const char *(*)(int))find("error");
    fprintf(stderr, "%d\n%s\n", code, error(code));
    exit(3);
}

static void **allocate(int count, describe tensors)
{
    void **buffers = calloc((size_t)count + 1, sizeof *buffers);
    for (int i = 0; buffers && i < count; i++)
        if (!(buffers[i] = malloc(tensors(i)->bytes + 1)))
            fail("out of memory");
    return buffers;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        fail("usage: harness LIBRARY NAME THREADS SETS <inputs >outputs");
    name = argv[2];
    library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fail(dlerror());

    int (*create)(void **, const options *) = (int (*)(void **, const options *))find("create");
    int (*run)(void *, void **, void **) = (int (*)(void *, void **, void **))find("run");
    void (*destroy)(void *) = (void (*)(void *))find("destroy");
    const int input_count = ((int (*)(void))find("input_count"))();
    const int output_count = ((int (*)(void))find("output_count"))();
    const describe input = (describe)find("input"), output = (describe)find("output");

    void *model;
    const options chosen = {.struct_size = sizeof chosen, .threads = atoi(argv[3])};
    check(create(&model, &chosen));
    void **inputs = allocate(input_count, input), **outputs = allocate(output_count, output);
    for (int set = atoi(argv[4]); set > 0; set--) {
        for (int i = 0; i < input_count; i++)
            if (fread(inputs[i], 1, input(i)->bytes, stdin) != input(i)->bytes)
                fail("standard input ends early");
        check(run(model, inputs, outputs));
        for (int i = 0; i < output_count; i++)
            if (fwrite(outputs[i], 1, output(i)->bytes, stdout) != output(i)->bytes)
                fail("standard output is closed");
    }
    destroy(model);
    return fflush(stdout) ? 2 : 0;
}
