/* Run one kernel, or two in turns, in a process of its own: whatever a kernel does, it does it here.
 *
 *     trial check IMAGE OUTPUT <kernels        outputs of the first kernel, from guarded memory
 *     trial time IMAGE MILLISECONDS BYTES <kernels    nanoseconds of a call of both kernels, a line a round
 *     trial count IMAGE UNITS <kernels         two calls over UNITS each, between marks for an emulator's plugin
 *
 * Standard input describes each kernel: a line "LIBRARY", a line "SYMBOL UNITS COUNT", and for each of COUNT arguments
 * a line "ROLE SIZE OFFSET". The first SIZE bytes come from OFFSET of IMAGE; roles are r (only read),
 * c (the same, a constant), w (written), s (scratch). `time` passes over BYTES of other memory before each call, as the
 * rest of a network would, and then over what is read and no constant: the layer in front has just written it.
 * Exit code 4: a kernel wrote beside its arguments. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 12, LINE = 64, CANARY = 0xA5, DAMAGED = 4, MARK = 0x5052 };

typedef struct {
    char role;
    size_t size, offset;
    unsigned char *page, *data; /* what was mapped between guards, and where the argument starts in it */
    size_t mapped;
} argument;

typedef struct {
    void *function;
    int32_t units;
    int count;
    argument arguments[MOST];
} kernel;

static const unsigned char *image;

static void fail(const char *text)
{
    fprintf(stderr, "%s\n", text);
    exit(2);
}

static int read_kernel(kernel *k)
{
    char path[4096], symbol[256];
    if (scanf(" %4095[^\n] %255s %d %d", path, symbol, &k->units, &k->count) != 4)
        return 0;
    if (k->count > MOST)
        fail("too many arguments");
    for (int i = 0; i < k->count; i++) {
        argument *a = &k->arguments[i];
        if (scanf(" %c %zu %zu", &a->role, &a->size, &a->offset) != 3)
            fail("standard input ends early");
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library || !(k->function = dlsym(library, symbol)))
        fail(dlerror());
    return 1;
}

static int reads_only(const argument *a)
{
    return a->role == 'r' || a->role == 'c';
}

/* Map an argument between two guard pages: against the one behind it, or `start` bytes behind the one in front. */
static void place(argument *a, int at_end, size_t start)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    a->mapped = (a->size + start + LINE + page - 1) / page * page;
    unsigned char *all = mmap(NULL, a->mapped + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(a->page = all + page, a->mapped, PROT_READ | PROT_WRITE))
        fail("out of memory");
    a->data = a->page + (at_end ? a->mapped - a->size : start);
    memset(a->page, CANARY, a->mapped);
    if (a->role != 's')
        memcpy(a->data, image + a->offset, a->size);
    if (reads_only(a) && at_end)
        mprotect(a->page, a->mapped, PROT_READ);
}

static void unplace(argument *a)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (const unsigned char *byte = a->page; byte < a->page + a->mapped; byte++)
        if ((byte < a->data || byte >= a->data + a->size) && *byte != CANARY) {
            fprintf(stderr, "wrote beside an argument\n");
            exit(DAMAGED);
        }
    if (reads_only(a) && memcmp(a->data, image + a->offset, a->size)) {
        fprintf(stderr, "wrote to what it may only read\n");
        exit(DAMAGED);
    }
    munmap(a->page - page, a->mapped + 2 * page);
}

/* A kernel takes its pointers and then a range of units. Its number of parameters is known only now: in the calling
 * conventions of all targets each takes a word, and words behind the last one do no harm. */
static void call(const kernel *k, int32_t begin, int32_t end)
{
    typedef intptr_t w;
    w v[MOST + 2] = {0};
    for (int i = 0; i < k->count; i++)
        v[i] = (w)k->arguments[i].data;
    v[k->count] = begin;
    v[k->count + 1] = end;
    ((void (*)(w, w, w, w, w, w, w, w, w, w, w, w, w, w))k->function)(
        v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[13]);
}

