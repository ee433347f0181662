/* kube.c - requests to the API server, by libcurl.
 *
 * The library is loaded when the first request is made, not when kvctl starts: with all it depends
 * on it costs eight milliseconds, and the commands about keys (a script may run thousands) need
 * one.
 */
#include "cli/kube.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "cli/release.h"

/* What is used of libcurl. */
struct curl_calls {
    CURLcode (*global_init)(long flags);
    CURL *(*easy_init)(void);
    CURLcode (*easy_setopt)(CURL *curl, CURLoption option, ...);
    CURLcode (*easy_perform)(CURL *curl);
    CURLcode (*easy_getinfo)(CURL *curl, CURLINFO info, ...);
    void (*easy_cleanup)(CURL *curl);
    const char *(*easy_strerror)(CURLcode code);
    struct curl_slist *(*slist_append)(struct curl_slist *list, const char *text);
    void (*slist_free_all)(struct curl_slist *list);
    void (*global_cleanup)(void);
};
static struct curl_calls curl_lib;

/* Fills curl_lib. 0, or ERR_NOT_FOUND with a sentence. */
static int curl_load(struct errmsg *e)
{
    static const struct {
        const char *name;
        void **call;
    } calls[] = {
        {"curl_global_init", (void **)&curl_lib.global_init},
        {"curl_easy_init", (void **)&curl_lib.easy_init},
        {"curl_easy_setopt", (void **)&curl_lib.easy_setopt},
        {"curl_easy_perform", (void **)&curl_lib.easy_perform},
        {"curl_easy_getinfo", (void **)&curl_lib.easy_getinfo},
        {"curl_easy_cleanup", (void **)&curl_lib.easy_cleanup},
        {"curl_easy_strerror", (void **)&curl_lib.easy_strerror},
        {"curl_slist_append", (void **)&curl_lib.slist_append},
        {"curl_slist_free_all", (void **)&curl_lib.slist_free_all},
        {"curl_global_cleanup", (void **)&curl_lib.global_cleanup},
    };
    /* It stays for the rest of the process: libraries it brings along do not like to go. */
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return errmsg_set(e, ERR_NOT_FOUND, "commands about objects need libcurl (%.200s)",
                          dlerror());
    }
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        *calls[i].call = dlsym(library, calls[i].name);
        if (*calls[i].call == NULL) {
            return errmsg_set(e, ERR_NOT_FOUND, "this libcurl has no %s", calls[i].name);
        }
    }
    return 0;
}

struct kube {
    CURL *curl;
    const struct kube_config *config;
    struct kube_limits limits;
    struct curl_slist *headers; /* of the request that is under way */
    char error[CURL_ERROR_SIZE];
};

/* One request while it runs. */
struct transfer {
    struct kube *kube;
    const struct kube_request *request;
    struct buf body; /* of a stream: the line that is not whole yet */
    bool too_large;
    bool ended; /* by `line` */
};

void kube_escape(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t b = text.data[i];
        bool plain = (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') ||
                     b == '-' || b == '.' || b == '_' || b == '~';
        if (plain) {
            buf_append_byte(out, b);
        } else {
            buf_printf(out, "%%%02X", b);
        }
    }
}

/* ---- connection ------------------------------------------------------------------------------
 */

static void set_blob(CURL *curl, CURLoption option, struct slice bytes)
{
    struct curl_blob blob = {
        .data = (void *)bytes.data, .len = bytes.len, .flags = CURL_BLOB_NOCOPY};
    if (bytes.len > 0) {
        curl_lib.easy_setopt(curl, option, &blob);
    }
}

/* As kubectl, no proxy is asked for this machine itself. */
static bool is_loopback(const char *server)
{
    static const char *const hosts[] = {"127.", "localhost", "[::1]"};
    const char *host = strstr(server, "://");
    host = host == NULL ? server : host + 3;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        if (strncmp(host, hosts[i], strlen(hosts[i])) == 0) {
            return true;
        }
    }
    return false;
}

