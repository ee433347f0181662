/* read_stream.c - RangeStream: a range handed out in chunks, at the client's pace (contract 2.3).
 *
 * A stream waits for its round as any linearizable read, then stands in `streams` and gives one
 * chunk per slice while its client has room, else in `paused`. Its view is open all that time; a
 * client that takes nothing for READ_STALL_MS_MAX loses it. */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "kvd/serve_impl.h"

static struct service_stream *stream_request(struct read_stream *rs)
{
    return (struct service_stream *)(void *)((char *)rs - offsetof(struct service_stream, impl));
}

/* Takes rs out of everything and frees what it holds; the struct is the caller's afterwards. */
static void stream_leave(struct serve *s, struct read_stream *rs)
{
    list_remove(&rs->link);
    kv_range_close(rs->range);
    rs->range = NULL;
    mem_free(rs->request);
    rs->request = NULL;
    if (rs->round != NULL) {
        reads_round_leave(s, rs->round);
        rs->round = NULL;
    }
}

void read_stream_fail(struct serve *s, struct read_stream *rs, int err)
{
    stream_leave(s, rs);
    struct service_stream *st = stream_request(rs);
    st->chunk(st, err, 0, slice_of(NULL, 0), false);
}

void read_stream_open(struct service *service, struct service_stream *st, struct slice request,
                      bool serializable)
{
    struct serve *s = serve_of(service);
    struct read_stream *rs = read_stream_of(st);
    *rs = (struct read_stream){.first = true, .progress_ms = serve_now(s)};
    list_init(&rs->link);
    if (s->stopping) {
        read_stream_fail(s, rs, ERR_STOPPED);
        return;
    }
    rs->request = mem_dup(request.data, request.len);
    rs->len = request.len;
    if (rs->request == NULL) {
        read_stream_fail(s, rs, ERR_NOMEM);
        return;
    }
    if (serializable || reads_at_once(s)) {
        list_push_back(&s->reads.streams, &rs->link);
        serve_wake(s);
        return;
    }
    struct read_round *round = reads_round(s);
    if (round == NULL) {
        read_stream_fail(s, rs, ERR_NOMEM);
        return;
    }
    rs->round = round;
    round->users++;
    list_push_back(&round->streams, &rs->link);
}

void read_stream_resume(struct service *service, struct service_stream *st)
{
    struct serve *s = serve_of(service);
    struct read_stream *rs = read_stream_of(st);
    if (rs->range == NULL || rs->gone != NULL) {
        return; /* not begun: it is in line already */
    }
    list_remove(&rs->link);
    list_push_back(&s->reads.streams, &rs->link);
    serve_wake(s);
}

void read_stream_cancel(struct service *service, struct service_stream *st)
{
    struct read_stream *rs = read_stream_of(st);
    if (rs->gone != NULL) {
        *rs->gone = true; /* tells the slice below us */
    }
    stream_leave(serve_of(service), rs);
}

/* One chunk. rs is in no list; afterwards it is in one, or over. */
static void stream_slice(struct serve *s, struct read_stream *rs)
{
    struct service_stream *st = stream_request(rs);
    int err = 0;
    if (rs->round != NULL) {
        reads_round_leave(s, rs->round);
        rs->round = NULL;
    }
    if (rs->range == NULL) {
        err = kv_range_open(s->kv, slice_of(rs->request, rs->len), &rs->range);
        if (err != 0) {
            rs->range = NULL;
            read_stream_fail(s, rs, err);
            return;
        }
    }
    struct buf *out = &s->reads.scratch;
    bool last = false;
    buf_clear(out);
    err = kv_range_chunk(rs->range, rs->first ? RANGE_STREAM_FIRST_ROWS : SLICE_ROWS_MAX,
                         RANGE_STREAM_CHUNK_BYTES, out, &last);
    if (err == ERR_AGAIN) { /* the slice was used up by deleted keys or by counting */
        list_push_back(&s->reads.streams, &rs->link);
        return;
    }
    if (err != 0 || out->failed) {
        read_stream_fail(s, rs, err != 0 ? err : ERR_NOMEM);
        return;
    }
    int64_t revision = kv_range_revision(rs->range);
    rs->first = false;
    rs->progress_ms = serve_now(s);
    if (last) {
        stream_leave(s, rs);
        st->chunk(st, 0, revision, buf_slice(out), true);
        return;
    }
    bool gone = false;
    rs->gone = &gone;
    bool room = st->chunk(st, 0, revision, buf_slice(out), false);
    if (gone) {
        return; /* canceled inside: rs may be freed */
    }
    rs->gone = NULL;
    list_push_back(room ? &s->reads.streams : &s->reads.paused, &rs->link);
    if (!room) {
        reads_arm(s);
    }
}

bool read_streams_step(struct serve *s, uint64_t until_ns)
{
    struct list *streams = &s->reads.streams;
    while (!list_empty(streams)) {
        stream_slice(s, LIST_ENTRY(list_pop_front(streams), struct read_stream, link));
        if (clock_mono_ns() >= until_ns) {
            break;
        }
    }
    return !list_empty(streams);
}

void read_streams_expire(struct serve *s, uint64_t now_ms)
{
    struct list kept;
    list_init(&kept);
    for (struct list *it; (it = list_pop_front(&s->reads.paused)) != NULL;) {
        struct read_stream *rs = LIST_ENTRY(it, struct read_stream, link);
        if (now_ms - rs->progress_ms <= READ_STALL_MS_MAX) {
            list_push_back(&kept, it);
            continue;
        }
        LOG(LOG_WARN, "gave up a range stream: its client stopped reading");
        read_stream_fail(s, rs, ERR_TIMEOUT);
    }
    list_splice_back(&s->reads.paused, &kept);
}
