/* longkey.c - the trie of directories of longkey.h. */
#include "kv/longkey.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "kv/env.h"

#define LONGKEY_CONTINUATION_BYTES (LONGKEY_ROW_BYTES_MAX + 1)
#define LONGKEY_MARKER             0x01u
#define LONGKEY_HEAD_BYTES_MAX     9u

/* A physical key under construction, or the place of a logical one within one level. */
struct longkey_place {
    uint8_t bytes[LONGKEY_CONTINUATION_BYTES];
    size_t len;
    size_t head_len; /* bytes before the key's own */
    bool continued;  /* the key goes on in a directory */
};

/* What every key of a level starts with: the table byte, or the directory. */
static void longkey_place_head(struct longkey_place *p, uint8_t table, uint32_t depth,
                               uint64_t directory)
{
    if (depth == 0) {
        p->bytes[0] = table;
        p->head_len = 1;
    } else {
        p->bytes[0] = LONGKEY_DIRECTORY_TABLE;
        bytes_put_be64(p->bytes + 1, directory);
        p->head_len = LONGKEY_HEAD_BYTES_MAX;
    }
    p->len = p->head_len;
}

/* Completes a place with what is left of the key at this level. */
static void longkey_place_key(struct longkey_place *p, struct slice rest)
{
    size_t room = LONGKEY_ROW_BYTES_MAX - p->head_len;
    p->continued = rest.len > room;
    size_t n = p->continued ? room : rest.len;
    if (n > 0) {
        memcpy(p->bytes + p->head_len, rest.data, n);
    }
    p->len = p->head_len + n;
    if (p->continued) {
        p->bytes[p->len++] = LONGKEY_MARKER;
    }
}

static MDB_val longkey_place_val(const struct longkey_place *p)
{
    return (MDB_val){.mv_data = (void *)p->bytes, .mv_size = p->len};
}

/* How many key bytes a continuation at this depth stands for. */
static size_t longkey_segment(uint32_t depth)
{
    return LONGKEY_ROW_BYTES_MAX - (depth == 0 ? 1 : LONGKEY_HEAD_BYTES_MAX);
}

static struct slice longkey_after(struct slice key, size_t n)
{
    return n == 0 ? key : slice_of(key.data + n, key.len - n);
}

/* The directory a continuation's value names; false = damaged. */
static bool longkey_directory(const MDB_val *value, uint64_t *id)
{
    if (value->mv_size != 8) {
        return false;
    }
    *id = bytes_be64(value->mv_data);
    return true;
}

/* ---- single rows ----------------------------------------------------------------------------- */

int longkey_get(MDB_txn *txn, MDB_dbi dbi, uint8_t table, struct slice key, struct slice *value)
{
    struct longkey_place place;
    uint64_t directory = 0;
    for (uint32_t depth = 0;; depth++) {
        longkey_place_head(&place, table, depth, directory);
        longkey_place_key(&place, key);
        MDB_val k = longkey_place_val(&place);
        MDB_val v;
        int rc = mdb_get(txn, dbi, &k, &v);
        if (rc != 0) {
            return rc == MDB_NOTFOUND ? 0 : -env_error(rc);
        }
        if (!place.continued) {
            *value = slice_of(v.mv_data, v.mv_size);
            return 1;
        }
        if (!longkey_directory(&v, &directory)) {
            return -ERR_DAMAGED;
        }
        key = longkey_after(key, longkey_segment(depth));
    }
}

int longkey_put(MDB_cursor *mc, uint8_t table, struct slice key, struct slice value,
                uint64_t *next_directory)
{
    struct longkey_place place;
    uint64_t directory = 0;
    for (uint32_t depth = 0;; depth++) {
        longkey_place_head(&place, table, depth, directory);
        longkey_place_key(&place, key);
        MDB_val k = longkey_place_val(&place);
        if (!place.continued) {
            MDB_val v = {.mv_data = (void *)value.data, .mv_size = value.len};
            return mdb_cursor_put(mc, &k, &v, 0);
        }
        MDB_val v;
        int rc = mdb_cursor_get(mc, &k, &v, MDB_SET_KEY);
        if (rc == 0) {
            if (!longkey_directory(&v, &directory)) {
                return MDB_CORRUPTED;
            }
        } else if (rc == MDB_NOTFOUND) {
            uint8_t id[8];
            directory = (*next_directory)++;
            bytes_put_be64(id, directory);
            k = longkey_place_val(&place);
            v = (MDB_val){.mv_data = id, .mv_size = sizeof id};
            rc = mdb_cursor_put(mc, &k, &v, 0);
        }
        if (rc != 0) {
            return rc;
        }
        key = longkey_after(key, longkey_segment(depth));
    }
}

