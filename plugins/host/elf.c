/* elf.c - the extent of a shared object by its own headers; see elf.h. */
#include "plugins/host/elf.h"

#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Offsets of a damaged file may be anything: a sum that would wrap is "more than there is". */
static uint64_t elf_end(uint64_t offset, uint64_t size)
{
    return offset > UINT64_MAX - size ? UINT64_MAX : offset + size;
}

static uint64_t elf_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static bool elf_is_ours(const ElfW(Ehdr) * head)
{
    const unsigned char kind = sizeof(head->e_shoff) == 8 ? ELFCLASS64 : ELFCLASS32;
    return memcmp(head->e_ident, ELFMAG, SELFMAG) == 0 && head->e_ident[EI_CLASS] == kind;
}

bool elf_extent(int fd, uint64_t *needed, uint64_t *there)
{
    ElfW(Ehdr) head;
    ElfW(Phdr) part;
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return false;
    }
    ssize_t n = pread(fd, &head, sizeof(head), 0);
    if (n < (ssize_t)SELFMAG || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) {
        return false;
    }
    *there = (uint64_t)st.st_size;
    *needed = sizeof(head);
    if (n < (ssize_t)sizeof(head)) {
        return true;
    }
    if (!elf_is_ours(&head) || head.e_phentsize != sizeof(part)) {
        return false;
    }
    *needed = elf_max(*needed, elf_end(head.e_shoff, (uint64_t)head.e_shnum * head.e_shentsize));
    *needed = elf_max(*needed, elf_end(head.e_phoff, (uint64_t)head.e_phnum * sizeof(part)));
    for (unsigned i = 0; i < head.e_phnum; i++) {
        off_t at = (off_t)elf_end(head.e_phoff, (uint64_t)i * sizeof(part));
        if (pread(fd, &part, sizeof(part), at) != (ssize_t)sizeof(part)) {
            break; /* then the table itself is not all there */
        }
        if (part.p_type == PT_LOAD) {
            *needed = elf_max(*needed, elf_end(part.p_offset, part.p_filesz));
        }
    }
    return true;
}
