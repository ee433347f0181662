/* token_secret.c - Secrets of type kubernetes.io/service-account-token hold a token of the account
 * they name, the root CA and the namespace; they go with the account.
 *
 * The token is asked for from the API server, bound to the Secret: it is good while both are there.
 * Tokens of this way of getting them end some day; so far away that nobody waits for it. */
#include "base/alloc.h"
#include "plugins/controllers/ca_file.h"
#include "plugins/controllers/controllers.h"
#include "plugins/controllers/handlers.h"

#define TOKEN_SECRET_LIFE_S  3155760000ll /* a hundred years */
#define TOKEN_SECRET_ACCOUNT "metadata.annotations[kubernetes.io/service-account.name]"
#define TOKEN_SECRET_UID     "metadata.annotations[kubernetes.io/service-account.uid]"

struct token_secrets {
    struct controllers *all;
    struct works *works; /* keys of Secrets */
    struct handlers handlers;
    struct ca_file file;
};

struct token_filling { /* a Secret that waits for an answer */
    struct token_secrets *s;
    struct work *work;
    struct arena arena;
    struct object secret; /* a copy */
    struct slice account_uid;
};

static struct token_filling *token_filling_new(struct token_secrets *s, struct work *w,
                                               const struct object *secret, struct slice uid)
{
    struct token_filling *f = mem_zalloc(sizeof *f);
    if (f == NULL) {
        return NULL;
    }
    f->s = s;
    f->work = w;
    arena_init(&f->arena, 0);
    f->account_uid = arena_dup(&f->arena, uid);
    if (f->account_uid.data == NULL || object_copy(secret, &f->arena, &f->secret) != 0) {
        arena_close(&f->arena);
        mem_free(f);
        return NULL;
    }
    return f;
}

static void token_filling_free(struct token_filling *f)
{
    arena_close(&f->arena);
    mem_free(f);
}

/* ---- the account is gone -------------------------------------------------------------------- */

static void token_secret_delete(struct token_filling *f)
{
    struct slice uid = object_uid(&f->secret);
    struct slice version = object_text(&f->secret, "metadata.resourceVersion");
    struct buf body;
    buf_init(&body);
    buf_printf(&body,
               "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"preconditions\":{\"uid\":"
               "\"%.*s\",\"resourceVersion\":\"%.*s\"}}",
               (int)uid.len, (const char *)uid.data, (int)version.len, (const char *)version.data);
    struct client_request r = {.verb = KVP_VERB_DELETE,
                               .type = f->secret.type,
                               .space = object_namespace(&f->secret),
                               .name = object_name(&f->secret),
                               .body = buf_slice(&body)};
    if (body.failed || work_send(f->work, &r, WORK_NOT_FOUND_OK | WORK_CONFLICT_OK) != 0) {
        work_fail(f->work, "the deletion could not be sent");
    }
    buf_close(&body);
}

/* The cache does not have the account; the server knows. */
static void token_secret_account_asked(void *data, const struct client_answer *a)
{
    struct token_filling *f = data;
    struct object account;
    struct errmsg unused;
    struct slice uid = object_text(&f->secret, TOKEN_SECRET_UID);
    bool gone = a->status == 404;
    if (a->ok && object_decode(&account, schema_type(SCHEMA_CORE_V1_SERVICE_ACCOUNT), &f->arena,
                               a->body, NULL, &unused) == 0) {
        gone = uid.len > 0 && !slice_eq(uid, object_uid(&account));
        if (!gone) {
            work_fail(f->work, "the account is not in the cache yet");
        }
    }
    if (gone) {
        token_secret_delete(f);
    }
    token_filling_free(f);
}

static int token_secret_ask_account(struct token_secrets *s, struct work *w,
                                    const struct object *secret)
{
    struct token_filling *f = token_filling_new(s, w, secret, slice_of("", 0));
    if (f == NULL) {
        return KVP_NO_MEMORY;
    }
    struct client_request r = {.verb = KVP_VERB_GET,
                               .type = schema_type(SCHEMA_CORE_V1_SERVICE_ACCOUNT),
                               .space = object_namespace(secret),
                               .name = object_text(secret, TOKEN_SECRET_ACCOUNT),
                               .done = token_secret_account_asked,
                               .data = f};
    int rc = work_send(w, &r, WORK_NOT_FOUND_OK);
    if (rc != 0) {
        token_filling_free(f);
    }
    return rc;
}

