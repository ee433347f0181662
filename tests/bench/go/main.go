// What hello.so does, as a program of its own over gRPC, and the client that measures both.
//
//	reaction controller ENDPOINT             stamps empty values under /hello/; says "synced"
//	reaction measure ENDPOINT CLIENTS COUNT  puts empty values, waits until a watch sees the stamp
//	reaction fill ENDPOINT COUNT             puts so many stamped keys
//
// The controller is built as controllers are: a cache by list then watch, and the work queue of
// client-go with one worker, as hello.so has.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/client-go/util/workqueue"
)

const (
	prefix    = "/hello/"
	stamp     = "stamped"
	putsAhead = 64
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// ---- the controller

type row struct {
	value       []byte
	modRevision int64
}

type controller struct {
	cli   *clientv3.Client
	queue workqueue.TypedRateLimitingInterface[string]
	mu    sync.Mutex
	cache map[string]row
}

// list replaces the cache and returns its revision.
func (c *controller) list(ctx context.Context) (int64, error) {
	r, err := c.cli.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return 0, err
	}
	cache := make(map[string]row, len(r.Kvs))
	for _, kv := range r.Kvs {
		cache[string(kv.Key)] = row{kv.Value, kv.ModRevision}
	}
	c.mu.Lock()
	c.cache = cache
	c.mu.Unlock()
	for key := range cache {
		c.queue.Add(key)
	}
	return r.Header.Revision, nil
}

func (c *controller) take(event *clientv3.Event) {
	key := string(event.Kv.Key)
	c.mu.Lock()
	if event.Type == clientv3.EventTypeDelete {
		delete(c.cache, key)
	} else {
		c.cache[key] = row{event.Kv.Value, event.Kv.ModRevision}
	}
	c.mu.Unlock()
	c.queue.Add(key)
}

// follow lists, watches until that fails, and so on.
func (c *controller) follow(ctx context.Context) {
	for synced := false; ; {
		revision, err := c.list(ctx)
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if !synced {
			fmt.Println("synced")
			synced = true
		}
		for r := range c.cli.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(revision+1)) {
			for _, event := range r.Events {
				c.take(event)
			}
		}
	}
}

func (c *controller) reconcile(ctx context.Context, key string) error {
	c.mu.Lock()
	seen, there := c.cache[key]
	c.mu.Unlock()
	if !there || len(seen.value) > 0 {
		return nil
	}
	r, err := c.cli.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", seen.modRevision)).
		Then(clientv3.OpPut(key, stamp)).Commit()
	if err == nil && !r.Succeeded {
		err = fmt.Errorf("%s was written meanwhile", key)
	}
	return err
}

func (c *controller) work(ctx context.Context) {
	for {
		key, shutdown := c.queue.Get()
		if shutdown {
			return
		}
		if c.reconcile(ctx, key) != nil {
			c.queue.AddRateLimited(key)
		} else {
			c.queue.Forget(key)
		}
		c.queue.Done(key)
	}
}

// ---- the client that measures

type result struct {
	P50us float64 `json:"p50_us"`
	P99us float64 `json:"p99_us"`
	Count int     `json:"count"`
}

// loop puts an empty value and waits for the stamp behind it, count times.
func loop(ctx context.Context, cli *clientv3.Client, key string, stamped chan int64, count int) []float64 {
	took := make([]float64, 0, count)
	for i := 0; i < count; i++ {
		start := time.Now()
		r, err := cli.Put(ctx, key, "")
		fail(err)
		for revision := range stamped {
			if revision > r.Header.Revision {
				break
			}
		}
		took = append(took, float64(time.Since(start).Nanoseconds())/1e3)
	}
	return took
}

func measure(ctx context.Context, cli *clientv3.Client, clients, count int) {
	channels := make(map[string]chan int64, clients)
	keys := make([]string, clients)
	for i := range keys {
		keys[i] = fmt.Sprintf("%sclient-%04d", prefix, i)
		channels[keys[i]] = make(chan int64, putsAhead)
	}
	watch := cli.Watch(ctx, prefix+"client-", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-watch
	go func() {
		for r := range watch {
			for _, event := range r.Events {
				if to := channels[string(event.Kv.Key)]; to != nil && string(event.Kv.Value) == stamp {
					to <- event.Kv.ModRevision
				}
			}
		}
	}()
	var wait sync.WaitGroup
	all := make([][]float64, clients)
	for i, key := range keys {
		wait.Add(1)
		go func() {
			defer wait.Done()
			all[i] = loop(ctx, cli, key, channels[key], count/clients)
		}()
	}
	wait.Wait()
	var took []float64
	for _, one := range all {
		took = append(took, one...)
	}
	sort.Float64s(took)
	fail(json.NewEncoder(os.Stdout).Encode(result{took[len(took)/2], took[len(took)*99/100], len(took)}))
}

func fill(ctx context.Context, cli *clientv3.Client, count int) {
	var wait sync.WaitGroup
	next := make(chan int)
	for range putsAhead {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for i := range next {
				_, err := cli.Put(ctx, fmt.Sprintf("%sfilled-%06d", prefix, i), stamp)
				fail(err)
			}
		}()
	}
	for i := range count {
		next <- i
	}
	close(next)
	wait.Wait()
}

func number(at int) int {
	n, err := strconv.Atoi(os.Args[at])
	fail(err)
	return n
}

func main() {
	if len(os.Args) < 3 {
		fail(fmt.Errorf("usage: reaction controller|measure|fill ENDPOINT ..."))
	}
	cli, err := clientv3.New(clientv3.Config{Endpoints: []string{os.Args[2]}, DialTimeout: 10 * time.Second})
	fail(err)
	ctx := context.Background()
	switch os.Args[1] {
	case "controller":
		c := &controller{cli: cli, queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.DefaultTypedControllerRateLimiter[string]())}
		go c.follow(ctx)
		c.work(ctx)
	case "measure":
		measure(ctx, cli, number(3), number(4))
	case "fill":
		fill(ctx, cli, number(3))
	}
}
