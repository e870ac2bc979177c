#include "cpu.h"

#if defined(__x86_64__)

#include <cpuid.h>

/* The registers that the operating system saves when it switches threads. Without it wide registers are off limits. */
static uint32_t saved_state(void)
{
    uint32_t eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE))
        return 0;
    __asm__("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return eax;
}

bool prunus_cpu_has(const prunus_cpu_bit *bit)
{
    uint32_t words[4];
    if (!__get_cpuid_count(bit->source, 0, &words[0], &words[1], &words[2], &words[3]))
        return false;
    if (!(words[bit->word] >> bit->bit & 1))
        return false;
    return !bit->os_state || (saved_state() & bit->os_state) == bit->os_state;
}

#else

#include <sys/auxv.h>

bool prunus_cpu_has(const prunus_cpu_bit *bit)
{
    return getauxval(bit->source) >> bit->bit & 1;
}

#endif
