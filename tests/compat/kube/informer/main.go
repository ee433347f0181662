// Many client-go informers and plain watches over many changes; none may miss or repeat one.
//
//	informer KUBECONFIG NAMESPACE WATCHERS CHANGES
//
// A writer creates a config map and updates it CHANGES times with a count, going on where it was when a
// request fails. Each watcher (a RetryWatcher; the first ones are informers) checks that the counts it sees
// only grow, by one for watchers, and ends when it has seen the last one. Prints "ready" when all watch,
// "written N" now and then, at the end one line "watchers N changes M missed A repeated B". The server may be restarted meanwhile.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	watchtools "k8s.io/client-go/tools/watch"
)

const (
	name          = "counter"
	informerCount = 10
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var missed, repeated atomic.Int64

// counter checks what one watcher sees.
type counter struct {
	last  int64
	exact bool // each count must be seen; informers may skip some when they list anew
}

func (c *counter) see(m *corev1.ConfigMap) int64 {
	n, err := strconv.ParseInt(m.Data["count"], 10, 64)
	fail(err)
	switch {
	case n <= c.last && c.exact:
		repeated.Add(1)
	case n < c.last:
		repeated.Add(1)
	case n > c.last+1 && c.exact:
		missed.Add(n - c.last - 1)
	}
	if n > c.last {
		c.last = n
	}
	return n
}

func watchAll(ctx context.Context, cs kubernetes.Interface, ns, from string, changes int64, ready *sync.WaitGroup) {
	lw := &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		o.FieldSelector = "metadata.name=" + name
		return cs.CoreV1().ConfigMaps(ns).Watch(ctx, o)
	}}
	w, err := watchtools.NewRetryWatcherWithContext(ctx, from, lw)
	fail(err)
	ready.Done()
	c := counter{exact: true}
	for event := range w.ResultChan() {
		switch event.Type {
		case watch.Added, watch.Modified:
			if c.see(event.Object.(*corev1.ConfigMap)) == changes {
				w.Stop()
				return
			}
		case watch.Error:
			fail(apierrors.FromObject(event.Object))
		}
	}
	fail(errors.New("a watch ended before the last change"))
}

func inform(ctx context.Context, cs kubernetes.Interface, ns string, changes int64, ready *sync.WaitGroup) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	factory := informers.NewSharedInformerFactoryWithOptions(cs, 0, informers.WithNamespace(ns))
	informer := factory.Core().V1().ConfigMaps().Informer()
	c := counter{}
	done := make(chan struct{})
	see := func(obj any) {
		if m := obj.(*corev1.ConfigMap); m.Name == name && c.see(m) == changes {
			close(done)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: see, UpdateFunc: func(_, now any) { see(now) }})
	fail(err)
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		fail(errors.New("an informer does not sync"))
	}
	ready.Done()
	<-done
}

// write sets the count; a request whose answer is lost is looked at before it is made again.
func write(ctx context.Context, cs kubernetes.Interface, ns string, n int64) {
	for {
		m, err := cs.CoreV1().ConfigMaps(ns).Get(ctx, name, metav1.GetOptions{})
		if err == nil && m.Data["count"] == strconv.FormatInt(n, 10) {
			return
		}
		if err == nil {
			m.Data["count"] = strconv.FormatInt(n, 10)
			if _, err = cs.CoreV1().ConfigMaps(ns).Update(ctx, m, metav1.UpdateOptions{}); err == nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			fail(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func main() {
	if len(os.Args) != 5 {
		fail(errors.New("informer KUBECONFIG NAMESPACE WATCHERS CHANGES"))
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	fail(err)
	config.QPS, config.Burst = -1, -1
	cs, err := kubernetes.NewForConfig(config)
	fail(err)
	ns := os.Args[2]
	watchers, err := strconv.Atoi(os.Args[3])
	fail(err)
	changes, err := strconv.ParseInt(os.Args[4], 10, 64)
	fail(err)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	first, err := cs.CoreV1().ConfigMaps(ns).Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"count": "0"}}, metav1.CreateOptions{})
	fail(err)
	var ready, all sync.WaitGroup
	for i := range watchers {
		ready.Add(1)
		all.Add(1)
		go func() {
			defer all.Done()
			if i < informerCount {
				inform(ctx, cs, ns, changes, &ready)
			} else {
				watchAll(ctx, cs, ns, first.ResourceVersion, changes, &ready)
			}
		}()
	}
	ready.Wait()
	fmt.Println("ready")
	for n := int64(1); n <= changes; n++ {
		write(ctx, cs, ns, n)
		if n%500 == 0 {
			fmt.Println("written", n)
		}
	}
	all.Wait()
	fmt.Printf("watchers %d changes %d missed %d repeated %d\n", watchers, changes, missed.Load(), repeated.Load())
}
