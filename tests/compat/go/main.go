// Command compat drives one endpoint with the official Go client and prints a transcript: a line per
// observation, the same for kvd and etcd wherever the contract is the same. Ids and terms are left out.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var (
	cli *clientv3.Client
	ctx = context.Background()
)

func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func step(name string, body func(context.Context) error) {
	c, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := body(c); err != nil {
		var e rpctypes.EtcdError
		if errors.As(err, &e) {
			say("%s: error %v: %s", name, e.Code(), e.Error())
		} else {
			say("%s: error %s", name, err)
		}
	}
}

func kvs(name string, r *clientv3.GetResponse) {
	var parts []string
	for _, kv := range r.Kvs {
		parts = append(parts, fmt.Sprintf("%s=%s(c%d m%d v%d l%d)", kv.Key, kv.Value,
			kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease))
	}
	say("%s: revision %d count %d more %v [%s]", name, r.Header.Revision, r.Count, r.More,
		strings.Join(parts, " "))
}

func get(name, key string, opts ...clientv3.OpOption) {
	step(name, func(c context.Context) error {
		r, err := cli.Get(c, key, opts...)
		if err == nil {
			kvs(name, r)
		}
		return err
	})
}

func put(key, value string, opts ...clientv3.OpOption) {
	name := "put " + key
	step(name, func(c context.Context) error {
		r, err := cli.Put(c, key, value, opts...)
		if err == nil {
			prev := "none"
			if r.PrevKv != nil {
				prev = string(r.PrevKv.Value)
			}
			say("%s: revision %d previous %s", name, r.Header.Revision, prev)
		}
		return err
	})
}