static void set_options(struct kube *k)
{
    const struct kube_config *c = k->config;
    CURL *curl = k->curl;
    curl_lib.easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_lib.easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_lib.easy_setopt(curl, CURLOPT_USERAGENT, "kvctl/" KVCTL_VERSION);
    curl_lib.easy_setopt(curl, CURLOPT_ERRORBUFFER, k->error);
    curl_lib.easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)k->limits.dial_timeout_ms);
    curl_lib.easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, c->insecure ? 0L : 1L);
    curl_lib.easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, c->insecure ? 0L : 2L);
    set_blob(curl, CURLOPT_CAINFO_BLOB, c->ca);
    set_blob(curl, CURLOPT_SSLCERT_BLOB, c->cert);
    set_blob(curl, CURLOPT_SSLKEY_BLOB, c->key);
    if (is_loopback(c->server)) {
        curl_lib.easy_setopt(curl, CURLOPT_PROXY, "");
    }
}

struct kube *kube_open(const struct kube_config *config, const struct kube_limits *limits,
                       struct errmsg *e)
{
    if (strncmp(config->server, "http://", 7) != 0 && strncmp(config->server, "https://", 8) != 0) {
        errmsg_set(e, ERR_INVALID, "%s: the server \"%.200s\" does not begin with https://",
                   config->source, config->server);
        return NULL;
    }
    if (*config->server_name != '\0') {
        errmsg_set(e, ERR_INVALID, "%s: tls-server-name is not supported", config->source);
        return NULL;
    }
    if (curl_load(e) != 0) {
        return NULL;
    }
    struct kube *k = mem_zalloc(sizeof *k);
    if (k != NULL) {
        k->config = config;
        k->limits = *limits;
        k->curl = curl_lib.global_init(CURL_GLOBAL_DEFAULT) == 0 ? curl_lib.easy_init() : NULL;
    }
    if (k == NULL || k->curl == NULL) {
        errmsg_set(e, ERR_NOMEM, "out of memory");
        mem_free(k);
        return NULL;
    }
    set_options(k);
    return k;
}

