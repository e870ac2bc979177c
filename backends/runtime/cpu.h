/* Does the processor have what the kernels use? Asked before the first of them runs. */
#ifndef PRUNUS_CPU_H
#define PRUNUS_CPU_H

#include <stdbool.h>
#include <stdint.h>

/* One bit that the processor must report. */
typedef struct {
    uint32_t source;   /* x86: leaf of cpuid; ARM: AT_HWCAP or AT_HWCAP2 */
    uint32_t word;     /* x86: 0 eax, 1 ebx, 2 ecx, 3 edx; ARM: 0 */
    uint32_t bit;      /* its number in that word */
    uint32_t os_state; /* x86: bits of XCR0, the registers that the system must save; ARM: 0 */
} prunus_cpu_bit;

bool prunus_cpu_has(const prunus_cpu_bit *bit);

#endif
