/* cmd_txn.c - kvctl txn: a transaction in etcdctl's notation on standard input.
 *
 *   value("key") = "x"        conditions, one per line; a blank line ends them
 *
 *   put key y                 what to do when all hold; a blank line
 *
 *   get key                   what to do otherwise; a blank line or the end of input */
#include <stdio.h>
#include <string.h>

#include "base/gosyntax.h"
#include "base/utf8.h"
#include "cli/cli.h"

/* Conditions, and operations of one branch; servers take 128 by default. */
#define TXN_LINES_MAX 4096

const struct arg_option cmd_txn_options[] = {
    {"interactive", 'i', ARG_BOOL, "", "say which part is wanted next"},
    {0},
};

/* ---- words
 * ----------------------------------------------------------------------------------------- */

struct txn_reader {
    struct arena *arena;
    const char *p; /* rest of a line, NUL-terminated */
};

static int txn_hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Digits of a numeric escape; false when there are too few. */
static bool txn_number(const char **p, int base, int digits, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < digits; i++, (*p)++) {
        int digit = txn_hex(**p);
        if (digit < 0 || digit >= base) {
            return false;
        }
        *out = *out * (uint32_t)base + (uint32_t)digit;
    }
    return true;
}

static size_t txn_utf8(uint32_t point, uint8_t *out)
{
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    size_t n = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (uint8_t)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    out[0] = (uint8_t)((0xf00u >> n) | point);
    return n;
}

/* What follows a backslash, as in Go's strings. Never longer than its spelling. */
static bool txn_escape(const char **p, uint8_t *out, size_t *n)
{
    static const char plain[] = "a\ab\bf\fn\nr\rt\tv\v\\\\\"\"''";
    uint32_t point = 0;
    char c = *(*p)++;
    *n = 1;
    switch (c) {
    case 'x':
        if (!txn_number(p, 16, 2, &point)) {
            return false;
        }
        out[0] = (uint8_t)point;
        return true;
    case 'u':
    case 'U':
        if (!txn_number(p, 16, c == 'u' ? 4 : 8, &point) || point > 0x10ffff ||
            (point >= 0xd800 && point < 0xe000)) {
            return false;
        }
        *n = txn_utf8(point, out);
        return true;
    default:
        break;
    }
    if (c >= '0' && c <= '7') {
        (*p)--;
        bool fits = txn_number(p, 8, 3, &point) && point <= 0xff;
        out[0] = (uint8_t)point;
        return fits;
    }
    for (size_t i = 0; i + 1 < sizeof(plain); i += 2) {
        if (plain[i] == c) {
            out[0] = (uint8_t)plain[i + 1];
            return true;
        }
    }
    return false;
}

/* Bytes from the quote at p to the one that closes it, both counted; 0 when none does. */
static size_t txn_quoted_bytes(const char *p)
{
    size_t n = 1;
    for (; p[n] != p[0]; n++) {
        if (p[0] == '"' && p[n] == '\\' && p[n + 1] != '\0') {
            n++;
        }
        if (p[n] == '\0') {
            return 0;
        }
    }
    return n + 1;
}

/* A quoted text at the reader: "..." with Go's escapes, '...' and `...` as they are. The result is
 * NUL-terminated for words without NUL. */