func keyValue() {
	get("empty", "nothing")
	for i := 0; i < 20; i++ {
		put(fmt.Sprintf("k/%02d", i), fmt.Sprintf("v%02d", (i*7)%20))
	}
	put("k/03", "second")
	put("k/03", "third", clientv3.WithPrevKV())
	put("", "v")
	put("k/04", "", clientv3.WithIgnoreValue())
	put("absent", "", clientv3.WithIgnoreValue())
	put("absent", "", clientv3.WithIgnoreLease())
	put("k/05", "v", clientv3.WithLease(4242))
	get("one", "k/03")
	get("prefix", "k/", clientv3.WithPrefix())
	get("limit", "k/", clientv3.WithPrefix(), clientv3.WithLimit(3))
	get("from key", "k/17", clientv3.WithFromKey())
	get("range", "k/05", clientv3.WithRange("k/08"))
	get("inverted range", "k/08", clientv3.WithRange("k/05"))
	get("keys only", "k/0", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	get("count only", "k/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	get("serializable", "k/03", clientv3.WithSerializable())
	for _, target := range []clientv3.SortTarget{clientv3.SortByKey, clientv3.SortByVersion,
		clientv3.SortByCreateRevision, clientv3.SortByModRevision, clientv3.SortByValue} {
		for _, order := range []clientv3.SortOrder{clientv3.SortNone, clientv3.SortAscend,
			clientv3.SortDescend} {
			for _, limit := range []int64{0, 4} {
				get(fmt.Sprintf("sort %d %d limit %d", target, order, limit), "k/",
					clientv3.WithPrefix(), clientv3.WithSort(target, order),
					clientv3.WithLimit(limit))
			}
		}
	}
	for rev := int64(-1); rev < 30; rev += 3 {
		get(fmt.Sprintf("revision %d", rev), "k/0", clientv3.WithPrefix(), clientv3.WithRev(rev))
	}
	get("future", "k/03", clientv3.WithRev(1000))
	get("min mod", "k/", clientv3.WithPrefix(), clientv3.WithMinModRev(10))
	get("max mod", "k/", clientv3.WithPrefix(), clientv3.WithMaxModRev(10))
	get("min create, limit", "k/", clientv3.WithPrefix(), clientv3.WithMinCreateRev(10),
		clientv3.WithLimit(2))
	get("max create", "k/", clientv3.WithPrefix(), clientv3.WithMaxCreateRev(10))
	for _, opts := range [][]clientv3.OpOption{{}, {clientv3.WithPrevKV()},
		{clientv3.WithRange("k/19"), clientv3.WithPrevKV()}, {}} {
		step("delete", func(c context.Context) error {
			r, err := cli.Delete(c, "k/15", opts...)
			if err == nil {
				say("delete: revision %d deleted %d", r.Header.Revision, r.Deleted)
				for _, kv := range r.PrevKvs {
					say("  previous %s=%s", kv.Key, kv.Value)
				}
			}
			return err
		})
	}
	put("binary\x00\xff\x00", "\x00\x01\xff")
	get("binary", "binary\x00", clientv3.WithPrefix())
	long := strings.Repeat("long/", 820)
	put(long+"b", "2")
	put(long+"a", "1")
	put(long, "0")
	step("long keys", func(c context.Context) error {
		r, err := cli.Get(c, long, clientv3.WithPrefix())
		if err == nil {
			for _, kv := range r.Kvs {
				say("long key of %d bytes = %s", len(kv.Key), kv.Value)
			}
		}
		return err
	})
	step("large value", func(c context.Context) error {
		if _, err := cli.Put(c, "large", strings.Repeat("x", 1572864-100)); err != nil {
			return err
		}
		r, err := cli.Get(c, "large")
		if err == nil {
			say("large value of %d bytes", len(r.Kvs[0].Value))
		}
		return err
	})
	step("too large", func(c context.Context) error {
		_, err := cli.Put(c, "large", strings.Repeat("x", 1572864))
		return err
	})
}

func txn(name string, t clientv3.Txn) {
	r, err := t.Commit()
	if err != nil {
		say("%s: error %s", name, err)
		return
	}
	say("%s: succeeded %v revision %d responses %d", name, r.Succeeded, r.Header.Revision,
		len(r.Responses))
	printOps("  ", r.Responses)
}

func printOps(indent string, ops []*pb.ResponseOp) {
	for _, op := range ops {
		switch o := op.Response.(type) {
		case *pb.ResponseOp_ResponsePut:
			say("%sput header %v", indent, o.ResponsePut.Header)
		case *pb.ResponseOp_ResponseRange:
			say("%srange header %v count %d kvs %d", indent, o.ResponseRange.Header,
				o.ResponseRange.Count, len(o.ResponseRange.Kvs))
		case *pb.ResponseOp_ResponseDeleteRange:
			say("%sdelete header %v deleted %d", indent, o.ResponseDeleteRange.Header,
				o.ResponseDeleteRange.Deleted)
		case *pb.ResponseOp_ResponseTxn:
			say("%stxn header %v succeeded %v", indent, o.ResponseTxn.Header,
				o.ResponseTxn.Succeeded)
			printOps(indent+"  ", o.ResponseTxn.Responses)
		}
	}
}

func transactions() {
	put("t/a", "1")
	c := clientv3.Compare
	txn("success", cli.Txn(ctx).If(c(clientv3.Value("t/a"), "=", "1"),
		c(clientv3.Version("t/a"), "=", 1), c(clientv3.ModRevision("t/a"), ">", 1)).
		Then(clientv3.OpPut("t/b", "2"), clientv3.OpGet("t/", clientv3.WithPrefix()),
			clientv3.OpDelete("t/a"), clientv3.OpGet("t/", clientv3.WithPrefix())).
		Else(clientv3.OpPut("t/no", "no")))
	txn("failure", cli.Txn(ctx).If(c(clientv3.CreateRevision("t/a"), ">", 0)).
		Then(clientv3.OpPut("t/no", "no")).Else(clientv3.OpGet("t/b")))
	txn("absent", cli.Txn(ctx).If(c(clientv3.Version("none"), "=", 0),
		c(clientv3.LeaseValue("none"), "=", 0)).Then(clientv3.OpGet("t/b")))
	txn("absent value", cli.Txn(ctx).If(c(clientv3.Value("none"), "!=", "x")).
		Then(clientv3.OpGet("t/b")))
	txn("range compare", cli.Txn(ctx).If(c(clientv3.ModRevision("k/"), ">", 1).WithPrefix()).
		Then(clientv3.OpPut("t/range", "yes")))
	txn("range compare fails", cli.Txn(ctx).If(c(clientv3.Version("k/"), "=", 1).WithPrefix()).
		Then(clientv3.OpPut("t/range", "yes")).Else(clientv3.OpPut("t/range", "no")))
	txn("range compare, empty", cli.Txn(ctx).If(c(clientv3.Version("none/"), "=", 0).WithPrefix()).
		Then(clientv3.OpPut("t/range", "empty")))
	txn("nested", cli.Txn(ctx).If(c(clientv3.Version("t/b"), ">", 0)).Then(
		clientv3.OpPut("t/c", "3"),
		clientv3.OpTxn([]clientv3.Cmp{c(clientv3.Version("t/c"), "=", 0)},
			[]clientv3.Op{clientv3.OpPut("t/d", "4"), clientv3.OpGet("t/", clientv3.WithPrefix())},
			[]clientv3.Op{clientv3.OpPut("t/e", "5")}),
		clientv3.OpGet("t/", clientv3.WithPrefix())))
	txn("nested, read only", cli.Txn(ctx).Then(
		clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpGet("t/b")}, nil)))
	txn("duplicate", cli.Txn(ctx).Then(clientv3.OpPut("t/x", "1"), clientv3.OpPut("t/x", "2")))
	txn("overlap", cli.Txn(ctx).Then(clientv3.OpPut("t/x", "1"),
		clientv3.OpDelete("t/", clientv3.WithPrefix())))
	txn("nested duplicate", cli.Txn(ctx).Then(clientv3.OpPut("t/x", "1"),
		clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("t/x", "2")}, nil)))
	var many []clientv3.Op
	for i := 0; i < 128; i++ {
		many = append(many, clientv3.OpPut(fmt.Sprintf("many/%03d", i), "x"))
	}
	txn("128 operations", cli.Txn(ctx).Then(many...))
	txn("129 operations", cli.Txn(ctx).Then(append(many, clientv3.OpGet("x"))...))
	txn("future range", cli.Txn(ctx).Then(clientv3.OpPut("t/y", "1"),
		clientv3.OpGet("t/b", clientv3.WithRev(100000))))
	txn("unknown lease", cli.Txn(ctx).Then(clientv3.OpPut("t/y", "1"),
		clientv3.OpPut("t/z", "1", clientv3.WithLease(4242))))
	get("no trace", "t/y")
	txn("empty", cli.Txn(ctx))
	txn("empty key", cli.Txn(ctx).Then(clientv3.OpGet("")))
}

