/* limits.h - every bound of the program, with its unit in the name and the reason for its size.
 * A queue, batch, frame or list without a row here is a bug. Flags may set smaller or larger values
 * where the row says so. */
#ifndef KVD_BASE_LIMITS_H
#define KVD_BASE_LIMITS_H

/* Largest proposal a client may send (etcd's --max-request-bytes default). Flag. */
#define REQUEST_BYTES_MAX_DEFAULT 1572864u
/* gRPC framing may exceed the request by this much (etcd's grpcOverheadBytes). */
#define REQUEST_OVERHEAD_BYTES (512u * 1024u)
/* Operations in one list of a transaction (etcd's --max-txn-ops default). Flag. */
#define TXN_OPS_MAX_DEFAULT 128u
/* Nesting of protobuf messages we decode. Go's default is 10,000, which our decoder could take, but
 * no etcd request of use is deeper than a few levels; 100 bounds the stack. */
#define MESSAGE_DEPTH_MAX 100u
/* Target size of one raft entry: larger batches only add latency (libraft-notes section 1). */
#define BATCH_BYTES_MAX (1024u * 1024u)
/* Entries in flight; more starves commit in libraft 0.15 (guard G4). */
#define BATCHES_IN_FLIGHT_MAX 2u
/* Proposals waiting for a result; beyond it clients get TooManyRequests (contract P-08). */
#define PROPOSALS_PENDING_MAX 5000u
/* Frames queued to one peer before no more AppendEntries are made for it. */
#define PEER_QUEUE_BYTES_MAX (4u * 1024u * 1024u)
/* Memtable: seal at this size or age; refuse proposals at the hard size (design section 4). Flags.
 */
#define MEMTABLE_SEAL_BYTES_DEFAULT (16u * 1024u * 1024u)
#define MEMTABLE_SEAL_MS_DEFAULT    5000u
#define MEMTABLE_BYTES_MAX          (64u * 1024u * 1024u)
/* Views open at once, all threads together: LMDB's reader table is sized for them (64 B each). */
#define STORE_VIEWS_MAX 4096u
/* Closed views of a store kept for reuse; more are freed. */
#define STORE_VIEWS_IDLE_MAX 16u
/* Less memory than this kept by LMDB is not worth opening its file anew (store_trim). */
#define STORE_TRIM_BYTES (4u * 1024u * 1024u)
/* Cursors a view keeps for reuse. */
#define STORE_CURSORS_IDLE_MAX 4u
/* One turn of apply, range, watch catch-up or compaction on a loop thread (design section 3). */
#define SLICE_ROWS_MAX  2000u
#define SLICE_BYTES_MAX (256u * 1024u)
/* Database quota (etcd's default, 2 GiB). Flag. */
#define QUOTA_BYTES_DEFAULT (2ull * 1024u * 1024u * 1024u)
/* Distinct revisions in one catch-up response (etcd's watchBatchMaxRevs). */
#define WATCH_CATCHUP_REVISIONS_MAX 1000u
/* Responses buffered per watch stream before its watchers become unsynced (etcd's chanBufLen). */
#define WATCH_RESPONSES_BUFFERED_MAX 128u
/* Watchers one connection's stream may hold; each costs about 200 bytes. */
#define WATCHERS_PER_STREAM_MAX 100000u
/* Lease TTL ceiling in seconds (contract L-01). */
#define LEASE_TTL_SECONDS_MAX 9000000000ll
/* Revokes of expired leases proposed per pass of 500 ms (contract L-10). */
#define LEASE_REVOKES_PER_PASS_MAX 500u
/* One log line: longer values are cut. It lies on the stack of whoever logs. */
#define LOG_LINE_BYTES_MAX 16384u

/* ---- TLS (base/tls.h) ---- */
/* A file of certificates or a key: a list of every public authority has a quarter of it. */
#define TLS_FILE_BYTES_MAX (1024u * 1024u)
/* Files are looked at for changes no more often than this. */
#define TLS_CHECK_MS 1000u
/* The names of one client certificate, as text. */
#define TLS_PEER_BYTES_MAX (64u * 1024u)

/* ---- front end (rpc/) ---- */
/* TLS answers to a peer that does not read (key updates, alerts), besides what was written for it;
 * beyond: closed. */
#define RPC_TLS_UNSENT_BYTES_MAX (256u * 1024u)
/* One shared buffer per loop for reads and one for writes: a turn moves at most this much at a
 * time for a connection, and it is all a slow reader makes us copy aside. */
