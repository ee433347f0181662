/* http_metrics.c - /metrics and /debug/vars (contract H-07, 8.4).
 *
 * Most metrics are static objects in base/metrics.h. The grpc_server_* families have a row per
 * method and code; they are rendered from the svc's own counters. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/metrics.h"
#include "rpc/svc_common.h"
#include "rpc/version.h"

static void family(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static const char *method_type(const struct rpc_method *m)
{
    return m->client_streams ? (m->server_streams ? "bidi_stream" : "client_stream")
                             : (m->server_streams ? "server_stream" : "unary");
}

static void per_method(struct svc *s, struct buf *out, const char *name, const char *help,
                       size_t offset)
{
    family(out, name, "counter", help);
    size_t i = 0;
    for (const struct rpc_method *m = svc_methods(); m->service != NULL; m++, i++) {
        uint64_t value;
        memcpy(&value, (const char *)&s->counts[i] + offset, sizeof(value));
        buf_printf(out, "%s{grpc_method=\"%s\",grpc_service=\"%s\",grpc_type=\"%s\"} %" PRIu64 "\n",
                   name, m->method, m->service, method_type(m), value);
    }
}

static void handled(struct svc *s, struct buf *out)
{
    family(out, "grpc_server_handled_total", "counter",
           "Total number of RPCs completed on the server, regardless of success or failure.");
    size_t i = 0;
    for (const struct rpc_method *m = svc_methods(); m->service != NULL; m++, i++) {
        for (unsigned code = 0; code < SVC_CODES; code++) {
            buf_printf(out,
                       "grpc_server_handled_total{grpc_code=\"%s\",grpc_method=\"%s\","
                       "grpc_service=\"%s\",grpc_type=\"%s\"} %" PRIu64 "\n",
                       grpc_code_name((int)code), m->method, m->service, method_type(m),
                       s->counts[i].handled[code]);
        }
    }
}

static void handling_seconds(struct svc *s, struct buf *out)
{
    static const char *const bounds[] = {"0.005", "0.01", "0.025", "0.05", "0.1", "0.25",
                                         "0.5",   "1",    "2.5",   "5",    "10",  "+Inf"};
    static const char name[] = "grpc_server_handling_seconds";
    family(out, name, "histogram",
           "Histogram of response latency (seconds) of unary RPCs handled by the server.");
    size_t i = 0;
    for (const struct rpc_method *m = svc_methods(); m->service != NULL; m++, i++) {
        char labels[160];
        snprintf(labels, sizeof(labels), "grpc_method=\"%s\",grpc_service=\"%s\",grpc_type=\"%s\"",
                 m->method, m->service, method_type(m));
        uint64_t sum = 0;
        for (size_t b = 0; b < sizeof(bounds) / sizeof(bounds[0]); b++) {
            sum += s->counts[i].seconds_buckets[b];
            buf_printf(out, "%s_bucket{%s,le=\"%s\"} %" PRIu64 "\n", name, labels, bounds[b], sum);
        }
        buf_printf(out, "%s_sum{%s} %g\n%s_count{%s} %" PRIu64 "\n", name, labels,
                   s->counts[i].seconds_sum, name, labels, sum);
    }
}

/* A label value: quotes and backslashes escaped, line ends too. */
static void label_text(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"' || text[i] == '\\') {
            buf_append_byte(out, '\\');
        }
        if (text[i] == '\n') {
            buf_append_str(out, "\\n");
        } else {
            buf_append_byte(out, (uint8_t)text[i]);
        }
    }
}

static void client_versions(struct svc *s, struct buf *out)
{
    family(out, "etcd_server_client_requests_total", "counter",
           "The total number of client requests per client version.");
    for (int stream = 0; stream < 2; stream++) {
        for (size_t i = 0; i <= SVC_CLIENT_VERSIONS_MAX; i++) {
            const struct svc_client_version *v = &s->versions[i];
            uint64_t value = stream ? v->stream : v->unary;
            if (value == 0) {
                continue;
            }
            buf_append_str(out, "etcd_server_client_requests_total{client_api_version=\"");
            if (i == SVC_CLIENT_VERSIONS_MAX) {
                buf_append_str(out, "other");
            } else {
                label_text(out, v->text, v->len);
            }
            buf_printf(out, "\",type=\"%s\"} %" PRIu64 "\n", stream ? "stream" : "unary", value);
        }
    }
}

