/* message.c - reasons counted and sorted; see message.h. */
#include "plugins/scheduler/message.h"

#include <stdlib.h>

void sched_reasons_close(struct sched_reasons *r)
{
    mem_free(r->items);
    *r = (struct sched_reasons){0};
}

/* There are a handful of different ones. */
void sched_reasons_add(struct sched_reasons *r, struct slice text, size_t nodes)
{
    for (size_t i = 0; i < r->count; i++) {
        if (slice_eq(r->items[i].text, text)) {
            r->items[i].nodes += nodes;
            return;
        }
    }
    if (r->count == r->room) {
        size_t room = r->room == 0 ? 8 : r->room * 2;
        struct sched_reason *items = mem_realloc(r->items, room * sizeof *items);
        if (items == NULL) {
            r->failed = true;
            return;
        }
        r->items = items;
        r->room = room;
    }
    r->items[r->count++] = (struct sched_reason){.text = text, .nodes = nodes};
}

static int message_order(const void *a, const void *b)
{
    const struct slice *x = a;
    const struct slice *y = b;
    return slice_cmp(*x, *y);
}

void sched_reasons_print(const struct sched_reasons *r, size_t nodes, struct buf *out)
{
    struct buf text;
    struct slice *lines = mem_alloc((r->count + 1) * sizeof *lines);
    size_t *ends = mem_alloc((r->count + 1) * sizeof *ends);
    buf_init(&text);
    for (size_t i = 0; i < r->count && ends != NULL; i++) {
        buf_printf(&text, "%zu ", r->items[i].nodes);
        buf_append_slice(&text, r->items[i].text);
        ends[i] = text.len;
    }
    out->failed = out->failed || text.failed || r->failed || lines == NULL || ends == NULL;
    if (!out->failed) {
        /* Sorted as texts, the numbers with them. */
        for (size_t i = 0; i < r->count; i++) {
            size_t from = i == 0 ? 0 : ends[i - 1];
            lines[i] = slice_of(text.data + from, ends[i] - from);
        }
        qsort(lines, r->count, sizeof *lines, message_order);
        buf_printf(out, "0/%zu nodes are available:", nodes);
        for (size_t i = 0; i < r->count; i++) {
            buf_append_str(out, i == 0 ? " " : ", ");
            buf_append_slice(out, lines[i]);
        }
        buf_append_str(out, r->count == 0 ? "" : ".");
    }
    buf_close(&text);
    mem_free(lines);
    mem_free(ends);
}

static void message_verdicts(const struct sched_cycle *c, struct sched_reasons *r)
{
    size_t unseen = 0;
    for (size_t i = 0; i < c->cluster->count; i++) {
        const struct sched_verdict *v = &c->verdicts[i];
        unseen += v->code == SCHED_UNSEEN ? 1 : 0;
        for (size_t k = 0; k < v->reason_count; k++) {
            sched_reasons_add(r, v->reasons[k], 1);
        }
    }
    if (unseen > 0) {
        sched_reasons_add(r, slice_str("node(s) didn't satisfy plugin(s) [NodeAffinity]"), unseen);
    }
}

void sched_message(const struct sched_cycle *c, struct slice post, struct buf *out)
{
    if (c->result == SCHED_NO_NODES) {
        buf_append_str(out, "no nodes available to schedule pods");
        return;
    }
    if (c->result == SCHED_REJECTED) {
        buf_printf(out, "0/%zu nodes are available: ", c->cluster->count);
        buf_append_slice(out, c->rejection);
        buf_append_byte(out, '.');
    } else {
        struct sched_reasons reasons = {0};
        message_verdicts(c, &reasons);
        sched_reasons_print(&reasons, c->cluster->count, out);
        sched_reasons_close(&reasons);
    }
    if (post.len > 0) {
        buf_append_byte(out, ' ');
        buf_append_slice(out, post);
    }
}
