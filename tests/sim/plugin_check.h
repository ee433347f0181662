/* plugin_check.h - what plugins may do to the store, checked against a model of the log.
 *
 * The model reads every committed entry by itself: which leaderships of which plugin are
 * registered where, and which requests carry which stamp. From the history's events it then knows
 * who may have made them. It shares no code with kv/epoch. The keys of plugins are numbered behind
 * those of the other clients, so that the history compares them between members too. */
#ifndef KVD_TESTS_SIM_PLUGIN_CHECK_H
#define KVD_TESTS_SIM_PLUGIN_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "tests/sim/history.h"

enum plugin_kind { PLUGIN_HELLO, PLUGIN_JANITOR, PLUGIN_SCRIBE, PLUGIN_KINDS };
const char *plugin_kind_name(enum plugin_kind kind);

/* ---- keys and values ---------------------------------------------------------------------------
 */

#define PLUGIN_KEYS       8u /* /hello/000.., and as many /ttl/ */
#define PLUGIN_KEY_HELLO  HISTORY_KEYS
#define PLUGIN_KEY_TTL    (PLUGIN_KEY_HELLO + PLUGIN_KEYS)
#define PLUGIN_KEY_SCRIBE (PLUGIN_KEY_TTL + PLUGIN_KEYS)
#define PLUGIN_KEYS_END   (PLUGIN_KEY_SCRIBE + 1u)
#define PLUGIN_KEY_BYTES  24u

static inline bool plugin_is_key(uint32_t key)
{
    return key >= HISTORY_KEYS && key < PLUGIN_KEYS_END;
}
/* Its text in out (PLUGIN_KEY_BYTES). */
struct slice plugin_key_text(uint32_t key, char *out);
/* PLUGIN_KEYS_END: not one of them. */
uint32_t plugin_parse_key(struct slice key);
/* The number that stands for a value in the history: HISTORY_NOT_UNIQUE and what it is, or the
 * client's unique number. Never 0. */
uint64_t plugin_parse_value(uint32_t key, struct slice value, int64_t lease);

/* ---- the model ---------------------------------------------------------------------------------
 */

struct plugin_model;

struct plugin_model *plugin_model_new(struct history *history);
void plugin_model_free(struct plugin_model *p);
/* A member has applied this entry; revision: the store's then. Only the first report counts. */
void plugin_model_applied(struct plugin_model *p, uint64_t index, struct slice payload,
                          int64_t revision, uint64_t now_ms);
/* A plugin's start runs on a member that has applied up to `applied`. */
void plugin_model_started(struct plugin_model *p, enum plugin_kind kind, uint64_t member,
                          uint64_t term, uint64_t epoch, uint64_t applied);
/* Checks the events that came to the history since. */
void plugin_model_follow(struct plugin_model *p);
/* Every key is as the plugins leave it in the end. */
bool plugin_model_settled(const struct plugin_model *p);

/* How often things happened, to show that they do. */
struct plugin_counts {
    uint64_t starts, stamps, expired, scribed, fenced;
};
struct plugin_counts plugin_model_counts(const struct plugin_model *p);

#endif