/* ---- what it holds -------------------------------------------------------------------------- */

static bool token_secret_has(const struct object *secret, const char *key, struct slice bytes)
{
    const struct value *v = value_map_cget(object_get(secret, "data"), key);
    return v != NULL && slice_eq(value_slice(v), bytes);
}

static bool token_secret_has_token(const struct object *secret)
{
    return value_slice(value_map_cget(object_get(secret, "data"), "token")).len > 0;
}

static bool token_secret_is_full(struct token_secrets *s, const struct object *secret,
                                 struct slice account_uid)
{
    struct slice pem = buf_slice(&s->file.pem);
    return token_secret_has_token(secret) &&
           token_secret_has(secret, "namespace", object_namespace(secret)) &&
           (pem.len == 0 || token_secret_has(secret, "ca.crt", pem)) &&
           slice_eq(object_text(secret, TOKEN_SECRET_UID), account_uid);
}

/* Writes the Secret; token empty: the one it has stays. */
static int token_secret_write(struct token_filling *f, struct slice token)
{
    struct slice pem = buf_slice(&f->s->file.pem);
    struct object *o = &f->secret;
    int rc = object_set(o, "data[namespace]", value_bytes(object_namespace(o)));
    if (rc == 0 && token.len > 0) {
        rc = object_set(o, "data[token]", value_bytes(token));
    }
    if (rc == 0 && pem.len > 0) {
        rc = object_set(o, "data[ca.crt]", value_bytes(pem));
    }
    rc = rc == 0 ? object_set_text(o, TOKEN_SECRET_UID, f->account_uid) : rc;
    if (rc != 0) {
        return KVP_NO_MEMORY;
    }
    struct client_request r = {.verb = KVP_VERB_UPDATE,
                               .type = o->type,
                               .space = object_namespace(o),
                               .name = object_name(o),
                               .object = o};
    return work_send(f->work, &r, WORK_NOT_FOUND_OK | WORK_CONFLICT_OK);
}

static void token_secret_issued(void *data, const struct client_answer *a)
{
    struct token_filling *f = data;
    struct object answer;
    struct errmsg unused;
    if (a->ok) {
        int rc = object_decode(&answer, schema_type(SCHEMA_AUTHENTICATION_V1_TOKEN_REQUEST),
                               &f->arena, a->body, NULL, &unused);
        if (rc != 0 || token_secret_write(f, object_text(&answer, "status.token")) != 0) {
            work_fail(f->work, "the token could not be written");
        }
    }
    token_filling_free(f);
}

static int token_secret_request(struct token_filling *f)
{
    struct slice name = object_name(&f->secret);
    struct slice uid = object_uid(&f->secret);
    struct buf body;
    buf_init(&body);
    buf_printf(&body,
               "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenRequest\",\"spec\":{"
               "\"expirationSeconds\":%lld,\"boundObjectRef\":{\"kind\":\"Secret\","
               "\"apiVersion\":\"v1\",\"name\":\"%.*s\",\"uid\":\"%.*s\"}}}",
               TOKEN_SECRET_LIFE_S, (int)name.len, (const char *)name.data, (int)uid.len,
               (const char *)uid.data);
    struct client_request r = {.verb = KVP_VERB_CREATE,
                               .type = schema_type(SCHEMA_CORE_V1_SERVICE_ACCOUNT),
                               .sub = "token",
                               .space = object_namespace(&f->secret),
                               .name = object_text(&f->secret, TOKEN_SECRET_ACCOUNT),
                               .body = buf_slice(&body),
                               .done = token_secret_issued,
                               .data = f};
    int rc = body.failed ? KVP_NO_MEMORY : work_send(f->work, &r, WORK_NOT_FOUND_OK);
    buf_close(&body);
    return rc;
}

static int token_secret_fill(struct token_secrets *s, struct work *w, const struct object *secret,
                             struct slice account_uid)
{
    struct token_filling *f = token_filling_new(s, w, secret, account_uid);
    if (f == NULL) {
        return KVP_NO_MEMORY;
    }
    bool request = !token_secret_has_token(secret);
    int rc = request ? token_secret_request(f) : token_secret_write(f, slice_of("", 0));
    if (rc != 0 || !request) {
        token_filling_free(f);
    }
    return rc;
}