static int txn_quoted(struct txn_reader *r, struct slice *out, struct errmsg *e)
{
    char quote = *r->p;
    const char *p = r->p + 1;
    size_t room = txn_quoted_bytes(r->p);
    size_t len = 0;
    if (room == 0) {
        return errmsg_set(e, ERR_INVALID, "a quote is not closed: %s", r->p);
    }
    uint8_t *text = arena_alloc(r->arena, room);
    if (text == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    while (*p != quote) {
        size_t n = 1;
        if (quote == '"' && *p == '\\') {
            p++;
            if (!txn_escape(&p, text + len, &n)) {
                return errmsg_set(e, ERR_INVALID, "a backslash sequence cannot be read: %s", r->p);
            }
        } else {
            text[len] = (uint8_t)*p++;
        }
        len += n;
    }
    text[len] = '\0';
    *out = slice_of(text, len);
    r->p = p + 1;
    return 0;
}

static void txn_blanks(struct txn_reader *r)
{
    r->p += strspn(r->p, " \t\r\v\f");
}

/* A line as words: quoted ones, or up to the next blank. */
static int txn_words(struct txn_reader *r, char **words, int max, int *count, struct errmsg *e)
{
    *count = 0;
    for (txn_blanks(r); *r->p != '\0'; txn_blanks(r)) {
        struct slice word = {0};
        if (*count == max) {
            return errmsg_set(e, ERR_INVALID, "more than %d words", max);
        }
        if (*r->p == '"' || *r->p == '\'') {
            int err = txn_quoted(r, &word, e);
            if (err != 0) {
                return err;
            }
            if (memchr(word.data, '\0', word.len) != NULL) {
                return errmsg_set(e, ERR_INVALID, "a NUL byte cannot be given here");
            }
        } else {
            size_t n = strcspn(r->p, " \t\r\v\f");
            char *copy = arena_alloc(r->arena, n + 1);
            if (copy == NULL) {
                return errmsg_set(e, ERR_NOMEM, "out of memory");
            }
            memcpy(copy, r->p, n);
            copy[n] = '\0';
            word = slice_of(copy, n);
            r->p += n;
        }
        words[(*count)++] = (char *)word.data;
    }
    return 0;
}

/* ---- conditions
 * ------------------------------------------------------------------------------------ */

static const struct txn_target {
    const char *name;
    const char *short_name;
    Etcdserverpb__Compare__CompareTarget target;
    Etcdserverpb__Compare__TargetUnionCase union_case;
} txn_targets[] = {
    {"version", "ver", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION,
     ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION},
    {"create", "c", ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE,
     ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION},
    {"mod", "m", ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD,
     ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION},
    {"value", "val", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE,
     ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE},
    {"lease", "lease", ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE,
     ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE},
};

static int txn_compare_target(const char *line, const char *paren, Etcdserverpb__Compare *c,
                              struct errmsg *e)
{
    size_t n = (size_t)(paren - line);
    for (size_t i = 0; i < sizeof(txn_targets) / sizeof(txn_targets[0]); i++) {
        const struct txn_target *t = &txn_targets[i];
        if ((strlen(t->name) == n && memcmp(t->name, line, n) == 0) ||
            (strlen(t->short_name) == n && memcmp(t->short_name, line, n) == 0)) {
            c->target = t->target;
            c->target_union_case = t->union_case;
            return 0;
        }
    }
    return errmsg_set(
        e, ERR_INVALID,
        "malformed comparison: %s (unknown target %.*s: use version, create, mod, value "
        "or lease)",
        line, (int)n, line);
}

static int txn_compare_operator(struct txn_reader *r, Etcdserverpb__Compare *c)
{
    static const struct {
        const char *text;
        Etcdserverpb__Compare__CompareResult result;
    } rows[] = {
        {"!=", ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL},
        {"=", ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL},
        {">", ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER},
        {"<", ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS},
    };
    txn_blanks(r);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t n = strlen(rows[i].text);
        if (strncmp(r->p, rows[i].text, n) == 0) {
            c->result = rows[i].result;
            r->p += n;
            txn_blanks(r);
            return 0;
        }
    }
    return ERR_INVALID;
}

/* The right side, by what is compared. */
static bool txn_compare_value(Etcdserverpb__Compare *c, struct slice value)
{
    /* Behind a NUL byte a number would go on unseen: such a text is none. */
    const char *text = memchr(value.data, '\0', value.len) == NULL ? (const char *)value.data : "";
    int64_t number = 0;
    bool ok = true;
    switch (c->target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE:
        c->value = cli_bytes(value);
        return true;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
        ok = cli_hex_id(text, &number);
        c->lease = number;
        return ok;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        ok = cli_decimal(text, &number);
        c->version = number;
        return ok;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        ok = cli_decimal(text, &number);
        c->create_revision = number;
        return ok;
    default:
        ok = cli_decimal(text, &number);
        c->mod_revision = number;
        return ok;
    }
}

static int txn_compare(struct arena *arena, const char *line, Etcdserverpb__Compare *c,
                       struct errmsg *e)
{
    struct slice key = {0};
    struct slice value = {0};
    const char *paren = strchr(line, '(');
    *c = (Etcdserverpb__Compare)ETCDSERVERPB__COMPARE__INIT;
    if (paren == NULL) {
        return errmsg_set(e, ERR_INVALID,
                          "malformed comparison: %s (write it like value(\"key\") = \"x\")", line);
    }
    int err = txn_compare_target(line, paren, c, e);
    if (err != 0) {
        return err;
    }
    struct txn_reader r = {.arena = arena, .p = paren + 1};
    txn_blanks(&r);
    bool good = (*r.p == '"' || *r.p == '`') && txn_quoted(&r, &key, e) == 0 && *r.p == ')';
    if (good) {
        r.p++;
        good = txn_compare_operator(&r, c) == 0 && (*r.p == '"' || *r.p == '`') &&
               txn_quoted(&r, &value, e) == 0;
        txn_blanks(&r);
        good = good && *r.p == '\0';
    }
    if (!good) {
        return errmsg_set(e, ERR_INVALID,
                          "malformed comparison: %s (write it like value(\"key\") = \"x\"; the "
                          "operators are = != < >)",
                          line);
    }
    c->key = cli_bytes(key);
    if (!txn_compare_value(c, value)) {
        return errmsg_set(e, ERR_INVALID, "malformed comparison: %s (\"%s\" is no number)", line,
                          (const char *)value.data);
    }
    return 0;
}