func collect(w clientv3.WatchChan, want int) []string {
	var lines []string
	timeout := time.After(20 * time.Second)
	for len(lines) < want {
		select {
		case r, ok := <-w:
			if !ok {
				return append(lines, "closed")
			}
			if r.Err() != nil {
				return append(lines, fmt.Sprintf("error %v compact %d", r.Err(), r.CompactRevision))
			}
			for _, e := range r.Events {
				line := fmt.Sprintf("%s %s=%s(c%d m%d v%d)", e.Type, e.Kv.Key, e.Kv.Value,
					e.Kv.CreateRevision, e.Kv.ModRevision, e.Kv.Version)
				if e.PrevKv != nil {
					line += fmt.Sprintf(" previous %s", e.PrevKv.Value)
				}
				lines = append(lines, line)
			}
		case <-timeout:
			return append(lines, "timeout")
		}
	}
	return lines
}

func watches() {
	first := mustPut("w/a", "1")
	c, cancel := context.WithCancel(ctx)
	defer cancel()
	now := cli.Watch(c, "w/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if r := <-now; !r.Created {
		say("watch now: not created first")
	}
	for i := 2; i < 6; i++ {
		mustPut("w/a", fmt.Sprint(i))
	}
	cli.Delete(ctx, "w/a")
	mustPut("w/b", "x")
	for _, line := range collect(now, 6) {
		say("watch now: %s", line)
	}
	for _, form := range []struct {
		name string
		opts []clientv3.OpOption
	}{
		{"past", []clientv3.OpOption{clientv3.WithRev(first)}},
		{"previous", []clientv3.OpOption{clientv3.WithRev(first), clientv3.WithPrevKV()}},
		{"fragment", []clientv3.OpOption{clientv3.WithRev(first), clientv3.WithFragment()}},
	} {
		lines := collect(cli.Watch(c, "w/", append(form.opts, clientv3.WithPrefix())...), 7)
		say("watch %s: %s", form.name, strings.Join(lines, "; "))
	}
	say("watch no put: %s", strings.Join(collect(cli.Watch(c, "w/", clientv3.WithPrefix(),
		clientv3.WithRev(first), clientv3.WithFilterPut()), 1), "; "))
	say("watch no delete: %s", strings.Join(collect(cli.Watch(c, "w/", clientv3.WithPrefix(),
		clientv3.WithRev(first), clientv3.WithFilterDelete()), 6), "; "))
	compactRevision := mustPut("w/c", "1")
	cli.Compact(ctx, compactRevision)
	say("watch compacted: %s", strings.Join(collect(cli.Watch(c, "w/", clientv3.WithPrefix(),
		clientv3.WithRev(first)), 7), "; "))
	say("watch at the compaction: %s", strings.Join(collect(cli.Watch(c, "w/", clientv3.WithPrefix(),
		clientv3.WithRev(compactRevision)), 1), "; "))
	future := cli.Watch(c, "w/f", clientv3.WithRev(compactRevision+3))
	mustPut("w/f", "1")
	mustPut("w/f", "2")
	mustPut("w/f", "3")
	say("watch future: %s", strings.Join(collect(future, 1), "; "))
	progress := cli.Watch(c, "w/p", clientv3.WithCreatedNotify())
	<-progress
	revision := mustPut("other", "1")
	for {
		cli.RequestProgress(c)
		r := <-progress
		if r.IsProgressNotify() && r.Header.Revision >= revision {
			say("watch progress: reached the store's revision")
			break
		}
	}
}

