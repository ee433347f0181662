/* store_test.h - switches by which tests break the store on purpose. Debug builds only. */
#ifndef KVD_KV_STORE_TEST_H
#define KVD_KV_STORE_TEST_H

#ifdef KVD_DEBUG
#include <stdatomic.h>
#include <stdbool.h>

/* Planted bug: views accept an LMDB transaction that does not belong to their version. */
extern _Atomic bool store_test_skip_version_retry;
/* store_trim finds little worth trimming too. */
extern _Atomic bool store_test_trim_always;
/* LMDB refuses compacting copies. */
extern _Atomic bool store_test_copy_plain;
/* Called by store_view_open between taking the version and beginning the LMDB transaction. */
extern void (*store_test_view_window)(void *data);
extern void *store_test_view_window_data;
#endif

#endif
