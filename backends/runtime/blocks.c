/* Plugin of qemu-user: how often was each block of instructions executed between two marks?
 *
 *     qemu-aarch64 -plugin libblocks.so,out=FILE program
 *
 * The program marks what counts by an unused system call: 0x5052 with 1 begins, with 0 ends. FILE gets a line for each
 * block: executions, and its instructions in hexadecimal, as they lie in memory.
 *
 * Debian ships no qemu-plugin.h; what is used of version 1 of the interface (QEMU 4.2 to 8) is declared here. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
typedef struct block_of_qemu block_of_qemu;
typedef struct instruction instruction;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, block_of_qemu *));
void qemu_plugin_register_vcpu_tb_exec_cb(block_of_qemu *, void (*)(unsigned, void *), int flags, void *);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t number, uint64_t, uint64_t,
    uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
size_t qemu_plugin_tb_n_insns(const block_of_qemu *);
instruction *qemu_plugin_tb_get_insn(const block_of_qemu *, size_t);
const void *qemu_plugin_insn_data(const instruction *);
size_t qemu_plugin_insn_size(const instruction *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

enum { MARK = 0x5052, NO_REGISTERS = 0 };

typedef struct block {
    struct block *next;
    uint64_t count;
    size_t size;
    unsigned char code[];
} block;

static block *blocks;
static int counting;
static char path[4096];

static void on_execution(unsigned cpu, void *data)
{
    (void)cpu;
    ((block *)data)->count += (uint64_t)counting;
}

static void on_translation(plugin_id id, block_of_qemu *translated)
{
    (void)id;
    const size_t count = qemu_plugin_tb_n_insns(translated);
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += qemu_plugin_insn_size(qemu_plugin_tb_get_insn(translated, i));
    block *b = calloc(1, sizeof *b + size);
    if (!b)
        abort();
    for (size_t i = 0; i < count; i++) {
        const instruction *one = qemu_plugin_tb_get_insn(translated, i);
        memcpy(b->code + b->size, qemu_plugin_insn_data(one), qemu_plugin_insn_size(one));
        b->size += qemu_plugin_insn_size(one);
    }
    b->next = blocks;
    blocks = b;
    qemu_plugin_register_vcpu_tb_exec_cb(translated, on_execution, NO_REGISTERS, b);
}

static void on_syscall(plugin_id id, unsigned cpu, int64_t number, uint64_t begins, uint64_t b, uint64_t c, uint64_t d,
    uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    (void)id, (void)cpu, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number == MARK)
        counting = begins != 0;
}

static void on_end(plugin_id id, void *data)
{
    (void)id, (void)data;
    FILE *file = fopen(path, "w");
    if (!file)
        return;
    for (const block *b = blocks; b; b = b->next) {
        if (!b->count)
            continue;
        fprintf(file, "%" PRIu64 " ", b->count);
        for (size_t i = 0; i < b->size; i++)
            fprintf(file, "%02x", b->code[i]);
        fputc('\n', file);
    }
    fclose(file);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    if (argc != 1 || strncmp(argv[0], "out=", 4) || strlen(argv[0]) >= sizeof path)
        return 1;
    strcpy(path, argv[0] + 4);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    qemu_plugin_register_atexit_cb(id, on_end, NULL);
    return 0;
}