func mustPut(key, value string, opts ...clientv3.OpOption) int64 {
	r, err := cli.Put(ctx, key, value, opts...)
	if err != nil {
		say("put %s: %s", key, err)
		os.Exit(1)
	}
	return r.Header.Revision
}

func thousandWatchers() {
	const watchers, writes = 1000, 20
	var wait sync.WaitGroup
	var lock sync.Mutex
	bad := 0
	c, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	revision := mustPut("many-watchers", "start")
	for i := 0; i < watchers; i++ {
		w := cli.Watch(c, "many-watchers", clientv3.WithRev(revision+1))
		wait.Add(1)
		go func() {
			defer wait.Done()
			next := revision + 1
			for r := range w {
				for _, e := range r.Events {
					if e.Kv.ModRevision != next {
						lock.Lock()
						bad++
						lock.Unlock()
					}
					next++
				}
				if next == revision+1+writes {
					return
				}
			}
			lock.Lock()
			bad++
			lock.Unlock()
		}()
	}
	for i := 0; i < writes; i++ {
		mustPut("many-watchers", fmt.Sprint(i))
	}
	wait.Wait()
	say("1000 watchers: %d saw anything but each event once, in order", bad)
}

func leases() {
	l, err := cli.Grant(ctx, 100)
	if err != nil {
		say("grant: %s", err)
		return
	}
	say("grant: ttl %d", l.TTL)
	mustPut("l/1", "x", clientv3.WithLease(l.ID))
	mustPut("l/2", "x", clientv3.WithLease(l.ID))
	t, err := cli.TimeToLive(ctx, l.ID, clientv3.WithAttachedKeys())
	if err == nil {
		var keys []string
		for _, k := range t.Keys {
			keys = append(keys, string(k))
		}
		sort.Strings(keys)
		say("time to live: granted %d alive %v keys %v", t.GrantedTTL, t.TTL > 90, keys)
	}
	k, err := cli.KeepAliveOnce(ctx, l.ID)
	if err == nil {
		say("keep alive: ttl %d", k.TTL)
	}
	_, err = cli.KeepAliveOnce(ctx, 4242)
	say("keep alive unknown: %v", err)
	t, err = cli.TimeToLive(ctx, 4242)
	if err == nil {
		say("time to live unknown: ttl %d granted %d", t.TTL, t.GrantedTTL)
	}
	all, err := cli.Leases(ctx)
	if err == nil {
		say("leases: %d", len(all.Leases))
	}
	r, err := cli.Revoke(ctx, l.ID)
	if err == nil {
		say("revoke: revision %d", r.Header.Revision)
	}
	_, err = cli.Revoke(ctx, l.ID)
	say("revoke again: %v", err)
	get("after revoke", "l/", clientv3.WithPrefix())
	step("ttl too large", func(c context.Context) error {
		_, err := cli.Grant(c, 9000000001)
		return err
	})
	small, err := cli.Grant(ctx, 1)
	if err != nil {
		say("small ttl: %s", err)
		return
	}
	say("small ttl: %d", small.TTL)
	revision := mustPut("l/expire/a", "x", clientv3.WithLease(small.ID))
	mustPut("l/expire/b", "x", clientv3.WithLease(small.ID))
	w := cli.Watch(ctx, "l/expire", clientv3.WithPrefix(), clientv3.WithRev(revision+2))
	for _, line := range collect(w, 2) {
		say("expiry: %s", line[:strings.Index(line, "=")])
	}
	put("attach to expired", "x", clientv3.WithLease(small.ID))
}