void kube_close(struct kube *k)
{
    if (k != NULL) {
        curl_lib.easy_cleanup(k->curl);
        curl_lib.global_cleanup();
        mem_free(k);
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

/* Hands whole lines over and keeps the rest. */
static bool take_lines(struct transfer *t)
{
    size_t from = 0;
    for (;;) {
        const uint8_t *at = memchr(t->body.data + from, '\n', t->body.len - from);
        if (at == NULL) {
            break;
        }
        size_t len = (size_t)(at - t->body.data) - from;
        if (t->request->line(t->request->data, slice_of(t->body.data + from, len)) != 0) {
            t->ended = true;
            return false;
        }
        from += len + 1;
    }
    buf_consume(&t->body, from);
    return true;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    size_t len = size * count;
    long status = 0;
    if (len > t->kube->limits.answer_bytes_max - t->body.len) {
        t->too_large = true;
        return 0;
    }
    if (!buf_append(&t->body, data, len)) {
        return 0;
    }
    curl_lib.easy_getinfo(t->kube->curl, CURLINFO_RESPONSE_CODE, &status);
    if (t->request->line != NULL && status < 400 && !take_lines(t)) {
        return 0;
    }
    return len;
}

static bool add_header(struct kube *k, const char *name, const char *value)
{
    struct buf text;
    buf_init(&text);
    buf_printf(&text, "%s: %s", name, value);
    buf_append_byte(&text, 0);
    struct curl_slist *more =
        text.failed ? NULL : curl_lib.slist_append(k->headers, (const char *)text.data);
    buf_close(&text);
    if (more != NULL) {
        k->headers = more;
    }
    return more != NULL;
}

static bool set_headers(struct kube *k, const struct kube_request *r)
{
    bool ok = add_header(k, "Accept", r->accept != NULL ? r->accept : "application/json");
    if (ok && r->body.len > 0) {
        ok = add_header(k, "Content-Type",
                        r->content_type != NULL ? r->content_type : "application/json") &&
             add_header(k, "Expect", "");
    }
    if (ok && *k->config->token != '\0') {
        struct buf value;
        buf_init(&value);
        buf_printf(&value, "Bearer %s", k->config->token);
        buf_append_byte(&value, 0);
        ok = !value.failed && add_header(k, "Authorization", (const char *)value.data);
        buf_close(&value);
    }
    return ok;
}

static int perform(struct transfer *t, const char *url)
{
    struct kube *k = t->kube;
    const struct kube_request *r = t->request;
    bool body = r->body.len > 0;
    curl_lib.easy_setopt(k->curl, CURLOPT_URL, url);
    curl_lib.easy_setopt(k->curl, CURLOPT_HTTPHEADER, k->headers);
    /* A custom verb on top of GET, or of POST when there is a body. */
    curl_lib.easy_setopt(k->curl, CURLOPT_HTTPGET, 1L);
    if (body) {
        curl_lib.easy_setopt(k->curl, CURLOPT_POST, 1L);
        curl_lib.easy_setopt(k->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
        curl_lib.easy_setopt(k->curl, CURLOPT_POSTFIELDS, (const char *)r->body.data);
    }
    curl_lib.easy_setopt(k->curl, CURLOPT_CUSTOMREQUEST, r->method);
    curl_lib.easy_setopt(k->curl, CURLOPT_TIMEOUT_MS,
                         r->line != NULL ? 0L : (long)k->limits.command_timeout_ms);
    curl_lib.easy_setopt(k->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_lib.easy_setopt(k->curl, CURLOPT_WRITEDATA, t);
    k->error[0] = '\0';
    return (int)curl_lib.easy_perform(k->curl);
}

/* The sentence for a request without an answer. */
static int say(const struct transfer *t, int code, struct errmsg *e)
{
    const struct kube *k = t->kube;
    const char *why = k->error[0] != '\0' ? k->error : curl_lib.easy_strerror((CURLcode)code);
    bool sent = code != CURLE_COULDNT_CONNECT && code != CURLE_COULDNT_RESOLVE_HOST &&
                code != CURLE_PEER_FAILED_VERIFICATION && code != CURLE_SSL_CONNECT_ERROR &&
                code != CURLE_SSL_CACERT_BADFILE && code != CURLE_SSL_CERTPROBLEM &&
                code != CURLE_URL_MALFORMAT;
    bool write = strcmp(t->request->method, "GET") != 0;
    if (t->too_large) {
        return errmsg_set(e, ERR_IO, "%s: the answer is larger than --max-recv-bytes",
                          k->config->server);
    }
    if (t->body.failed || code == CURLE_OUT_OF_MEMORY) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    return errmsg_set(e, code == CURLE_OPERATION_TIMEDOUT ? ERR_DEADLINE : ERR_IO, "%s: %.300s%s",
                      k->config->server, why,
                      sent && write ? "; it may have happened all the same" : "");
}

int kube_send(struct kube *k, const struct kube_request *r, struct arena *arena,
              struct kube_answer *a, struct errmsg *e)
{
    struct transfer t = {.kube = k, .request = r};
    struct buf url;
    int rc = 0;
    buf_init(&t.body);
    buf_init(&url);
    size_t len = strlen(k->config->server);
    len -= k->config->server[len - 1] == '/';
    buf_append(&url, k->config->server, len);
    buf_append_str(&url, r->path);
    buf_append_byte(&url, 0);
    k->headers = NULL;
    if (url.failed || !set_headers(k, r)) {
        rc = errmsg_set(e, ERR_NOMEM, "out of memory");
    } else {
        int code = perform(&t, (const char *)url.data);
        long status = 0;
        curl_lib.easy_getinfo(k->curl, CURLINFO_RESPONSE_CODE, &status);
        a->status = (int)status;
        if (code != CURLE_OK && !t.ended) {
            rc = say(&t, code, e);
        }
    }
    if (rc == 0) {
        a->body = arena_dup(arena, t.ended ? slice_of("", 0) : buf_slice(&t.body));
        rc = a->body.data == NULL ? errmsg_set(e, ERR_NOMEM, "out of memory") : 0;
    }
    curl_lib.slist_free_all(k->headers);
    k->headers = NULL;
    buf_close(&url);
    buf_close(&t.body);
    return rc;
}
