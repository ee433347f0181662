/* url.c - reading URL lists, see url.h. */
#include "kvd/url.h"

#include <stdlib.h>
#include <string.h>

struct url_scheme {
    const char *prefix;
    enum kvd_scheme scheme;
};

static const struct url_scheme url_schemes[] = {
    {"http://", KVD_HTTP},
    {"https://", KVD_HTTPS},
    {"unix://", KVD_UNIX},
    {"unixs://", KVD_UNIXS},
};

static bool url_is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Decimal digits of a port, nothing else. */
static bool url_port(const char *text, uint16_t *port)
{
    uint32_t value = 0;
    if (*text == '\0') {
        return false;
    }
    for (; *text >= '0' && *text <= '9' && value <= UINT16_MAX; text++) {
        value = value * 10 + (uint32_t)(*text - '0');
    }
    *port = (uint16_t)value;
    return *text == '\0' && value <= UINT16_MAX;
}

/* Splits "host:port", "[::1]:port" in place. */
static bool url_split(char *authority, struct kvd_url *url)
{
    char *colon = strrchr(authority, ':');
    if (colon == NULL || !url_port(colon + 1, &url->port)) {
        return false;
    }
    *colon = '\0';
    size_t n = strlen(authority);
    if (authority[0] == '[') {
        if (authority[n - 1] != ']') {
            return false;
        }
        authority[n - 1] = '\0';
        authority++;
    } else if (strchr(authority, ':') != NULL) {
        return false; /* an IPv6 address without brackets */
    }
    url->host = authority;
    return true;
}

static int url_parse(struct arena *arena, const char *text, struct kvd_url *url, struct errmsg *e)
{
    const struct url_scheme *row = NULL;
    for (size_t i = 0; i < sizeof(url_schemes) / sizeof(url_schemes[0]); i++) {
        if (strncmp(text, url_schemes[i].prefix, strlen(url_schemes[i].prefix)) == 0) {
            row = &url_schemes[i];
        }
    }
    if (row == NULL) {
        return errmsg_set(e, ERR_INVALID, "URL scheme must be http, https, unix, or unixs: %s",
                          text);
    }
    for (const char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p <= ' ' || *p == 0x7f) {
            return errmsg_set(e, ERR_INVALID, "invalid character in URL: %s", text);
        }
    }
    const char *rest = text + strlen(row->prefix);
    char *host = (char *)arena_dup(arena, slice_of(rest, strlen(rest) + 1)).data;
    if (host == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    *url = (struct kvd_url){.scheme = row->scheme, .host = host, .text = text};
    if (row->scheme == KVD_UNIX || row->scheme == KVD_UNIXS) {
        return *host != '\0' ? 0 : errmsg_set(e, ERR_INVALID, "URL has no path: %s", text);
    }
    char *slash = strchr(host, '/');
    if (strpbrk(host, "?#@") != NULL) {
        return errmsg_set(e, ERR_INVALID, "URL address does not have the form \"host:port\": %s",
                          text);
    }
    if (slash != NULL) {
        *slash = '\0';
    }
    if (!url_split(host, url)) {
        return errmsg_set(e, ERR_INVALID, "URL address does not have the form \"host:port\": %s",
                          text);
    }
    if (slash != NULL) {
        return errmsg_set(e, ERR_INVALID, "URL must not contain a path: %s", text);
    }
    return 0;
}

static int url_order(const void *a, const void *b)
{
    return strcmp(((const struct kvd_url *)a)->text, ((const struct kvd_url *)b)->text);
}

int kvd_urls_parse(struct arena *arena, const char *text, struct kvd_urls *out, struct errmsg *e)
{
    *out = (struct kvd_urls){0};
    struct kvd_url *urls = arena_zalloc(arena, KVD_URLS_MAX * sizeof(*urls));
    const char **texts = arena_zalloc(arena, KVD_URLS_MAX * sizeof(*texts));
    if (urls == NULL || texts == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    size_t count = 0;
    const char *next = text;
    while (*text != '\0' && next != NULL) {
        const char *start = next;
        const char *comma = strchr(start, ',');
        const char *end = comma != NULL ? comma : start + strlen(start);
        next = comma != NULL ? comma + 1 : NULL;
        while (start < end && url_is_space(*start)) {
            start++;
        }
        while (end > start && url_is_space(end[-1])) {
            end--;
        }
        if (count == KVD_URLS_MAX) {
            return errmsg_set(e, ERR_INVALID, "more than %d URLs", KVD_URLS_MAX);
        }
        char *one = arena_alloc(arena, (size_t)(end - start) + 1);
        if (one == NULL) {
            return errmsg_set(e, ERR_NOMEM, "out of memory");
        }
        memcpy(one, start, (size_t)(end - start));
        one[end - start] = '\0';
        int err = url_parse(arena, one, &urls[count], e);
        if (err != 0) {
            return err;
        }
        count++;
    }
    qsort(urls, count, sizeof(*urls), url_order);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || strcmp(urls[kept - 1].text, urls[i].text) != 0) {
            urls[kept++] = urls[i];
        }
    }
    for (size_t i = 0; i < kept; i++) {
        texts[i] = urls[i].text;
    }
    *out = (struct kvd_urls){.urls = urls, .texts = texts, .count = kept};
    return 0;
}
