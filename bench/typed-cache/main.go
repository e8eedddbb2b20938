// What the pods of a cluster take as typed objects in the cache of an informer, the usual way to keep them in Go: to compare the
// operator's Pod API with. `datakit-operator-bench pods --typed-cache FILE` runs it beside the operator, on the same pods.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func main() {
	server := flag.String("server", "", "the API server's address")
	flag.Parse()
	if err := run(*server); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(server string) error {
	config := &rest.Config{Host: server, QPS: -1}
	config.ContentType = "application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	started := time.Now()
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("%v were not listed in time", kind)
		}
	}
	listed := time.Since(started)
	peak := resident()
	// What the list itself took is given back.
	runtime.GC()
	debug.FreeOSMemory()
	fmt.Printf("%d pods in an informer's cache (Go): listed in %.1f s, resident %s MiB then, %s MiB after a collection\n",
		len(pods.GetStore().ListKeys()), listed.Seconds(), peak, resident())
	return nil
}

// Resident memory in MiB.
func resident() string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "?"
	}
	for line := range strings.Lines(string(status)) {
		var kib int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			return fmt.Sprint(kib >> 10)
		}
	}
	return "?"
}