static void health_counts(struct svc *s, struct buf *out)
{
    static const char *const types[2] = {"livez", "readyz"};
    static const char *const names[4] = {"data_corruption", "serializable_read",
                                         "linearizable_read", "non_learner"};
    family(out, "etcd_server_health_success", "counter",
           "The total number of successful health checks");
    buf_printf(out, "etcd_server_health_success %" PRIu64 "\n", s->health_success);
    family(out, "etcd_server_health_failures", "counter",
           "The total number of failed health checks");
    buf_printf(out, "etcd_server_health_failures %" PRIu64 "\n", s->health_failures);
    family(out, "etcd_server_healthcheck", "gauge", "The result of each kind of healthcheck.");
    for (int t = 0; t < 2; t++) {
        for (int n = 0; n < 4; n++) {
            if (s->check_last[t][n] >= 0) {
                buf_printf(out, "etcd_server_healthcheck{name=\"%s\",type=\"%s\"} %d\n", names[n],
                           types[t], s->check_last[t][n]);
            }
        }
    }
    family(out, "etcd_server_healthchecks_total", "counter",
           "The total number of each kind of healthcheck.");
    for (int t = 0; t < 2; t++) {
        for (int n = 0; n < 4; n++) {
            for (int failed = 0; failed < 2; failed++) {
                if (s->checks[t][n][failed] != 0) {
                    buf_printf(out,
                               "etcd_server_healthchecks_total{name=\"%s\",status=\"%s\","
                               "type=\"%s\"} %" PRIu64 "\n",
                               names[n], failed ? "error" : "success", types[t],
                               s->checks[t][n][failed]);
                }
            }
        }
    }
}

void svc_metrics_render(struct svc *s, struct buf *out)
{
    per_method(s, out, "grpc_server_started_total", "Total number of RPCs started on the server.",
               offsetof(struct svc_counts, started));
    handled(s, out);
    per_method(s, out, "grpc_server_msg_received_total",
               "Total number of RPC stream messages received on the server.",
               offsetof(struct svc_counts, received));
    per_method(s, out, "grpc_server_msg_sent_total",
               "Total number of gRPC stream messages sent by the server.",
               offsetof(struct svc_counts, sent));
    if (s->options.extensive_metrics) {
        handling_seconds(s, out);
    }
    client_versions(s, out);
    health_counts(s, out);
    family(out, "etcd_debugging_mvcc_watch_stream_total", "gauge",
           "Total number of watch streams.");
    buf_printf(out, "etcd_debugging_mvcc_watch_stream_total %" PRIu64 "\n", s->watch_streams);
    family(out, "etcd_debugging_mvcc_watcher_total", "gauge", "Total number of watchers.");
    buf_printf(out, "etcd_debugging_mvcc_watcher_total %" PRIu64 "\n", s->watchers);
    family(out, "etcd_debugging_mvcc_events_total", "counter",
           "Total number of events sent by this member.");
    buf_printf(out, "etcd_debugging_mvcc_events_total %" PRIu64 "\n", s->watch_events);
    family(out, "etcd_debugging_mvcc_pending_events_total", "gauge",
           "Total number of pending events to be sent.");
    buf_printf(out, "etcd_debugging_mvcc_pending_events_total %" PRIu64 "\n", s->watch_pending);
    family(out, "etcd_debugging_mvcc_slow_watcher_total", "gauge",
           "Total number of unsynced slow watchers.");
    buf_printf(out, "etcd_debugging_mvcc_slow_watcher_total %" PRIu64 "\n", s->watch_slow);
}

/* ---- the process -------------------------------------------------------------------------------
 */

static uint64_t open_files(void)
{
    uint64_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL) {
        return 0;
    }
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count > 3 ? count - 3 : 0; /* ".", "..", and the directory itself */
}

