/* elf.h - is a shared object all there?
 *
 * dlopen maps a file as far as its headers say. Where the file is shorter, because a compiler is
 * still writing it or a copy broke off, touching what is missing kills the process. So the headers
 * are read before. */
#ifndef KVD_PLUGINS_HOST_ELF_H
#define KVD_PLUGINS_HOST_ELF_H

#include <stdbool.h>
#include <stdint.h>

/* How many bytes the headers of this file speak of, and how many there are. false: it is no ELF
 * file of this machine's kind, or it cannot be read: dlopen has a sentence for that. Also a file
 * that ends inside its headers is true. fd: open for reading; its position does not matter. Blocks
 * on the disk. Any thread. */
bool elf_extent(int fd, uint64_t *needed, uint64_t *there);

#endif