static void check(kernel *k, const char *path)
{
    FILE *output = fopen(path, "wb");
    if (!output)
        fail("cannot write the output");
    for (int at_end = 0; at_end < 2; at_end++) {
        for (int i = 0; i < k->count; i++)
            place(&k->arguments[i], at_end, 0);
        const int32_t third = k->units / 3;
        call(k, 0, third);
        call(k, third, k->units);
        for (int i = 0; i < k->count; i++) {
            argument *a = &k->arguments[i];
            if (a->role == 'w' && fwrite(a->data, 1, a->size, output) != a->size)
                fail("cannot write the output");
            unplace(a);
        }
    }
    if (fclose(output))
        fail("cannot write the output");
}

static uint64_t now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void walk(const unsigned char *memory, size_t bytes)
{
    static volatile unsigned char sink;
    unsigned char sum = 0;
    for (size_t at = 0; at < bytes; at += LINE)
        sum ^= memory[at];
    sink = sum;
    (void)sink;
}

/* Return the nanoseconds of a call: the mean of `calls`, or of one behind a walk over other memory. */
static double time_call(const kernel *k, int calls, const unsigned char *others, size_t bytes)
{
    walk(others, bytes);
    for (int i = 0; bytes && i < k->count; i++)
        if (k->arguments[i].role == 'r')
            walk(k->arguments[i].data, k->arguments[i].size);
    /* Time of this thread alone: others may want the processor in between. */
    const uint64_t start = now_ns(CLOCK_THREAD_CPUTIME_ID);
    for (int i = 0; i < calls; i++)
        call(k, 0, k->units);
    return (double)(now_ns(CLOCK_THREAD_CPUTIME_ID) - start) / calls;
}

static void measure(kernel *kernels, int milliseconds, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *others = calloc(bytes + 1, 1);
    for (size_t at = 0; others && at < bytes; at += page)
        others[at] = 1;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < kernels[k].count; i++)
            /* Not all at the start of a page: stores would hold up loads of the same address modulo 4096. */
            place(&kernels[k].arguments[i], 0, (size_t)(LINE * (17 * i % 61)));
    const double once = time_call(&kernels[0], 1, others, bytes);
    const int calls = bytes || once > 5e4 ? 1 : (int)(5e4 / (once + 1)) + 1;
    time_call(&kernels[1], calls, others, bytes);
    const uint64_t until = now_ns(CLOCK_MONOTONIC) + (uint64_t)milliseconds * 1000000;
    double least[2] = {1e300, 1e300};
    for (int round = 0; round < 10 || now_ns(CLOCK_MONOTONIC) < until; round++) {
        double ns[2];
        for (int turn = 0; turn < 2; turn++) {
            const int k = (round + turn) % 2;
            ns[k] = time_call(&kernels[k], calls, others, bytes);
            least[k] = ns[k] < least[k] ? ns[k] : least[k];
        }
        printf("%.1f %.1f\n", ns[0], ns[1]);
        if ((round >= 2 && least[0] > 1.15 * least[1]) || (round >= 5 && least[0] > 1.01 * least[1]))
            break; /* nothing to be gained */
    }
}

/* Call the kernel over two parts of `units` each: the first units, and those from the middle on. */
static void count(kernel *k, int32_t units)
{
    for (int i = 0; i < k->count; i++)
        place(&k->arguments[i], 0, 0);
    call(k, 0, 0);
    syscall(MARK, 1);
    call(k, 0, units);
    call(k, k->units / 2, k->units / 2 + units);
    syscall(MARK, 0);
}

int main(int argc, char **argv)
{
    static kernel kernels[2];
    if (argc < 4)
        fail("usage: trial check|time|count IMAGE ... <kernels");
    const int file = open(argv[2], O_RDONLY);
    const off_t size = lseek(file, 0, SEEK_END);
    image = mmap(NULL, (size_t)size + 1, PROT_READ, MAP_PRIVATE, file, 0);
    if (file < 0 || image == MAP_FAILED || !read_kernel(&kernels[0]))
        fail("cannot read the image or the kernel");
    if (!strcmp(argv[1], "check"))
        check(&kernels[0], argv[3]);
    else if (!strcmp(argv[1], "count"))
        count(&kernels[0], atoi(argv[3]));
    else if (argc == 5 && read_kernel(&kernels[1]))
        measure(kernels, atoi(argv[3]), (size_t)atoll(argv[4]));
    else
        fail("`time` compares two kernels");
    return fflush(stdout) ? 2 : 0;
}
