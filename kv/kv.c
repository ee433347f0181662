/* kv.c - opening, closing, replacing the state, and its facts.
 *
 * Opening reads the newest checkpoint: its meta says revision, floor, counters; leases, alarms and
 * epochs are rebuilt from their rows. What was applied after the checkpoint comes again from the
 * log. */
#include "kv/kv.h"

#include "base/assert.h"
#include "base/log.h"
#include "kv/lease.h"
#include "kv/state.h"

static int kv_open_alarms(struct kv *kv, struct store_view *view)
{
    struct store_cursor *cursor;
    alarm_set_close(&kv->alarms);
    int err = store_cursor_open(view, TABLE_ALARM, &cursor);
    if (err != 0) {
        return err;
    }
    int found = store_cursor_seek(cursor, slice_of(NULL, 0));
    while (found > 0 && err == 0) {
        struct alarm a;
        bool full;
        err = alarm_parse(store_cursor_key(cursor), store_cursor_value(cursor), &a);
        if (err == 0 && !alarm_set_add(&kv->alarms, a, &full)) {
            err = ERR_DAMAGED;
        }
        found = store_cursor_next(cursor);
    }
    store_cursor_close(cursor);
    return err != 0 ? err : found < 0 ? -found : 0;
}

/* Sets everything that follows from the newest checkpoint. */
static int kv_load(struct kv *kv, struct errmsg *e)
{
    struct store_meta meta;
    struct store_view *view;
    store_checkpoint_meta(kv->store, &meta);
    kv->revision = meta.revision < 1 ? 1 : meta.revision;
    kv->compact_revision = meta.compact_revision;
    if (kv->revision < kv->compact_revision) {
        return errmsg_set(e, ERR_DAMAGED, "revision %lld is below the compaction at %lld",
                          (long long)kv->revision, (long long)kv->compact_revision);
    }
    kv->applied_index = meta.applied_index;
    kv->applied_term = meta.applied_term;
    kv->running_hash = kv->change.hash = meta.running_hash;
    kv->accounting.bytes = meta.accounted_bytes;
    kv->configuration_index = meta.configuration_index;
    buf_clear(&kv->configuration);
    if (!buf_append_slice(&kv->configuration, meta.configuration)) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    compactor_open(&kv->compactor, meta.compact_revision, meta.compact_done);
    int err = store_view_open(kv->store, &view);
    if (err != 0) {
        return errmsg_set(e, err, "%s", err_text(err));
    }
    const char *what = "leases";
    err = lease_open(kv, view);
    if (err == 0) {
        what = "alarms";
        err = kv_open_alarms(kv, view);
    }
    if (err == 0) {
        what = "epochs";
        err = epoch_open(kv, view);
    }
    if (err == 0) {
        what = "accounting";
        err = accounting_open(kv, view);
    }
    store_view_close(view);
    return err == 0 ? 0 : errmsg_set(e, err, "rebuild %s: %s", what, err_text(err));
}

int kv_open(const struct kv_options *options, struct kv **out, struct errmsg *e)
{
    struct kv *kv = mem_zalloc(sizeof(*kv));
    if (kv == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    kv->options = *options;
    lessor_init(&kv->lessor);
    alarm_set_init(&kv->alarms);
    epoch_set_init(&kv->epochs);
    change_init(&kv->change);
    apply_init(&kv->apply);
    watch_hub_init(&kv->hub);
    page_counts_init(&kv->page_counts);
    buf_init(&kv->configuration);
    int err = store_open(&options->store, &kv->store, e);
    if (err == 0) {
        err = kv_load(kv, e);
    }
    if (err != 0) {
        kv_close(kv);
        return errmsg_wrap(e, err, "open database");
    }
    watch_hub_reset(kv);
    *out = kv;
    return 0;
}

void kv_close(struct kv *kv)
{
    if (kv == NULL) {
        return;
    }
    watch_hub_close(&kv->hub);
    page_counts_close(&kv->page_counts);
    apply_close(&kv->apply);
    change_close(&kv->change);
    epoch_set_close(&kv->epochs);
    alarm_set_close(&kv->alarms);
    lessor_close(&kv->lessor);
    compactor_close(&kv->compactor);
    buf_close(&kv->configuration);
    if (kv->store != NULL) {
        store_close(kv->store);
    }
    mem_free(kv);
}

int kv_install(struct kv *kv, const char *path, struct errmsg *e)
{
    FATAL_IF(kv->apply.active, "a snapshot is installed in the middle of an entry");
    int err = store_install(kv->store, path, e);
    if (err != 0) {
        return errmsg_wrap(e, err, "install snapshot");
    }
    err = kv_load(kv, e);
    if (err != 0) {
        /* The old state is gone and the new one is unusable. */
        LOG(LOG_FATAL, "an installed snapshot cannot be used", F_STR("path", path),
            F_STR("error", err_text(err)));
        FATAL_IF(true, "the state after a snapshot install is unusable");
    }
    watch_hub_reset(kv);
    page_counts_clear(&kv->page_counts);
    return 0;
}

void kv_set_configuration(struct kv *kv, uint64_t index, struct slice configuration)
{
    kv->configuration_index = index;
    buf_clear(&kv->configuration);
    if (!buf_append_slice(&kv->configuration, configuration)) {
        kv_stop(ERR_NOMEM, "keeping the configuration of the cluster");
    }
}

struct store *kv_store(struct kv *kv)
{
    return kv->store;
}

uint64_t kv_applied_index(const struct kv *kv)
{
    return kv->applied_index;
}

uint64_t kv_applied_term(const struct kv *kv)
{
    return kv->applied_term;
}

int64_t kv_revision(const struct kv *kv)
{
    return kv->revision;
}

int64_t kv_compact_revision(const struct kv *kv)
{
    return kv->compact_revision;
}

uint64_t kv_running_hash(const struct kv *kv)
{
    return kv->running_hash;
}

int64_t kv_accounted_bytes(const struct kv *kv)
{
    return kv->accounting.bytes;
}

const struct kv_counts *kv_counts(const struct kv *kv)
{
    return &kv->counts;
}