/* ---- operations
 * ------------------------------------------------------------------------------------ */

static int txn_operation(struct arena *arena, const char *line, Etcdserverpb__RequestOp *op,
                         struct errmsg *e)
{
    char *words[ARGS_WORDS_MAX];
    int count = 0;
    struct txn_reader r = {.arena = arena, .p = line};
    struct args *args = arena_alloc(arena, sizeof(*args));
    *op = (Etcdserverpb__RequestOp)ETCDSERVERPB__REQUEST_OP__INIT;
    int err = txn_words(&r, words, ARGS_WORDS_MAX, &count, e);
    if (args == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    if (err != 0) {
        return err;
    }
    const char *name = count > 0 ? words[0] : "";
    bool put = strcmp(name, "put") == 0;
    bool get = strcmp(name, "get") == 0;
    if (!put && !get && strcmp(name, "del") != 0) {
        return errmsg_set(e, ERR_INVALID, "invalid txn request: %s (use put, get or del)", line);
    }
    int from = 1;
    args_init(args, put ? cmd_put_options : get ? cmd_get_options : cmd_del_options, NULL);
    err = args_parse(args, count, words, &from, false, e);
    if (err != 0) {
        return err;
    }
    size_t size = put   ? sizeof(*op->request_put)
                  : get ? sizeof(*op->request_range)
                        : sizeof(*op->request_delete_range);
    void *request = arena_alloc(arena, size);
    if (request == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    if (put) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op->request_put = request;
        return cmd_put_request(arena, args, false, request, e);
    }
    if (get) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        op->request_range = request;
        return cmd_get_request(arena, args, request, e);
    }
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op->request_delete_range = request;
    return cmd_del_request(arena, args, request, e);
}

/* ---- the whole
 * ------------------------------------------------------------------------------------- */

/* The next line without its blanks at both ends, in the arena; NULL at the end of the text, and for
 * a line that is none, then with a sentence. */
static char *txn_line(struct arena *arena, struct slice *text, struct errmsg *e)
{
    if (text->len == 0) {
        return NULL;
    }
    const uint8_t *end = memchr(text->data, '\n', text->len);
    size_t n = end != NULL ? (size_t)(end - text->data) : text->len;
    const uint8_t *start = text->data;
    *text = slice_of(start + n + (end != NULL), text->len - n - (end != NULL));
    if (memchr(start, '\0', n) != NULL) {
        errmsg_set(e, ERR_INVALID, "a line has a NUL byte: write it as \\x00 in double quotes");
        return NULL;
    }
    while (n > 0 && memchr(" \t\r\v\f", start[0], 5) != NULL) {
        start++;
        n--;
    }
    while (n > 0 && memchr(" \t\r\v\f", start[n - 1], 5) != NULL) {
        n--;
    }
    char *line = arena_alloc(arena, n + 1);
    if (line == NULL) {
        errmsg_set(e, ERR_NOMEM, "out of memory");
        return NULL;
    }
    memcpy(line, start, n);
    line[n] = '\0';
    return line;
}

/* Lines up to a blank one or the end of the text (then *ended is false), each made into a message
 * of `size` bytes by `parse`. */
