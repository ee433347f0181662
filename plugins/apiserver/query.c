/* query.c - parameters of requests. */
#include "plugins/apiserver/query.h"

#include "plugins/apiserver/url.h"

#define QUERY_MANAGER_BYTES_MAX 128u

static bool is(struct slice s, const char *text)
{
    return slice_eq(s, slice_str(text));
}

/* Everything but false and 0 is true, also nothing at all. */
static bool query_bool(struct slice s)
{
    static const char word[] = "false";
    if (is(s, "0")) {
        return false;
    }
    if (s.len != sizeof word - 1) {
        return true;
    }
    for (size_t i = 0; i < s.len; i++) {
        if ((s.data[i] | 0x20) != word[i]) {
            return true;
        }
    }
    return false;
}

static enum query_switch query_switch(struct slice s)
{
    return query_bool(s) ? QUERY_ON : QUERY_OFF;
}

/* As Go reads a truth; what is none is false. */
static enum query_switch query_truth(struct slice s)
{
    static const char *const words[] = {"1", "t", "T", "true", "TRUE", "True"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (is(s, words[i])) {
            return QUERY_ON;
        }
    }
    return QUERY_OFF;
}

static int query_digits(struct slice s, size_t from, int64_t *out)
{
    int64_t n = 0;
    if (from == s.len) {
        return ERR_INVALID;
    }
    for (size_t i = from; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9') {
            return ERR_INVALID;
        }
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, s.data[i] - '0', &n)) {
            return ERR_REFUSED;
        }
    }
    *out = n;
    return 0;
}

static int query_int(struct slice s, int64_t *out, struct errmsg *e)
{
    bool minus = s.len > 0 && s.data[0] == '-';
    bool sign = minus || (s.len > 0 && s.data[0] == '+');
    int rc = query_digits(s, sign ? 1 : 0, out);
    if (rc != 0) {
        return errmsg_set(e, ERR_INVALID, "strconv.ParseInt: parsing \"%.*s\": %s", (int)s.len,
                          (const char *)s.data,
                          rc == ERR_REFUSED ? "value out of range" : "invalid syntax");
    }
    *out = minus ? -*out : *out;
    return 0;
}

int query_revision(struct slice s, int64_t *out, struct errmsg *e)
{
    int rc = query_digits(s, 0, out);
    if (rc != 0) {
        return errmsg_set(e, ERR_INVALID,
                          "resourceVersion: Invalid value: \"%.*s\": strconv.ParseUint: parsing "
                          "\"%.*s\": %s",
                          (int)s.len, (const char *)s.data, (int)s.len, (const char *)s.data,
                          rc == ERR_REFUSED ? "value out of range" : "invalid syntax");
    }
    return 0;
}

static enum query_match query_match(struct slice s)
{
    return s.len == 0              ? QUERY_MATCH_UNSET
           : is(s, "Exact")        ? QUERY_MATCH_EXACT
           : is(s, "NotOlderThan") ? QUERY_MATCH_NOT_OLDER
                                   : QUERY_MATCH_BAD;
}

static int query_set_number(struct query *q, struct slice name, struct slice v, struct errmsg *e)
{
    if (is(name, "limit")) {
        return query_int(v, &q->limit, e);
    }
    if (is(name, "timeoutSeconds")) {
        return query_int(v, &q->timeout_s, e);
    }
    if (is(name, "gracePeriodSeconds")) {
        return query_int(v, &q->grace_s, e);
    }
    if (is(name, "resourceVersion") && v.len > 0) {
        q->revision_text = v;
        q->has_revision = true;
        return query_revision(v, &q->revision, e);
    }
    return 0;
}

static void query_set_switch(struct query *q, struct slice name, struct slice v)
{
    if (is(name, "watch")) {
        q->watch = query_bool(v);
    } else if (is(name, "allowWatchBookmarks")) {
        q->bookmarks = query_bool(v);
    } else if (is(name, "sendInitialEvents")) {
        q->initial_events = query_switch(v);
    } else if (is(name, "pretty")) {
        q->pretty = v.len == 0 ? q->pretty : query_truth(v);
    } else if (is(name, "force")) {
        q->force = query_switch(v);
    } else if (is(name, "orphanDependents")) {
        q->orphan = query_switch(v);
    } else if (is(name, "export")) {
        q->exports = query_bool(v);
    }
}