int longkey_append(MDB_cursor *mc, uint8_t table, struct slice key, struct slice value,
                   uint64_t *next_directory, bool *append)
{
    if (*append) {
        struct longkey_place place;
        longkey_place_head(&place, table, 0, 0);
        longkey_place_key(&place, key);
        if (!place.continued) {
            MDB_val k = longkey_place_val(&place);
            MDB_val v = {.mv_data = (void *)value.data, .mv_size = value.len};
            int rc = mdb_cursor_put(mc, &k, &v, MDB_APPEND);
            if (rc != MDB_KEYEXIST) {
                return rc;
            }
        }
        *append = false;
    }
    return longkey_put(mc, table, key, value, next_directory);
}

/* Removes the continuations that lead to directories left empty, innermost first. path holds their
 * ids; key is the whole logical key. */
static int longkey_prune(MDB_cursor *mc, uint8_t table, struct slice key, const struct buf *path)
{
    uint32_t depth = (uint32_t)(path->len / 8);
    size_t prefix_len = 0;
    for (uint32_t i = 0; i < depth; i++) {
        prefix_len += longkey_segment(i);
    }
    for (; depth > 0; depth--) {
        struct longkey_place place;
        longkey_place_head(&place, table, depth, bytes_be64(path->data + (depth - 1) * 8));
        MDB_val k = longkey_place_val(&place);
        MDB_val v;
        int rc = mdb_cursor_get(mc, &k, &v, MDB_SET_RANGE);
        if (rc != 0 && rc != MDB_NOTFOUND) {
            return rc;
        }
        if (rc == 0 && k.mv_size > place.len && memcmp(k.mv_data, place.bytes, place.len) == 0) {
            return 0;
        }
        prefix_len -= longkey_segment(depth - 1);
        longkey_place_head(&place, table, depth - 1,
                           depth > 1 ? bytes_be64(path->data + (depth - 2) * 8) : 0);
        longkey_place_key(&place, longkey_after(key, prefix_len));
        k = longkey_place_val(&place);
        rc = mdb_cursor_get(mc, &k, &v, MDB_SET_KEY);
        if (rc == 0) {
            rc = mdb_cursor_del(mc, 0);
        }
        if (rc != 0) {
            return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
        }
    }
    return 0;
}

int longkey_erase(MDB_cursor *mc, uint8_t table, struct slice key)
{
    struct longkey_place place;
    struct slice rest = key;
    struct buf path;
    buf_init(&path);
    uint64_t directory = 0;
    int rc = 0;
    for (uint32_t depth = 0;; depth++) {
        longkey_place_head(&place, table, depth, directory);
        longkey_place_key(&place, rest);
        MDB_val k = longkey_place_val(&place);
        MDB_val v;
        rc = mdb_cursor_get(mc, &k, &v, MDB_SET_KEY);
        if (rc != 0 || !place.continued) {
            break;
        }
        if (!longkey_directory(&v, &directory)) {
            rc = MDB_CORRUPTED;
            break;
        }
        if (!buf_append_be64(&path, directory)) {
            rc = ENOMEM;
            break;
        }
        rest = longkey_after(rest, longkey_segment(depth));
    }
    if (rc == 0) {
        rc = mdb_cursor_del(mc, 0);
    }
    if (rc == 0 && path.len > 0) {
        rc = longkey_prune(mc, table, key, &path);
    }
    buf_close(&path);
    return rc;
}

/* ---- walks
 * --------------------------------------------------------------------------------------- */

void longkey_cursor_init(struct longkey_cursor *c)
{
    *c = (struct longkey_cursor){0};
    buf_init(&c->ids);
    buf_init(&c->bytes);
}

int longkey_cursor_open(struct longkey_cursor *c, MDB_txn *txn, MDB_dbi dbi, uint8_t table)
{
    c->table = table;
    c->depth = 0;
    c->prefix_len = 0;
    if (c->mc != NULL) {
        return mdb_cursor_renew(txn, c->mc);
    }
    return mdb_cursor_open(txn, dbi, &c->mc);
}

void longkey_cursor_close(struct longkey_cursor *c)
{
    if (c->mc != NULL) {
        mdb_cursor_close(c->mc);
    }
    buf_close(&c->ids);
    buf_close(&c->bytes);
    longkey_cursor_init(c);
}

static uint64_t longkey_cursor_directory(const struct longkey_cursor *c, uint32_t depth)
{
    return depth == 0 ? 0 : bytes_be64(c->ids.data + (depth - 1) * 8);
}

/* Enters the directory of the continuation just read. */
static int longkey_cursor_enter(struct longkey_cursor *c, const MDB_val *key, const MDB_val *value)
{
    uint64_t id;
    if (!longkey_directory(value, &id)) {
        return -ERR_DAMAGED;
    }
    size_t segment = longkey_segment(c->depth);
    size_t head_len = LONGKEY_ROW_BYTES_MAX - segment;
    c->ids.len = c->depth * 8;
    c->bytes.len = c->prefix_len;
    if (!buf_append_be64(&c->ids, id) ||
        !buf_append(&c->bytes, (const uint8_t *)key->mv_data + head_len, segment)) {
        buf_clear(&c->ids);
        buf_clear(&c->bytes);
        c->depth = 0;
        c->prefix_len = 0;
        return -ERR_NOMEM;
    }
    c->prefix_len += segment;
    c->depth++;
    return 1;
}

