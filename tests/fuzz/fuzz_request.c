/* fuzz_request - method, path and query as a client may send them, and the texts that options and
 * parameters of the server have: durations, address ranges, plugins of admission. Byte 0 picks the
 * method; the path ends at the first '?'. What is found is a kind of the schema with all its parts,
 * what is refused is told apart, and a query that is not read has a sentence. */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "plugins/apiserver/admit.h"
#include "plugins/apiserver/deadline.h"
#include "plugins/apiserver/media.h"
#include "plugins/apiserver/pretty.h"
#include "plugins/apiserver/query.h"
#include "plugins/apiserver/service.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_request(const struct request *r, int rc)
{
    if (rc != 0 && rc != ERR_REFUSED) {
        FATAL_IF(rc != ERR_NOT_FOUND && rc != ERR_INVALID, "an error of another kind");
        return;
    }
    if (r->kind == NULL) {
        FATAL_IF(rc != 0 || r->verb != REQUEST_OTHER, "a verb without a kind");
        return;
    }
    bool namespaced = (r->kind->rules & SCHEMA_RULE_NAMESPACED) != 0;
    FATAL_IF(r->type == NULL || r->resource.len == 0, "a kind without a type");
    FATAL_IF(r->sub.len > 0 && (r->subkind == NULL || r->name.len == 0), "a lost subresource");
    FATAL_IF(r->space.len > 0 && !namespaced, "a namespace of a kind that has none");
    FATAL_IF(namespaced && r->name.len > 0 && r->space.len == 0, "a name without its namespace");
    FATAL_IF(rc == 0 && r->verb == REQUEST_OTHER, "no verb");
}

static void check_texts(struct slice text, struct arena *a)
{
    static struct service_ranges ranges;
    char address[ADDRESS_TEXT_BYTES];
    char copy[128];
    int64_t ms;
    uint32_t n;
    FATAL_IF(deadline_parse(text, &ms) == 0 && ms < 0, "a negative duration");
    if (text.len >= sizeof copy) {
        return;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    (void)admit_parse_disabled(copy, &n);
    char *comma = strchr(copy, '&');
    if (comma != NULL) {
        *comma = 0;
    }
    if (service_ranges_parse(copy, comma == NULL ? "1-2" : comma + 1, &ranges) != NULL) {
        return;
    }
    FATAL_IF(ranges.port_first + ranges.port_count > 65536, "ports beyond the last one");
    address_print(&ranges.addresses, ranges.addresses.count - 1, address);
    FATAL_IF(!address_number(&ranges.addresses, slice_str(address), &n) ||
                 n != ranges.addresses.count - 1,
             "the last address is another one");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "X"};
    static struct causes c;
    struct errmsg e = {.text = ""};
    struct arena a;
    struct request r;
    struct query q;
    if (size == 0) {
        return 0;
    }
    arena_init(&a, 64u << 20);
    const uint8_t *mark = memchr(data + 1, '?', size - 1);
    size_t len = mark == NULL ? size - 1 : (size_t)(mark - data) - 1;
    struct slice query = mark == NULL ? slice_of("", 0) : slice_of(mark + 1, size - len - 2);
    const char *method = methods[data[0] % 7];
    int rc = request_parse(&r, slice_str(method), slice_of(data + 1, len), data[0] & 128, &a);
    check_request(&r, rc);
    rc = query_parse(&q, query, &a, &e);
    FATAL_IF(rc != 0 && rc != ERR_INVALID, "an error of another kind");
    FATAL_IF(rc != 0 && e.text[0] == 0, "a refusal without a sentence");
    if (rc == 0) {
        causes_init(&c, &a);
        query_check_list(&q, data[0] & 1, &c);
        query_check_write(&q, &c);
        FATAL_IF(q.revision < 0, "a negative revision");
    }
    check_texts(query, &a);
    (void)media_body(query);
    (void)(media_accepts_json(query) || media_accepts_discovery(query));
    /* Whatever the header, the choice is one that can be made; whatever the text, laying it out
     * ends. */
    struct media_answer m;
    FATAL_IF(media_choose(query, 0, &m) && m.shape != MEDIA_WHOLE, "a shape that cannot be");
    struct buf laid_out;
    buf_init(&laid_out);
    (void)pretty_print(query, &laid_out);
    FATAL_IF(laid_out.len > 16 * query.len + 64, "too much of it");
    buf_close(&laid_out);
    arena_close(&a);
    return 0;
}