/* When the process began, in seconds since 1970; looked up once. */
static double process_start(void)
{
    static double start;
    if (start != 0) {
        return start;
    }
    unsigned long long ticks = 0;
    FILE *f = fopen("/proc/self/stat", "r");
    if (f != NULL) {
        char line[1024];
        size_t len = fread(line, 1, sizeof(line) - 1, f);
        line[len] = '\0';
        fclose(f);
        /* Field 22, counted behind the command's closing bracket, which is field 2. */
        const char *p = strrchr(line, ')');
        for (int field = 2; p != NULL && field < 22; field++) {
            p = strchr(p + 1, ' ');
        }
        if (p != NULL) {
            ticks = strtoull(p + 1, NULL, 10);
        }
    }
    struct timespec boot;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    double up = (double)boot.tv_sec + (double)boot.tv_nsec / 1e9;
    start = (double)clock_wall_us() / 1e6 - up + (double)ticks / (double)sysconf(_SC_CLK_TCK);
    return start;
}

static void process(struct buf *out)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    uint64_t pages[2] = {0}; /* virtual, resident */
    FILE *f = fopen("/proc/self/statm", "r");
    if (f != NULL) {
        if (fscanf(f, "%" SCNu64 " %" SCNu64, &pages[0], &pages[1]) != 2) {
            pages[0] = pages[1] = 0;
        }
        fclose(f);
    }
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    uint64_t open = open_files();
    family(out, "process_cpu_seconds_total", "counter",
           "Total user and system CPU time spent in seconds.");
    buf_printf(out, "process_cpu_seconds_total %.6f\n", cpu);
    family(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.");
    buf_printf(out, "process_resident_memory_bytes %" PRIu64 "\n", pages[1] * page);
    family(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.");
    buf_printf(out, "process_virtual_memory_bytes %" PRIu64 "\n", pages[0] * page);
    family(out, "process_start_time_seconds", "gauge",
           "Start time of the process since unix epoch in seconds.");
    buf_printf(out, "process_start_time_seconds %.2f\n", process_start());
    family(out, "process_open_fds", "gauge", "Number of open file descriptors.");
    buf_printf(out, "process_open_fds %" PRIu64 "\n", open);
    family(out, "process_max_fds", "gauge", "Maximum number of open file descriptors.");
    buf_printf(out, "process_max_fds %" PRIu64 "\n", (uint64_t)files.rlim_cur);
    family(out, "os_fd_used", "gauge", "The number of used file descriptors.");
    buf_printf(out, "os_fd_used %" PRIu64 "\n", open);
    family(out, "os_fd_limit", "gauge", "The file descriptor limit.");
    buf_printf(out, "os_fd_limit %" PRIu64 "\n", (uint64_t)files.rlim_cur);
}

void http_metrics(struct http_request *req)
{
    struct svc *s = http_server_data(req);
    struct buf out;
    buf_init(&out);
    metrics_render(&out);
    svc_metrics_render(s, &out);
    process(&out);
    if (s->options.metrics != NULL) {
        s->options.metrics(s->options.metrics_data, &out);
    }
    if (out.failed) {
        http_respond(req, 503, "text/plain; charset=utf-8", NULL,
                     slice_str("kvd: out of memory\n"));
    } else {
        http_respond(req, 200, "text/plain; version=0.0.4; charset=utf-8", NULL, buf_slice(&out));
    }
    buf_close(&out);
}

void http_debug_vars(struct http_request *req)
{
    struct svc *s = http_server_data(req);
    struct service_status status = {0};
    s->service->status(s->service, &status);
    struct buf out;
    buf_init(&out);
    struct json j;
    json_init(&j, &out);
    json_object(&j);
    json_key(&j, "server.version");
    json_cstr(&j, SERVER_VERSION);
    json_key(&j, "rpc.calls");
    json_int(&j, (int64_t)svc_calls_started(s));
    json_key(&j, "store.revision");
    json_int(&j, svc_revision(s));
    json_key(&j, "raft.applied");
    json_int(&j, (int64_t)status.raft_applied_index);
    json_object_end(&j);
    buf_append_byte(&out, '\n');
    http_respond(req, 200, "application/json; charset=utf-8", NULL, buf_slice(&out));
    buf_close(&out);
}