#define RPC_READ_BUFFER_BYTES  (64u * 1024u)
#define RPC_WRITE_BUFFER_BYTES (64u * 1024u)
/* Plaintext of one TLS record: what is written at once is best a multiple of it. */
#define RPC_TLS_RECORD_BYTES (16u * 1024u)
/* Pieces of one write. */
#define RPC_WRITE_PARTS_MAX 8u
/* Written for one connection before the others get their turn. */
#define RPC_FLUSH_BYTES_MAX (1024u * 1024u)
/* Flush rounds of one loop turn: answers that make more answers wait for the next turn after that.
 */
#define RPC_FLUSH_ROUNDS_MAX 4u
/* HTTP/2 receive windows: a stream may have this much unread; larger messages wait for a grant. */
#define RPC_STREAM_WINDOW_BYTES (256 * 1024)
#define RPC_CONN_WINDOW_BYTES   (1024 * 1024)
/* Calls open on all connections of one loop; about 1 KiB each. Beyond: REFUSED_STREAM. */
#define RPC_CALLS_MAX 262144u
/* A call with more queued than high water should stop producing until it fell to low water. */
#define RPC_CALL_HIGH_WATER_BYTES (64u * 1024u)
#define RPC_CALL_LOW_WATER_BYTES  (32u * 1024u)
/* Asked from a producing call at a time: two full DATA frames. */
#define RPC_PRODUCE_BYTES (32u * 1024u)
/* Unsent answers of one connection whose peer does not read: stop reading its requests. */
#define RPC_CONN_PAUSE_BYTES (1024u * 1024u)
/* Unsent answers of one connection (a client may leave HTTP/2 windows closed) and of all of them:
 * new calls are refused beyond. A thousand calls with answers of 64 KiB fit. */
#define RPC_CONN_OUTPUT_BYTES_MAX (64u * 1024u * 1024u)
#define RPC_OUTPUT_BYTES_MAX      (512u * 1024u * 1024u)
/* Largest message sent (gRPC's own: 2^31 - 1). */
#define RPC_SEND_BYTES_MAX 2147483647u
/* Header fields of one request: clients send about ten. */
#define RPC_HEADERS_MAX 128u
/* Streams one connection may reset (or make us reset) per second: a busy client that cancels all
 * its calls stays far below, a rapid-reset attack does not. */
#define RPC_RESETS_PER_SECOND_MAX 10000u
/* PING and SETTINGS acknowledgements waiting for a peer that does not read; beyond: closed. */
#define RPC_OUTBOUND_ACKS_MAX 10000u
/* Pings sent too early before the connection is ended (grpc-go's maxPingStrikes). */
#define RPC_PING_STRIKES_MAX 2u
/* Pings without an open call may come this often (grpc-go's defaultPingTimeout). */
#define RPC_PING_IDLE_MS 7200000u
/* A half-received message that made no progress for this long gives way when memory is short. */
#define RPC_INPUT_STALL_MS 10000u
/* After the last answer the peer may take this long to close before we do. */
#define RPC_LINGER_MS 1000u
/* Text of a gRPC status, before percent-encoding; longer ones are cut. */
#define RPC_STATUS_TEXT_BYTES_MAX 2048u
/* Freed small blocks kept for reuse per loop. */
#define RPC_POOL_BYTES_MAX (2u * 1024u * 1024u)
/* A route without a limit of its own: a request body given to its handler whole. */
#define RPC_HTTP_BODY_BYTES_MAX (64u * 1024u)
/* A streamed request body that makes no progress for so long ends its request, unless its handler
 * is what it waits for (a server's option; this is the default). */
#define RPC_HTTP_BODY_IDLE_MS 30000u
/* A body nobody wants any more is read up to here to keep its HTTP/1.1 connection; a longer one
 * costs the connection, which is cheaper for both. On HTTP/2 it is read so far and so long before
 * the stream is reset: a reset before the end of a small body makes some clients (curl 7.88) forget
 * the answer. */