static void query_set_text(struct query *q, struct slice name, struct slice v)
{
    if (is(name, "labelSelector")) {
        q->label_selector = v;
    } else if (is(name, "fieldSelector")) {
        q->field_selector = v;
    } else if (is(name, "timeout")) {
        q->timeout = v;
    } else if (is(name, "continue")) {
        q->next = v;
    } else if (is(name, "resourceVersionMatch")) {
        q->match_text = v;
        q->match = query_match(v);
    } else if (is(name, "includeObject")) {
        q->include = v;
    } else if (is(name, "fieldManager")) {
        q->manager = v;
    } else if (is(name, "fieldValidation")) {
        q->validation = v;
    } else if (is(name, "propagationPolicy")) {
        q->propagation = v;
    } else if (is(name, "dryRun") && is(v, "All")) {
        q->dry_run = true;
    } else if (is(name, "dryRun") && v.len > 0) {
        q->bad_dry_run = v;
    }
}

int query_parse(struct query *q, struct slice text, struct arena *a, struct errmsg *e)
{
    struct slice name;
    struct slice value;
    *q = (struct query){.timeout_s = -1, .grace_s = -1};
    for (;;) {
        int rc = url_next_pair(&text, a, &name, &value);
        if (rc != 0) {
            return rc == ERR_NOT_FOUND ? 0 : rc;
        }
        rc = query_set_number(q, name, value, e);
        if (rc != 0) {
            return rc;
        }
        query_set_switch(q, name, value);
        query_set_text(q, name, value);
    }
}

void query_check_list(const struct query *q, bool watch, struct causes *c)
{
    const struct place *match = PLACE_FIELD(NULL, "resourceVersionMatch");
    const struct place *initial = PLACE_FIELD(NULL, "sendInitialEvents");
    if (q->match == QUERY_MATCH_BAD || (watch && q->match == QUERY_MATCH_EXACT)) {
        cause_not_supported(c, match, q->match_text, watch ? "NotOlderThan" : "Exact,NotOlderThan");
    }
    if (watch) {
        if (q->initial_events != QUERY_UNSET && q->match != QUERY_MATCH_NOT_OLDER) {
            cause_forbidden(c, match,
                            "sendInitialEvents requires setting resourceVersionMatch to "
                            "NotOlderThan");
        } else if (q->initial_events == QUERY_UNSET && q->match != QUERY_MATCH_UNSET) {
            cause_forbidden(
                c, match,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
        }
        return;
    }
    if (q->initial_events != QUERY_UNSET) {
        cause_forbidden(c, initial, "sendInitialEvents is forbidden for list");
    }
    if (q->match == QUERY_MATCH_UNSET) {
        return;
    }
    if (!q->has_revision) {
        cause_forbidden(c, match,
                        "resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if (q->next.len > 0) {
        cause_forbidden(c, match, "resourceVersionMatch is forbidden when continue is provided");
    }
    if (q->match == QUERY_MATCH_EXACT && q->has_revision && q->revision == 0) {
        cause_forbidden(c, match,
                        "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    }
}

void query_check_write(const struct query *q, struct causes *c)
{
    if (q->bad_dry_run.len > 0) {
        cause_not_supported(c, PLACE_FIELD(NULL, "dryRun"), q->bad_dry_run, "All");
    }
    if (q->manager.len > QUERY_MANAGER_BYTES_MAX) {
        cause_too_long(c, PLACE_FIELD(NULL, "fieldManager"), QUERY_MANAGER_BYTES_MAX);
    }
    for (size_t i = 0; i < q->manager.len; i++) {
        if (q->manager.data[i] < ' ' || q->manager.data[i] == 0x7f) {
            cause_invalid_text(c, PLACE_FIELD(NULL, "fieldManager"), q->manager,
                               "should only contain printable characters");
            break;
        }
    }
    if (q->validation.len > 0 && !is(q->validation, "Ignore") && !is(q->validation, "Warn") &&
        !is(q->validation, "Strict")) {
        cause_not_supported(c, PLACE_FIELD(NULL, "fieldValidation"), q->validation,
                            "Ignore,Strict,Warn");
    }
    if (q->force != QUERY_UNSET) {
        cause_forbidden(c, PLACE_FIELD(NULL, "force"), "may not be specified for non-apply patch");
    }
}