/* Leaves the innermost directory: LMDB's cursor goes to its continuation in the level above. */
static int longkey_cursor_leave(struct longkey_cursor *c)
{
    c->depth--;
    size_t segment = longkey_segment(c->depth);
    c->prefix_len -= segment;
    struct longkey_place place;
    longkey_place_head(&place, c->table, c->depth, longkey_cursor_directory(c, c->depth));
    memcpy(place.bytes + place.head_len, c->bytes.data + c->prefix_len, segment);
    place.len = LONGKEY_CONTINUATION_BYTES;
    place.bytes[place.len - 1] = LONGKEY_MARKER;
    MDB_val k = longkey_place_val(&place);
    MDB_val v;
    int rc = mdb_cursor_get(c->mc, &k, &v, MDB_SET_KEY);
    if (rc == MDB_NOTFOUND) {
        return -ERR_DAMAGED;
    }
    return rc == 0 ? 1 : -env_error(rc);
}

/* Takes what LMDB's cursor came to (rc, k, v) down to a row, entering and leaving directories. */
static int longkey_cursor_settle(struct longkey_cursor *c, int rc, MDB_val k, MDB_val v)
{
    bool entered = false;
    for (;;) {
        if (rc != 0 && rc != MDB_NOTFOUND) {
            return -env_error(rc);
        }
        struct longkey_place place;
        longkey_place_head(&place, c->table, c->depth, longkey_cursor_directory(c, c->depth));
        if (rc == 0 && k.mv_size >= place.len && memcmp(k.mv_data, place.bytes, place.len) == 0) {
            if (k.mv_size <= LONGKEY_ROW_BYTES_MAX) {
                struct slice own =
                    slice_of((const uint8_t *)k.mv_data + place.len, k.mv_size - place.len);
                if (c->depth == 0) {
                    c->key = own;
                } else {
                    c->bytes.len = c->prefix_len;
                    if (!buf_append_slice(&c->bytes, own)) {
                        buf_clear(&c->bytes);
                        c->depth = 0;
                        c->prefix_len = 0;
                        return -ERR_NOMEM;
                    }
                    c->key = buf_slice(&c->bytes);
                }
                c->value = slice_of(v.mv_data, v.mv_size);
                return 1;
            }
            int err = longkey_cursor_enter(c, &k, &v);
            if (err < 0) {
                return err;
            }
            longkey_place_head(&place, c->table, c->depth, longkey_cursor_directory(c, c->depth));
            k = longkey_place_val(&place);
            rc = mdb_cursor_get(c->mc, &k, &v, MDB_SET_RANGE);
            entered = true;
            continue;
        }
        if (c->depth == 0) {
            return 0;
        }
        if (entered) {
            return -ERR_DAMAGED; /* an empty directory */
        }
        int err = longkey_cursor_leave(c);
        if (err < 0) {
            return err;
        }
        rc = mdb_cursor_get(c->mc, &k, &v, MDB_NEXT);
    }
}

int longkey_cursor_seek(struct longkey_cursor *c, struct slice key)
{
    struct longkey_place place;
    c->depth = 0;
    c->prefix_len = 0;
    for (;;) {
        longkey_place_head(&place, c->table, c->depth, longkey_cursor_directory(c, c->depth));
        longkey_place_key(&place, longkey_after(key, c->prefix_len));
        MDB_val k = longkey_place_val(&place);
        MDB_val v;
        int rc = mdb_cursor_get(c->mc, &k, &v, MDB_SET_RANGE);
        if (!place.continued || rc != 0 || k.mv_size != place.len ||
            memcmp(k.mv_data, place.bytes, place.len) != 0) {
            return longkey_cursor_settle(c, rc, k, v);
        }
        int err = longkey_cursor_enter(c, &k, &v);
        if (err < 0) {
            return err;
        }
    }
}

int longkey_cursor_next(struct longkey_cursor *c)
{
    MDB_val k;
    MDB_val v;
    int rc = mdb_cursor_get(c->mc, &k, &v, MDB_NEXT);
    if (__builtin_expect(rc == 0 && c->depth == 0 && k.mv_size <= LONGKEY_ROW_BYTES_MAX, 1)) {
        const uint8_t *bytes = k.mv_data;
        if (bytes[0] != c->table) {
            return 0;
        }
        c->key = slice_of(bytes + 1, k.mv_size - 1);
        c->value = slice_of(v.mv_data, v.mv_size);
        return 1;
    }
    return longkey_cursor_settle(c, rc, k, v);
}