#define RPC_HTTP_DRAIN_BYTES_MAX (256u * 1024u)
#define RPC_HTTP_DRAIN_MS        2000u
/* Routes of one server: an API server has one per kind at most. */
#define RPC_ROUTES_MAX 4096u
/* HTTP/1.1: bytes of following requests kept while one is answered, idle time. */
#define RPC_HTTP1_PIPELINE_BYTES_MAX (16u * 1024u)
#define RPC_HTTP1_IDLE_MS            120000u
/* A plain HTTP answer is broken off when the peer has not taken what the system was given of it (at
 * most 64 KiB) after this long (a server's option; this is the default). gRPC streams are not: etcd
 * has no such limit. */
#define RPC_HTTP_ANSWER_IDLE_MS 60000u
/* Log lines about refused connections, per second. */
#define RPC_REFUSALS_LOGGED_PER_SECOND 1u
#define RPC_LISTENERS_MAX              16u

/* ---- services (rpc/svc_*) ---- */
/* Structs of one decoded request: 40 times the largest message, far above any honest one. */
#define SVC_DECODE_BYTES_MAX (64u * 1024u * 1024u)
/* Options one reload of a plugin may change: more than any plugin has. */
#define PLUGIN_SETTINGS_MAX 256u
/* Transactions inside transactions. etcd has no limit but its operation budget; each level costs
 * two levels of message nesting and apply decodes one level more than the front end, so this keeps
 * what we accept well inside MESSAGE_DEPTH_MAX on every member. */
#define TXN_DEPTH_MAX 32u
/* Bytes buffered per watch stream besides WATCH_RESPONSES_BUFFERED_MAX, whichever comes first. */
#define WATCH_BYTES_BUFFERED_MAX (4u * 1024u * 1024u)
/* Created, canceled and progress answers a client left unread on one stream; beyond: reset. */
#define WATCH_CONTROL_BYTES_MAX (16u * 1024u * 1024u)
/* Lease renewals unanswered on one stream; beyond it the stream ends with TooManyRequests. */
#define KEEPALIVES_PENDING_MAX 10000u
/* Requests of the writes waiting for a result, all together. */
#define PROPOSALS_PENDING_BYTES_MAX (256u * 1024u * 1024u)
/* A large answer or range stream whose client takes nothing for so long is given up: its view pins
 * memory and disk. */
#define READ_STALL_MS_MAX 60000u
/* A chunk of a RangeStream: rows of the first one (S-04), bytes of the others. */
#define RANGE_STREAM_FIRST_ROWS  10u
#define RANGE_STREAM_CHUNK_BYTES (512u * 1024u)

/* ---- raft (raft/) ---- */
/* Members of one cluster, learners included; bounds every decoded configuration. */
#define MEMBERS_MAX 32u
/* A peer's address in a configuration or frame. */
#define MEMBER_ADDRESS_BYTES_MAX 255u
/* AppendEntries are split at entry boundaries at about this size, so that one catching-up follower
 * neither builds huge frames nor holds up heartbeats behind them. */
#define APPEND_FRAME_BYTES (1024u * 1024u)
/* Operations waiting in the open batch: 5,000 requests could be 7.5 GiB. */
#define PROPOSALS_QUEUED_BYTES_MAX (64u * 1024u * 1024u)
/* Peer frames kept while guard G1 waits for the disk; more are dropped, as a network may do. */
#define RAFT_HELD_BYTES_MAX (16u * 1024u * 1024u)
/* How long libraft waits for a follower's snapshot install: a copy of a big store takes minutes. A
 * follower that lost its copy says so much earlier (raft/snapshot.c). */
#define SNAPSHOT_INSTALL_MS_MAX 600000u
/* libraft's log in memory of a cluster with nobody to catch up, before a stub snapshot trims it. */
#define RAFT_SOLO_LOG_BYTES (1024u * 1024u)
/* Committed entries queued towards the store loop: beyond it new proposals are refused. */
#define RAFT_DELIVERY_BYTES_MAX (32u * 1024u * 1024u)
/* Requests queued towards the raft loop, in bytes of operations; beyond it they are refused. */
#define RAFT_REQUEST_BYTES_MAX (64u * 1024u * 1024u)

