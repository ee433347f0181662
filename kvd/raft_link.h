/* raft_link.h - struct serve_raft over raft/loop.h: serve's questions out, raft's deliveries in. */
#ifndef KVD_KVD_RAFT_LINK_H
#define KVD_KVD_RAFT_LINK_H

#include "base/list.h"
#include "kvd/serve.h"
#include "raft/loop.h"
#include "rpc/pool.h"

struct raft_link {
    struct serve_raft raft; /* for serve_options */
    struct raft_loop *loop; /* NULL until raft_link_start */
    struct serve *serve;
    struct pool pool;
    struct list reads; /* confirmations under way */
    void (*fatal)(void *data, const char *why);
    void *data;
};

/* Before serve_new, which takes &l->raft. */
void raft_link_init(struct raft_link *l, void (*fatal)(void *data, const char *why), void *data);

struct raft_link_options {
    const struct kvd_config *cfg;
    uv_loop_t *loop;
    const char *log_dir;
    uint64_t member_id;
    uint64_t incarnation;
    bool fresh; /* the directory's first start: a new cluster of one */
};
/* Starts the raft thread behind serve's checkpoint. Reads the log: may take a while. */
int raft_link_start(struct raft_link *l, struct serve *serve,
                    const struct raft_link_options *options, struct errmsg *e);
/* Stops it; what was committed is still delivered before cb. */
void raft_link_stop(struct raft_link *l, void (*cb)(void *data), void *data);
void raft_link_close(struct raft_link *l);

#endif
