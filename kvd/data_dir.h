/* data_dir.h - the directory a member lives in: layout, lock, format version, identity.
 *
 *   <data-dir>/                  0700
 *   <data-dir>/member/lock       locked while a process runs; holds its pid
 *   <data-dir>/member/version    "kvd-data <format>\n": a newer format is refused
 *   <data-dir>/member/id         cluster and member id: written once, then the truth (M-02)
 *   <data-dir>/member/new        exists only while the directory is being created
 *   <data-dir>/member/log/       raft/disk_posix
 *   <data-dir>/member/db/        kv/store
 *
 * Creation, each step durable before the next: lock, new, version, log/ and db/, id; then the
 * server bootstraps raft and calls data_dir_finish, which removes `new`. A crash anywhere before
 * leaves `new` behind: no request was answered yet, so the next start empties log/ and db/ and
 * begins again (with the same id if there is one). Without `new` nothing is ever removed, and a
 * directory that lacks its version or id is refused as damaged. */
#ifndef KVD_KVD_DATA_DIR_H
#define KVD_KVD_DATA_DIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* The format this program writes; older ones it would convert, newer ones it refuses. */
#define DATA_DIR_FORMAT 1u

struct data_dir {
    char *path;    /* as configured */
    char *log_dir; /* <path>/member/log, exists */
    char *db_dir;  /* <path>/member/db, exists */
    uint64_t cluster_id;
    uint64_t member_id;
    bool fresh;       /* creation is not finished: bootstrap, then data_dir_finish */
    int lock_fd;      /* private */
    char *member_dir; /* private */
};

/* What ids of a new cluster are made from (contract M-02). */
struct data_dir_identity {
    const char *const *peer_urls; /* of this member, any order; its only one for now */
    size_t peer_url_count;
    const char *token; /* --initial-cluster-token */
};

/* Opens the directory, creating what is missing, and locks it until data_dir_close or the end of
 * the process. identity is used only when there is no id yet. Returns 0, ERR_LOCKED ("already in
 * use by pid 812"), ERR_TOO_NEW, ERR_DAMAGED, ERR_NO_SPACE, ERR_INVALID (a file instead of a
 * directory, an etcd data directory), ERR_IO (no permission and the rest), ERR_NOMEM, with a
 * sentence in e that says what to do. On failure *d is closed already. Start-up, blocks on the
 * disk. */
int data_dir_open(struct data_dir *d, const char *path, const struct data_dir_identity *identity,
                  struct errmsg *e);
/* Fresh directories only, when raft's first entry is durable: the directory is a member's from now
 * on. 0 or ERR_IO, ERR_NO_SPACE with a sentence. */
int data_dir_finish(struct data_dir *d, struct errmsg *e);
/* Unlocks and frees; d may be opened again. */
void data_dir_close(struct data_dir *d);

/* Tests: the Nth step from now on that touches the disk fails (1 = the next), as if the process had
 * died there; 0 switches it off. This thread only. */
void data_dir_fail_after(unsigned steps);

/* Ids by contract M-02: the first 8 bytes, big endian, of SHA-1 over the sorted URLs and the token;
 * of SHA-1 over the sorted member ids. Never 0 in practice; both are stable. */
uint64_t data_dir_member_id(const struct data_dir_identity *identity);
uint64_t data_dir_cluster_id(const uint64_t *member_ids, size_t count);

#endif