/* ---- the log (raft/log.h) ---- */
/* A segment file. Small, so that an idle data directory is (one in use, two prepared: 3 MiB). */
#define LOG_SEGMENT_BYTES_DEFAULT (1024u * 1024u)
/* Segments are read whole at start: bounds what a damaged size can make us allocate. */
#define LOG_SEGMENT_BYTES_MAX (64u * 1024u * 1024u)
/* One write to the disk; what is queued beyond it goes into the next ones. */
#define LOG_WRITE_BYTES_MAX (1024u * 1024u)
/* The write buffer shrinks to this when small writes do. */
#define LOG_BUFFER_BYTES_MIN (16u * 1024u)
/* Segments prepared ahead: the next one, and a reserve that a full disk cannot take away. */
#define LOG_SPARE_SEGMENTS 2u
/* Segments removed per request to the disk. */
#define LOG_REMOVE_BATCH 16u
/* Ticks between attempts on a full disk, each of which writes up to a segment. */
#define LOG_FULL_RETRY_TICKS 10u
/* Ticks over which the write buffer's need is judged. */
#define LOG_SHRINK_TICKS 64u
/* An entry's payload; larger ones than a request's limit allows never come. */
#define LOG_ENTRY_BYTES_MAX (256u * 1024u * 1024u)
/* A configuration file (base/yaml.h): far above what a person writes. */
#define YAML_BYTES_MAX (1024u * 1024u)
#define YAML_DEPTH_MAX 20u
#define YAML_NODES_MAX 10000u
/* Nesting that yaml_load_rules can be asked to take: objects of the API server. */
#define YAML_DEPTH_CEILING 128u

/* ---- plugins (plugins/host) ---- */
/* Messages a lane runs before timers and its loop's other work get their turn. */
#define LANE_MESSAGES_PER_TURN_MAX 256u
/* What the store loop does for sleeping plugins per look, and how often it looks per turn. */
#define LANE_HELP_US_MAX     500u
#define LANE_HELP_ROUNDS_MAX 4u
/* A message with more bytes than this is not quick: it is left to the plugin's thread. */
#define LANE_QUICK_BYTES_MAX (16u * 1024u)
/* Requests of one plugin under way at once, and their bytes; beyond: KVP_BUSY. */
#define PLUGIN_REQUESTS_MAX      4096u
#define PLUGIN_REQUEST_BYTES_MAX (64u * 1024u * 1024u)
/* Posts waiting for one context's lane; a plugin thread that posts faster is told KVP_BUSY. */
#define PLUGIN_POSTS_MAX 65536u
/* Offloaded work of all plugins that runs at once, so that libuv's pool stays usable. */
#define PLUGIN_WORKS_RUNNING_MAX 2u
/* Events given to a plugin's lane and not yet consumed, of one watch: beyond, the hub waits. */
#define PLUGIN_WATCH_EVENTS_MAX 4096u
#define PLUGIN_WATCH_BYTES_MAX  (4u * 1024u * 1024u)
/* A range answer (include/kvplugin.h promises these). */
#define PLUGIN_PAGE_ROWS_DEFAULT 1000u
#define PLUGIN_PAGE_ROWS_MAX     10000u
#define PLUGIN_PAGE_BYTES        (1024u * 1024u)
/* Label values of one metric, and series of one plugin. */
#define PLUGIN_SERIES_MAX     256u
#define PLUGIN_SERIES_ALL_MAX 4096u
/* Distinct names of work queues that are measured apart; further ones count as "other". */
#define PLUGIN_METERS_MAX 64u
/* Timers and watches of one instance; beyond, KVP_BUSY. */
#define PLUGIN_TIMERS_MAX  65536u
#define PLUGIN_WATCHES_MAX 4096u
/* Lines one instance may log in a second; the rest is counted. */
#define PLUGIN_LOG_LINES_PER_S 500u
/* Fields of one log line. */
#define PLUGIN_LOG_FIELDS_MAX 24u
/* A callback longer than this is logged: the plugin's other events waited for it. */
#define PLUGIN_CALLBACK_MS_MAX 10u
/* init may open files, make keys and tables: nobody waits for this plugin yet but its own start. */
#define PLUGIN_INIT_MS_MAX 1000u
/* One that lasts this long is told while it lasts, then each time it has doubled. */
#define PLUGIN_HANG_MS      1000u
#define PLUGIN_HANG_LOOK_MS 500u
/* HTTP of plugins. Exchanges of one plugin at once, and bytes of answers they have queued all
 * together: beyond, new requests are answered 503. */
#define PLUGIN_HTTP_EXCHANGES_MAX 65536u
#define PLUGIN_HTTP_BYTES_MAX     (256u * 1024u * 1024u)
/* Bytes one exchange (or watch of objects) has under way in one direction between a plugin's lane
 * and the store loop: from high water on its sender waits, until low water (include/kvplugin.h
 * promises 64 KiB; more would cost a thousand slow clients more than it saves in thread switches).
 */
