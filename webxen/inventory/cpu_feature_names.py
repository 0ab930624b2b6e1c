"""Names of CPU features as in Linux' /proc/cpuinfo, by word and bit of hw_caps.

Source: Linux' arch/x86/include/asm/cpufeatures.h; "-" where a bit has no name there. One paragraph per word:
1.edx, 1.ecx, 0x80000001.edx and .ecx, 0xd:1.eax, 7:0.ebx and .ecx, 0x80000007.edx.
"""

_NAMES = """
fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - dts acpi mmx fxsr sse
sse2 ss ht tm ia64 pbe

pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - pcid dca sse4_1 sse4_2
x2apic movbe popcnt tsc_deadline_timer aes xsave osxsave avx f16c rdrand hypervisor

- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm 3dnowext 3dnow

lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit wdt - lwp
fma4 tce - nodeid_msr - tbm topoext perfctr_core perfctr_nb - bpext ptsc perfctr_llc mwaitx

xsaveopt xsavec xgetbv1 xsaves xfd

fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f avx512dq rdseed adx
smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er avx512cd sha_ni avx512bw avx512vl

- avx512vbmi umip pku ospke waitpkg avx512_vbmi2 shstk gfni vaes vpclmulqdq avx512_vnni avx512_bitalg tme
avx512_vpopcntdq - la57 - - - - - rdpid - bus_lock_detect cldemote - movdiri movdir64b enqcmd sgx_lc pks

- - - - - - - - constant_tsc cpb aperfmperf
"""
NAMES = tuple(words.split() for words in _NAMES.split("\n\n"))


def name_of(word: int, bit: int) -> str:
    """Return the name as /proc/cpuinfo shows it, or "word.bit" if it has none."""
    names = NAMES[word]
    return f"{word}.{bit}" if bit >= len(names) or names[bit] == "-" else names[bit]