static int txn_section(struct arena *arena, struct slice *text, size_t size,
                       int (*parse)(struct arena *arena, const char *line, void *out,
                                    struct errmsg *e),
                       void ***list, size_t *count, bool *ended, struct errmsg *e)
{
    *count = 0;
    *list = arena_alloc(arena, TXN_LINES_MAX * sizeof(**list));
    if (*list == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    for (;;) {
        const char *line = txn_line(arena, text, e);
        if (line == NULL || *line == '\0') {
            *ended = line != NULL;
            return line == NULL && *e->text != '\0' ? ERR_INVALID : 0;
        }
        if (*count == TXN_LINES_MAX) {
            return errmsg_set(e, ERR_INVALID, "more than %d lines in one part", TXN_LINES_MAX);
        }
        void *message = arena_zalloc(arena, size);
        if (message == NULL) {
            return errmsg_set(e, ERR_NOMEM, "out of memory");
        }
        int err = parse(arena, line, message, e);
        if (err != 0) {
            return err;
        }
        (*list)[(*count)++] = message;
    }
}

static int txn_parse_compare(struct arena *arena, const char *line, void *out, struct errmsg *e)
{
    return txn_compare(arena, line, out, e);
}

static int txn_parse_operation(struct arena *arena, const char *line, void *out, struct errmsg *e)
{
    return txn_operation(arena, line, out, e);
}

int cmd_txn_parse(struct arena *arena, struct slice text, Etcdserverpb__TxnRequest *r,
                  struct errmsg *e)
{
    *r = (Etcdserverpb__TxnRequest)ETCDSERVERPB__TXN_REQUEST__INIT;
    e->text[0] = '\0';
    bool ended = false;
    int err = txn_section(arena, &text, sizeof(Etcdserverpb__Compare), txn_parse_compare,
                          (void ***)&r->compare, &r->n_compare, &ended, e);
    if (err == 0 && !ended) {
        /* Half a file, or none at all: whoever sent this meant to do something. */
        err = errmsg_set(e, ERR_INVALID,
                         "the transaction ends before the blank line that ends its conditions");
    }
    if (err == 0) {
        err = txn_section(arena, &text, sizeof(Etcdserverpb__RequestOp), txn_parse_operation,
                          (void ***)&r->success, &r->n_success, &ended, e);
    }
    if (err == 0) {
        err = txn_section(arena, &text, sizeof(Etcdserverpb__RequestOp), txn_parse_operation,
                          (void ***)&r->failure, &r->n_failure, &ended, e);
    }
    return err;
}

/* One line of standard input into text; false at its end. *blank: nothing but blanks, which is what
 * ends a part. */
static bool txn_read_line(struct buf *text, bool *blank)
{
    size_t start = text->len;
    *blank = true;
    for (int c = getc(stdin); c != EOF; c = getc(stdin)) {
        *blank = *blank && memchr(" \t\r\v\f\n", c, 6) != NULL;
        if (!buf_append_byte(text, (uint8_t)c) || c == '\n' || text->len > CLI_STDIN_BYTES_MAX) {
            break;
        }
    }
    return !text->failed && text->len > start && text->len <= CLI_STDIN_BYTES_MAX;
}

/* Reads one part after the other, saying what is wanted; line by line, so that it works by hand. */
static int txn_interactive(struct cli *cli, struct buf *text)
{
    static const char *const parts[] = {
        "compares:", "success requests (get, put, del):", "failure requests (get, put, del):"};
    for (size_t i = 0; i < 3; i++) {
        bool blank = false;
        buf_printf(&cli->out, "%s\n", parts[i]);
        int rc = cli_flush(cli);
        if (rc != 0) {
            return rc;
        }
        while (!blank && txn_read_line(text, &blank)) {
        }
        if (text->failed || text->len > CLI_STDIN_BYTES_MAX) {
            return cli_fail(cli, CLI_BAD_INPUT, "standard input is larger than any server accepts");
        }
        /* What is wrong with this part is said before the next one is asked for. */
        Etcdserverpb__TxnRequest request;
        struct errmsg e = {""};
        if (cmd_txn_parse(&cli->arena, buf_slice(text), &request, &e) != 0) {
            return cli_fail(cli, CLI_BAD_INPUT, "%s", e.text);
        }
    }
    return 0;
}

int cmd_txn(struct cli *cli)
{
    Etcdserverpb__TxnRequest request;
    struct errmsg e = {""};
    struct slice text = {0};
    struct buf typed;
    void *response = NULL;
    int rc = cli_no_table(cli);
    if (rc != 0) {
        return rc;
    }
    if (cli->args.word_count != 0) {
        return cli_usage(cli,
                         "txn takes no arguments; the transaction is read from standard input");
    }
    buf_init(&typed);
    if (args_bool(&cli->args, "interactive")) {
        rc = txn_interactive(cli, &typed);
        text = buf_slice(&typed);
    } else {
        int err = cli_read_stdin(&cli->arena, &text, &e);
        rc = err == 0
                 ? 0
                 : cli_fail(cli, err == ERR_INVALID ? CLI_BAD_INPUT : CLI_FAILURE, "%s", e.text);
    }
    if (rc == 0 && cmd_txn_parse(&cli->arena, text, &request, &e) != 0) {
        rc = cli_fail(cli, CLI_BAD_INPUT, "%s", e.text);
    }
    if (rc == 0) {
        rc = cli_call(cli, CLIENT_TXN, &request, &response);
    }
    if (rc == 0) {
        output_txn(&cli->output, response, &cli->out);
    }
    buf_close(&typed);
    return rc;
}