#define PLUGIN_FLOW_HIGH_BYTES (128u * 1024u)
#define PLUGIN_FLOW_LOW_BYTES  (64u * 1024u)
/* One http_write: an object as large as the store takes, in any encoding. */
#define PLUGIN_HTTP_WRITE_BYTES_MAX (4u * 1024u * 1024u)
/* A request body when the route says nothing: what the API server takes. */
#define PLUGIN_HTTP_BODY_BYTES (3u * 1024u * 1024u)
/* Headers of one answer and their bytes. */
#define PLUGIN_HTTP_HEADERS_MAX      64u
#define PLUGIN_HTTP_HEADER_BYTES_MAX (16u * 1024u)
/* Ports and routes of one plugin. */
#define PLUGIN_HTTP_LISTENERS_MAX 16u
#define PLUGIN_HTTP_ROUTES_MAX    1024u
/* The end of an exchange that was answered waits so long for something else that wakes the plugin's
 * lane: a wake costs more than all the rest of a small answer. */
#define PLUGIN_NUDGE_MS 2u
/* Body of one object request, answer or event between plugins, and what an event costs besides. */
#define PLUGIN_OBJECT_BYTES_MAX   (64u * 1024u * 1024u)
#define PLUGIN_OBJECT_EVENT_BYTES 128u
#define PLUGIN_PROVIDES_MAX       1024u
/* What is queued on the connections of a plugin that ends may still go out for so long. */
#define PLUGIN_HTTP_GRACE_MS 500u
/* A plugin's name and the whole --plugin argument. */
#define PLUGIN_NAME_BYTES_MAX 48u
#define PLUGIN_SPEC_BYTES_MAX 4096u
/* Start again after a failure: this long, doubled up to the other. */
#define PLUGIN_RETRY_MS_MIN 1000u
#define PLUGIN_RETRY_MS_MAX 300000u
/* Deaths inside a plugin within that time that put it into quarantine. */
#define PLUGIN_STRIKES_MAX 3u
#define PLUGIN_STRIKES_MS  600000u
/* Plugins of one process: each has a place in the breadcrumb page. */
#define PLUGINS_MAX 64u
/* How long the end of the process, or an operator's request, waits for a plugin that does not
 * return from a callback. */
#define PLUGIN_STOP_MS_MAX 5000u

/* kvd --dev looks at a changed file this often until it is the same twice and complete, at most so
 * many times: then a linker that is still at work has had ten seconds. */
#define DEV_SETTLE_MS        50u
#define DEV_SETTLE_LOOKS_MAX 200u

/* ---- configuration (kvd/) ---- */
/* Longest election timeout (etcd's maxElectionMs). */
#define ELECTION_MS_MAX 50000u
/* Largest --max-request-bytes: the queue of committed entries must hold more than one. */
#define REQUEST_BYTES_MAX_CEILING (16u * 1024u * 1024u)
/* Largest --max-connections: a connection costs about 10 KiB and a file descriptor. */
#define CONNECTIONS_MAX_CEILING 1000000u
/* Least --seal-bytes: below it a checkpoint costs more than it saves. */
#define MEMTABLE_SEAL_BYTES_MIN (64u * 1024u)
/* --log-segment-bytes: a smaller file holds too few records, a larger one is slow to create. */
#define LOG_SEGMENT_BYTES_MIN (64u * 1024u)
/* --map-bytes: address space; 47 bits are all a process has. Without a quota a quarter TiB. */
#define MAP_BYTES_MIN       (16ull * 1024u * 1024u)
#define MAP_BYTES_MAX       (64ull << 40)
#define MAP_BYTES_DEFAULT   (16ull << 30)
#define MAP_BYTES_UNLIMITED (256ull << 30)
/* --reserve-bytes: more than this is no longer a reserve. */
#define RESERVE_BYTES_MAX (1ull << 30)
/* Largest quota that is advised (etcd warns above it too). */
#define QUOTA_BYTES_ADVISED (8ll << 30)
/* Longest history for periodic compaction: a hundred years, so that milliseconds fit everywhere. */
#define COMPACTION_HOURS_MAX 876000u
/* Destinations of log lines. */
#define LOG_OUTPUTS_MAX 8u

