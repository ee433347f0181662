/* deadline.c - one timer for the earliest of all deadlines. */
#include "plugins/apiserver/deadline.h"

#include "plugins/apiserver/carrier.h"

#define DEADLINE_MS_MAX 60000

int deadline_parse(struct slice text, int64_t *out_ms)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ns", 1e-6}, {"us", 1e-3}, {"\xc2\xb5s", 1e-3}, {"\xce\xbcs", 1e-3},
                 {"ms", 1},    {"s", 1000},  {"m", 60000},        {"h", 3600000}};
    double ms = 0;
    size_t at = 0;
    if (slice_eq(text, slice_str("0"))) {
        *out_ms = 0;
        return 0;
    }
    while (at < text.len) {
        double number = 0;
        double scale = 1;
        bool digits = false;
        bool fraction = false;
        for (; at < text.len; at++) {
            uint8_t c = text.data[at];
            if (c == '.' && !fraction) {
                fraction = true;
            } else if (c >= '0' && c <= '9') {
                digits = true;
                number = number * 10 + (c - '0');
                scale *= fraction ? 10 : 1;
            } else {
                break;
            }
        }
        size_t unit = at;
        while (at < text.len && text.data[at] != '.' &&
               (text.data[at] < '0' || text.data[at] > '9')) {
            at++;
        }
        bool known = false;
        for (size_t i = 0; i < sizeof units / sizeof units[0] && !known; i++) {
            known = slice_eq(slice_of(text.data + unit, at - unit), slice_str(units[i].name));
            ms += known ? number / scale * units[i].ms : 0;
        }
        if (!digits || !known || !(ms <= 9e15)) { /* also what is no number */
            return ERR_INVALID;
        }
    }
    *out_ms = (int64_t)ms + ((double)(int64_t)ms < ms);
    return text.len > 0 ? 0 : ERR_INVALID;
}

static void deadline_fire(void *data);

/* Sees to it that the timer fires at the earliest one. */
static void deadline_arm(struct apiserver *api)
{
    const struct kvp_host *host = api->host;
    struct heap_node *first = heap_min(&api->deadlines);
    if (first == NULL || (api->deadline_timer != NULL && api->deadline_at <= first->key)) {
        return;
    }
    if (api->deadline_timer != NULL) {
        host->timer_cancel(api->deadline_timer);
        api->deadline_timer = NULL;
    }
    int64_t now = (int64_t)host->now_ms(api->ctx);
    struct kvp_timer_args timer = {.size = sizeof timer,
                                   .after_ms = first->key > now ? (uint64_t)(first->key - now) : 0,
                                   .fire = deadline_fire,
                                   .data = api};
    api->deadline_at = first->key;
    if (host->timer(api->ctx, &timer, &api->deadline_timer) != 0) {
        api->deadline_timer = NULL; /* the next request tries again */
    }
}

static void deadline_fire(void *data)
{
    struct apiserver *api = data;
    int64_t now = (int64_t)api->host->now_ms(api->ctx);
    struct heap_node *first;
    api->deadline_timer = NULL;
    while ((first = heap_min(&api->deadlines)) != NULL && first->key <= now) {
        struct exchange *ex =
            (struct exchange *)((char *)first - offsetof(struct exchange, deadline));
        heap_remove(&api->deadlines, first);
        if (!ex->answered) {
            exchange_late(ex);
        }
    }
    deadline_arm(api);
}

bool deadline_begin(struct exchange *ex)
{
    struct apiserver *api = ex->api;
    struct slice text = ex->query.timeout;
    int64_t ms = 0;
    if (text.len > 0 && deadline_parse(text, &ms) != 0) {
        exchange_fail(ex, status_bad_request(&ex->arena,
                                             "invalid timeout specified in the request URL - time: "
                                             "invalid duration \"%.*s\"",
                                             (int)text.len, (const char *)text.data));
        return false;
    }
    if (ex->request.verb == REQUEST_WATCH || !ex->carrier->speaks_http) {
        return true;
    }
    ms = ms == 0 || ms > DEADLINE_MS_MAX ? DEADLINE_MS_MAX : ms;
    /* Without memory for it the request has no deadline but those of the store. */
    if (heap_set(&api->deadlines, &ex->deadline, (int64_t)api->host->now_ms(api->ctx) + ms)) {
        deadline_arm(api);
    }
    return true;
}

void deadline_end(struct exchange *ex)
{
    heap_remove(&ex->api->deadlines, &ex->deadline);
}

void deadline_close(struct apiserver *api)
{
    heap_close(&api->deadlines);
}