static int64_t token_secret_reconcile(void *data, struct work *w, struct slice key)
{
    struct token_secrets *s = data;
    const struct object *secret = informer_get(s->all->informers[WATCH_TOKEN_SECRETS], key);
    if (secret == NULL || object_is_deleted(secret)) {
        return KVP_DONE;
    }
    struct slice name = object_text(secret, TOKEN_SECRET_ACCOUNT);
    struct slice uid = object_text(secret, TOKEN_SECRET_UID);
    const struct object *account =
        informer_find(s->all->informers[WATCH_SERVICE_ACCOUNTS], object_namespace(secret), name);
    int rc = 0;
    if (name.len == 0) {
        return KVP_DONE;
    }
    if (account == NULL || (uid.len > 0 && !slice_eq(uid, object_uid(account)))) {
        rc = token_secret_ask_account(s, w, secret);
    } else if (!token_secret_is_full(s, secret, object_uid(account))) {
        rc = token_secret_fill(s, w, secret, object_uid(account));
    }
    return rc == 0 ? KVP_DONE : KVP_RETRY;
}

/* ---- changes -------------------------------------------------------------------------------- */

static int token_secret_add(void *data, const struct object *secret)
{
    struct token_secrets *s = data;
    handlers_queue_object(&s->handlers, s->works, secret);
    return 0;
}

static void token_secret_changed(void *data, const struct object *before, const struct object *now)
{
    (void)before;
    if (now != NULL) {
        token_secret_add(data, now);
    }
}

/* Accounts that went or came anew. */
static void token_secret_account_changed(void *data, const struct object *before,
                                         const struct object *now)
{
    struct token_secrets *s = data;
    if (now == NULL || (before != NULL && !slice_eq(object_uid(before), object_uid(now)))) {
        informer_each_in(s->all->informers[WATCH_TOKEN_SECRETS], object_namespace(before),
                         token_secret_add, s);
    }
}

static void token_secret_look(void *data)
{
    struct token_secrets *s = data;
    if (ca_file_look(&s->file)) {
        informer_each(s->all->informers[WATCH_TOKEN_SECRETS], token_secret_add, s);
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static void token_secret_close(void *self)
{
    struct token_secrets *s = self;
    handlers_off(&s->handlers);
    works_close(s->works);
    ca_file_close(&s->file);
    mem_free(s);
}

static int token_secret_begin(struct token_secrets *s, struct client term)
{
    struct informer *secrets = s->all->informers[WATCH_TOKEN_SECRETS];
    struct informer *accounts = s->all->informers[WATCH_SERVICE_ACCOUNTS];
    struct works_args a = {.name = service_account_token_controller.name,
                           .reconcile = token_secret_reconcile,
                           .data = s,
                           .informers = {secrets, accounts}};
    struct kvp_timer_args timer = {.size = sizeof timer,
                                   .after_ms = CA_FILE_REREAD_MS,
                                   .repeat_ms = CA_FILE_REREAD_MS,
                                   .fire = token_secret_look,
                                   .data = s};
    int rc = ca_file_open(&s->file, s->all, term);
    if (rc == 0 && ca_file_exists(&s->file)) {
        ca_file_look(&s->file);
    }
    rc = rc != 0 ? rc : works_open(term, &a, &s->works);
    rc = rc != 0 ? rc : handlers_add(&s->handlers, secrets, token_secret_changed, s);
    rc = rc != 0 ? rc : handlers_add(&s->handlers, accounts, token_secret_account_changed, s);
    if (rc != 0 || !ca_file_exists(&s->file)) {
        return rc;
    }
    return term.host->timer(term.ctx, &timer, NULL);
}

static int token_secret_open(struct controllers *all, struct client term, void **self)
{
    struct token_secrets *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        return KVP_NO_MEMORY;
    }
    s->all = all;
    s->handlers.term = term;
    int rc = token_secret_begin(s, term);
    if (rc != 0) {
        token_secret_close(s);
        return rc;
    }
    *self = s;
    return 0;
}

const struct controller service_account_token_controller = {.name =
                                                                "serviceaccount-token-controller",
                                                            .open = token_secret_open,
                                                            .close = token_secret_close};