func maintenance() {
	for _, revision := range []int64{2, 10000000} {
		step("compact", func(c context.Context) error {
			_, err := cli.Compact(c, revision)
			return err
		})
	}
	now := mustPut("m/1", "x")
	step("compact physical", func(c context.Context) error {
		_, err := cli.Compact(c, now, clientv3.WithCompactPhysical())
		if err == nil {
			say("compact physical: ok")
		}
		return err
	})
	get("compacted", "m/1", clientv3.WithRev(now-1))
	get("at the floor", "m/1", clientv3.WithRev(now))
	step("members", func(c context.Context) error {
		r, err := cli.MemberList(c)
		if err == nil {
			say("members: %d, named %s, learner %v, revision %d", len(r.Members),
				r.Members[0].Name, r.Members[0].IsLearner, r.Header.Revision)
		}
		return err
	})
	endpoint := cli.Endpoints()[0]
	step("status", func(c context.Context) error {
		r, err := cli.Status(c, endpoint)
		if err == nil {
			say("status: leader is this member %v, errors %v, sizes sane %v",
				r.Leader == r.Header.MemberId, r.Errors,
				r.DbSize > 0 && r.DbSizeInUse <= r.DbSize)
		}
		return err
	})
	step("alarms", func(c context.Context) error {
		r, err := cli.AlarmList(c)
		if err == nil {
			say("alarms: %d", len(r.Alarms))
		}
		return err
	})
	before, err := cli.HashKV(ctx, endpoint, 0)
	if err != nil {
		say("hashkv: %s", err)
		return
	}
	step("defragment", func(c context.Context) error {
		_, err := cli.Defragment(c, endpoint)
		return err
	})
	after, err := cli.HashKV(ctx, endpoint, 0)
	say("hashkv after defragmentation equal: %v %v compact revision %d", err,
		before.Hash == after.Hash, after.CompactRevision-now)
	step("hashkv future", func(c context.Context) error {
		_, err := cli.HashKV(c, endpoint, 1000000)
		return err
	})
	say("hashkv at the end %d", after.Hash)
}

func main() {
	var err error
	cli, err = clientv3.New(clientv3.Config{Endpoints: []string{os.Args[1]},
		DialTimeout: 10 * time.Second})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer cli.Close()
	for _, part := range []struct {
		name string
		body func()
	}{{"kv", keyValue}, {"txn", transactions}, {"watch", watches},
		{"1000 watchers", thousandWatchers}, {"lease", leases}, {"maintenance", maintenance}} {
		say("# %s", part.name)
		part.body()
	}
}