/* ---- the database (kv/) ---- */
/* A range result up to this size is kept from the first pass; larger ones are encoded on demand. */
#define RANGE_SMALL_BYTES_MAX (64u * 1024u)
/* Rows of one sorted or filtered range that are remembered, 32 bytes each; beyond: ERR_NOMEM. */
#define RANGE_SORT_ROWS_MAX (8u * 1024u * 1024u)
/* Places where a large range jumps over deleted keys instead of walking them twice, and how many
 * rows such a run has at least. */
#define RANGE_GAPS_MAX     256u
#define RANGE_GAP_ROWS_MIN 1000u
/* With a limit up to this, a sorted range remembers only as many rows as its limit. */
#define RANGE_HEAP_ROWS_MAX 65536u
/* Answer of one operation that is built in memory (transactions, prev_kvs). What does not fit is
 * refused when nothing was written, else answered as an unknown outcome; effects are unaffected. */
#define TXN_RESULT_BYTES_MAX (512u * 1024u * 1024u)
/* Alarms: a few types for each member, ever. */
#define ALARMS_MAX 4096u
/* Plugins whose leadership is remembered, and the length of their names. */
#define EPOCHS_MAX           1024u
#define EPOCH_NAME_BYTES_MAX 256u
/* Records one compaction transaction looks at: some 20 ms of the checkpoint thread. */
#define COMPACT_SLICE_ROWS_MAX 10000u
/* Recent events kept for watchers that are a little behind; only while anyone watches. */
#define WATCH_RING_EVENTS_MAX 16384u
#define WATCH_RING_BYTES_MAX  (8u * 1024u * 1024u)
/* Changes of one operation handed to watchers from memory; more is read back from the records. */
#define WATCH_STAGED_EVENTS_MAX 4096u
#define WATCH_STAGED_BYTES_MAX  (4u * 1024u * 1024u)
/* Sweeps over past revisions that run at the same time. */
#define WATCH_COHORTS_MAX 32u
/* A watcher catching up gets a response when this much is ready (or WATCH_CATCHUP_REVISIONS_MAX),
 * all members of a sweep when this much waits for them; single revisions may be larger. */
#define WATCH_CATCHUP_BYTES_MAX (1024u * 1024u)
#define WATCH_COHORT_BYTES_MAX  (16u * 1024u * 1024u)

/* ---- parts of plugin contexts: caches, work queues, controllers (plugins/host) ---- */
/* Wakes a part for which no timer could be made when it was needed. */
#define PLUGIN_PULSE_MS 5000u
/* Rows of a page of a cache's list, and rows compared or walked in one callback: below a
 * millisecond with handlers that do little. */
#define PLUGIN_CACHE_SLICE_ROWS 500u
/* Wait after a list or watch that failed: this long, doubled up to the other. */
#define PLUGIN_CACHE_RETRY_MS_MIN 100u
#define PLUGIN_CACHE_RETRY_MS_MAX 10000u
/* Indexes of one cache: each is called for each row. */
#define PLUGIN_CACHE_INDEXES_MAX 16u
/* Keys a queue hands out before other callbacks get their turn. */
#define PLUGIN_QUEUE_SLICE 64u
/* Defaults of client-go: backoff of one key, bucket of all keys. */
#define PLUGIN_QUEUE_DELAY_MS_FIRST 5u
#define PLUGIN_QUEUE_DELAY_MS_LAST  1000000u
#define PLUGIN_QUEUE_RATE           10u
#define PLUGIN_QUEUE_BURST          100u
/* What an author may ask for: keeps sums of them inside 64 bits. A year, a million a second. */
#define PLUGIN_QUEUE_DELAY_MS_MAX 31536000000ull
#define PLUGIN_QUEUE_RATE_MAX     1000000u
#define PLUGIN_QUEUE_PARALLEL_MAX 10000u

/* ---- objects of the API server (plugins/object/) ---- */
/* One object as JSON or YAML: the API server's limit on a request's body. */
#define OBJECT_BYTES_MAX (3u * 1024u * 1024u)
/* Nesting inside an object: the deepest kinds need about 25, and it bounds the stack. */
#define OBJECT_DEPTH_MAX 128u
/* Items of a list of which the schema says nothing else. */
#define OBJECT_ITEMS_MAX 2000u
/* Values in an object sent as YAML, aliases counted each time: a 3 MiB body hardly has more. */
#define OBJECT_YAML_NODES_MAX 500000u

#endif
