// A controller-runtime manager with two controllers, as operators are built.
//
//	manager KUBECONFIG NAMESPACE
//
// For each config map with the label echo=yes there is to be one "NAME-echo" with the same data, owned by it;
// a finalizer sees to it that "NAME-gone" is written before the config map goes. Leader election is on.
// Prints "leading" once it works; ends with SIGTERM.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

const finalizer = "kvd.example.com/echo"

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type echo struct{ client.Client }

func (r *echo) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var m corev1.ConfigMap
	if err := r.Get(ctx, req.NamespacedName, &m); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if m.Labels["echo"] != "yes" {
		return ctrl.Result{}, nil
	}
	if !m.DeletionTimestamp.IsZero() {
		gone := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: m.Name + "-gone", Namespace: m.Namespace}}
		if err := r.Create(ctx, gone); err != nil && !apierrors.IsAlreadyExists(err) {
			return ctrl.Result{}, err
		}
		if controllerutil.RemoveFinalizer(&m, finalizer) {
			return ctrl.Result{}, r.Update(ctx, &m)
		}
		return ctrl.Result{}, nil
	}
	if controllerutil.AddFinalizer(&m, finalizer) {
		if err := r.Update(ctx, &m); err != nil {
			return ctrl.Result{}, err
		}
	}
	copied := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: m.Name + "-echo", Namespace: m.Namespace}}
	_, err := controllerutil.CreateOrUpdate(ctx, r.Client, copied, func() error {
		copied.Data = m.Data
		return controllerutil.SetControllerReference(&m, copied, r.Scheme())
	})
	return ctrl.Result{}, err
}

func main() {
	if len(os.Args) != 3 {
		fail(errors.New("manager KUBECONFIG NAMESPACE"))
	}
	log.SetLogger(zap.New(zap.UseDevMode(true), zap.WriteTo(os.Stderr)))
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	fail(err)
	ns := os.Args[2]
	m, err := ctrl.NewManager(config, ctrl.Options{
		Cache:                   cache.Options{DefaultNamespaces: map[string]cache.Config{ns: {LabelSelector: labels.Everything()}}},
		LeaderElection:          true,
		LeaderElectionID:        "echo",
		LeaderElectionNamespace: ns,
		Metrics:                 metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress:  "0",
	})
	fail(err)
	err = ctrl.NewControllerManagedBy(m).For(&corev1.ConfigMap{}).Owns(&corev1.ConfigMap{}).
		WithEventFilter(predicate.ResourceVersionChangedPredicate{}).Complete(&echo{m.GetClient()})
	fail(err)
	fail(m.Add(manager.RunnableFunc(func(ctx context.Context) error {
		fmt.Println("leading")
		<-ctx.Done()
		return nil
	})))
	fail(m.Start(ctrl.SetupSignalHandler()))
}
