//! The two ways in. `vmm` starts an ELF kernel in long mode at its entry point (Documentation/arch/x86/boot.rst, 64-bit boot
//! protocol); QEMU where the PVH note says, in protected mode without paging (Xen's docs/misc/pvh.pandoc).

use core::arch::global_asm;

global_asm!(
    // An ELF note: lengths of name and value, XEN_ELFNOTE_PHYS32_ENTRY, name, value.
    ".section .note.pvh, \"a\", @note",
    ".balign 4",
    ".long 4, 4, 18",
    ".asciz \"Xen\"",
    ".long start32",
    // The first 4 GiB, identity-mapped with pages of 2 MiB (SDM volume 3A, 4.5.4): present, writable, large.
    ".section .boot_tables, \"aw\"",
    ".balign 4096",
    "pml4: .quad pdpt + 3",
    ".fill 511, 8, 0",
    "pdpt: .quad directories + 3, directories + 0x1003, directories + 0x2003, directories + 0x3003",
    ".fill 508, 8, 0",
    "directories:",
    ".set page, 0",
    ".rept 2048",
    ".quad (page << 21) | 0x83",
    ".set page, page + 1",
    ".endr",
    // Null, null, 64-bit code, data.
    "gdt: .quad 0, 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF",
    "gdt_register: .word 31",
    ".long gdt",
    ".section .text.start, \"ax\"",
    ".code32",
    "start32:",
    "mov eax, cr4",
    "or eax, 0x20", // PAE
    "mov cr4, eax",
    "mov eax, offset pml4",
    "mov cr3, eax",
    "mov ecx, 0xC0000080", // EFER
    "rdmsr",
    "or eax, 0x100", // LME
    "wrmsr",
    "lgdt [gdt_register]",
    "mov eax, cr0",
    "or eax, 0x80000001", // PG, PE
    "mov cr0, eax",
    // A far jump to the code segment.
    ".byte 0xEA",
    ".long long_mode",
    ".word 0x10",
    ".code64",
    "long_mode:",
    "mov ebx, ebx",
    "mov rdi, [rbx + 24]", // hvm_start_info.cmdline_paddr
    "jmp both",
    ".globl start64",
    "start64:",
    "mov edi, [rsi + 0x228]", // boot_params.hdr.cmd_line_ptr
    "both:",
    "mov esp, {stack}",
    "call {main}",
    stack = const crate::layout::STACK_TOP,
    main = sym crate::main,
);
