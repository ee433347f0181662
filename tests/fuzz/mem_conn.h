/* mem_conn.h - a connection whose carrier is memory, for fuzzers and tests of the front end.
 *
 * What the server writes is counted, kept up to a bound, and may be taken slowly: `room` bytes at a
 * time, the rest through the asynchronous write that mem_conn_settle completes. */
#ifndef KVD_TESTS_FUZZ_MEM_CONN_H
#define KVD_TESTS_FUZZ_MEM_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/list.h"
#include "rpc/conn.h"

#define MEM_CONN_KEPT_MAX (4u * 1024 * 1024)

struct mem_conn {
    struct conn conn;
    struct buf out; /* what the peer received */
    size_t room;    /* bytes taken at once by each write; SIZE_MAX = all */
    bool broken;    /* the next write fails */
    bool finished;  /* FIN */
    bool freed;     /* conn_free has run */
    bool reading;
    const uint8_t *writing; /* an asynchronous write under way */
    size_t writing_len;
};

static inline struct mem_conn *mem_conn_of(struct conn *c)
{
    return LIST_ENTRY(c, struct mem_conn, conn);
}

static inline void mem_conn_take(struct mem_conn *m, const uint8_t *data, size_t len)
{
    FATAL_IF(m->finished, "written after the end");
    if (m->out.len + len <= MEM_CONN_KEPT_MAX) {
        buf_append(&m->out, data, len);
    }
}

static inline ssize_t mem_conn_try_write(struct conn *c, const struct slice *parts, size_t count)
{
    struct mem_conn *m = mem_conn_of(c);
    FATAL_IF(m->writing != NULL, "two writes at once");
    if (m->broken) {
        return -1;
    }
    size_t taken = 0;
    for (size_t i = 0; i < count; i++) {
        size_t room = m->room - taken;
        size_t n = parts[i].len < room ? parts[i].len : room;
        mem_conn_take(m, parts[i].data, n);
        taken += n;
    }
    return (ssize_t)taken;
}

static inline int mem_conn_write(struct conn *c, const uint8_t *data, size_t len)
{
    struct mem_conn *m = mem_conn_of(c);
    FATAL_IF(m->writing != NULL, "two writes at once");
    m->writing = data;
    m->writing_len = len;
    return 0;
}

static inline void mem_conn_read_start(struct conn *c)
{
    mem_conn_of(c)->reading = true;
}

static inline void mem_conn_read_stop(struct conn *c)
{
    mem_conn_of(c)->reading = false;
}

static inline void mem_conn_finish(struct conn *c)
{
    struct mem_conn *m = mem_conn_of(c);
    FATAL_IF(m->writing != NULL, "the end before a write completed");
    m->finished = true;
}

/* Frees at once, which a uv stream does later: the stricter of the two. */
static inline void mem_conn_close(struct conn *c)
{
    struct mem_conn *m = mem_conn_of(c);
    m->writing = NULL;
    m->freed = true;
    conn_free(c);
}

static inline void mem_conn_peer(struct conn *c, char *text, size_t size)
{
    (void)c;
    snprintf(text, size, "memory:1");
}

static const struct conn_ops mem_conn_ops = {
    .try_write = mem_conn_try_write,
    .write = mem_conn_write,
    .read_start = mem_conn_read_start,
    .read_stop = mem_conn_read_stop,
    .finish = mem_conn_finish,
    .close = mem_conn_close,
    .peer = mem_conn_peer,
};

/* m zeroed. false when out of memory. */
static inline bool mem_conn_open(struct mem_conn *m, struct rpc_server *s)
{
    m->room = SIZE_MAX;
    m->reading = true;
    return conn_init(&m->conn, s, &mem_conn_ops);
}

/* Gives input and lets the server answer. */
static inline void mem_conn_input(struct mem_conn *m, const uint8_t *data, size_t len)
{
    if (!m->freed) {
        conn_input(&m->conn, data, len);
    }
    if (!m->freed) {
        server_flush(m->conn.server);
    }
}

/* Completes the asynchronous write under way. */
static inline void mem_conn_settle(struct mem_conn *m)
{
    if (m->freed || m->writing == NULL) {
        return;
    }
    mem_conn_take(m, m->writing, m->writing_len);
    m->writing = NULL;
    conn_written(&m->conn, 0);
    if (!m->freed) {
        server_flush(m->conn.server);
    }
}

static inline void mem_conn_shut(struct mem_conn *m)
{
    if (!m->freed) {
        conn_destroy(&m->conn);
    }
    buf_close(&m->out);
}

#endif
