/* test_webhello.c - browsers that read, stall, leave; rows that come, change and are compacted. */
#include <kvplugin-test.h>
#include <stdio.h>
#include <string.h>

/* What the browser shows: applies the stream from the start. Keys are /hello/ and one letter. */
struct shown {
    char value[26][256];
    int resets;
};

static struct shown shown;

static void show_event(const char *name, char *data)
{
    if (strcmp(name, "reset") == 0) {
        int resets = shown.resets + 1;
        memset(&shown, 0, sizeof(shown));
        shown.resets = resets;
        return;
    }
    char *tab = strchr(data, '\t');
    int k = data[7] - 'a';
    t_expect(strncmp(data, "/hello/", 7) == 0 && k >= 0 && k < 26);
    if (strcmp(name, "put") == 0 && tab != NULL) {
        snprintf(shown.value[k], sizeof(shown.value[k]), "%.255s", tab + 1);
    } else {
        t_expect(strcmp(name, "delete") == 0);
        shown.value[k][0] = '\0';
    }
}

static void show(struct t_http *x)
{
    struct kvp_bytes body = t_http_body(x);
    static char copy[4 << 20];
    char name[16] = "";
    char *rest = copy;
    t_expect(body.len < sizeof(copy));
    memcpy(copy, body.data, body.len);
    copy[body.len] = '\0';
    memset(&shown, 0, sizeof(shown));
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (strncmp(line, "event: ", 7) == 0) {
            snprintf(name, sizeof(name), "%.15s", line + 7);
        } else if (strncmp(line, "data:", 5) == 0) {
            show_event(name, line + 5 + (line[5] == ' '));
        }
    }
}

static void expect_shown(struct t_http *x)
{
    show(x);
    for (int k = 0; k < 26; k++) {
        char key[16];
        snprintf(key, sizeof(key), "/hello/%c", 'a' + k);
        const char *value = t_get(key);
        if (strcmp(shown.value[k], value != NULL ? value : "") != 0) {
            t_fail_test("the browser shows \"%s\" for %s, the store has \"%s\"", shown.value[k],
                        key, value != NULL ? value : "");
        }
    }
}

static void page_is_served(void)
{
    t_open(kvplugin_entry(), NULL);
    struct t_http *x = t_http("GET", "/webhello");
    t_advance(100);
    t_expect_int(t_http_status(x), 200);
    t_expect_int(t_http_ended(x), 1);
    t_expect(strstr(t_http_body(x).data, "EventSource") != NULL);
    x = t_http("POST", "/webhello");
    t_expect_int(t_http_status(x), 404);
    t_close();
}

static void changes_arrive(void)
{
    t_open(kvplugin_entry(), NULL);
    t_put("/hello/a", "1");
    t_put("/other/a", "1");
    struct t_http *x = t_http("GET", "/webhello/events");
    t_advance(100);
    t_expect_int(t_http_status(x), 200);
    t_expect(strcmp(t_http_header(x, "Content-Type"), "text/event-stream") == 0);
    expect_shown(x);
    t_put("/hello/a", "2");
    t_put("/hello/b", "two\nlines");
    t_advance(100);
    t_expect(strstr(t_http_body(x).data, "two.lines") != NULL);
    t_put("/hello/b", "one");
    t_delete("/hello/a");
    t_advance(100);
    expect_shown(x);
    t_expect_int(t_metric("browsers", NULL), 1);
    t_expect_int(t_http_ended(x), 0);
    t_http_cancel(x);
    t_advance(100);
    t_expect_int(t_metric("browsers", NULL), 0);
    t_close();
}

/* A browser that does not read for long, beyond all buffers and a compaction, is right again. */
static void slow_browsers_lose_nothing(void)
{
    char value[201];
    memset(value, 'x', 200);
    value[200] = '\0';
    t_open(kvplugin_entry(), NULL);
    struct t_http *x = t_http("GET", "/webhello/events");
    t_advance(100);
    t_http_stall(x, 1);
    for (int i = 0; i < 2000; i++) {
        char key[16];
        snprintf(key, sizeof(key), "/hello/%c", 'a' + (int)t_random(26));
        value[0] = (char)('a' + t_random(26));
        t_put(key, value);
        t_advance(t_random(3));
    }
    size_t before = t_http_body(x).len;
    if (t_random(2) == 0) {
        t_compact(0);
    }
    t_http_stall(x, 0);
    t_advance(10000);
    t_expect(t_http_body(x).len > before);
    t_expect(t_http_body(x).len < 2000 * 300);
    expect_shown(x);
    t_close();
}

/* Browsers come and go while everything fails: those that are still open are right. */
static void model(void)
{
    struct t_http *x[3] = {NULL};
    if (t_open(kvplugin_entry(), NULL) != 0) {
        t_close();
        return;
    }
    t_chaos(10);
    for (int i = 0; i < 100; i++) {
        size_t b = t_random(3);
        char key[16];
        snprintf(key, sizeof(key), "/hello/%c", 'a' + (int)t_random(26));
        switch (t_random(8)) {
        case 0:
            if (x[b] == NULL || t_http_ended(x[b]) != 0) {
                x[b] = t_http("GET", "/webhello/events");
            }
            break;
        case 1:
            if (x[b] != NULL && t_http_ended(x[b]) == 0) {
                t_http_cancel(x[b]);
            }
            break;
        case 2:
            if (x[b] != NULL && t_http_ended(x[b]) == 0) {
                t_http_stall(x[b], (int)t_random(2));
            }
            break;
        case 3:
            t_delete(key);
            break;
        case 4:
            t_compact(0);
            break;
        default:
            t_put(key, "v");
            break;
        }
        t_advance(t_random(20));
    }
    t_chaos(0);
    for (size_t b = 0; b < 3; b++) {
        if (x[b] != NULL) {
            t_http_stall(x[b], 0);
        }
    }
    t_advance(10000);
    for (size_t b = 0; b < 3; b++) {
        if (x[b] != NULL && t_http_ended(x[b]) == 0) {
            expect_shown(x[b]);
        }
    }
    t_close();
}

static void one_allocation_fails(void)
{
    if (t_open(kvplugin_entry(), NULL) == 0) {
        t_put("/hello/a", "1");
        struct t_http *x = t_http("GET", "/webhello/events");
        t_advance(100);
        t_put("/hello/a", "2");
        t_advance(100);
        if (t_http_ended(x) == 0) {
            expect_shown(x);
        }
    }
    t_close();
}

int main(void)
{
    page_is_served();
    t_for_each_seed(50, changes_arrive);
    t_for_each_seed(20, slow_browsers_lose_nothing);
    t_for_each_seed(200, model);
    printf("%u allocations failed, one at a time\n", t_for_each_alloc(one_allocation_fails));
    puts("webhello: passed");
    return 0;
}
