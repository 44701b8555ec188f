// Command checkout is the shop's Go service. It knows nothing of Shoalwatch.
//
// FAIL_RATIO makes a bad release of it: that share of all answers is 500, spread evenly.
// LATENCY is the time that every answer takes, such as 2ms.
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// evenly says yes for the given share of its calls, as evenly as whole calls allow.
func evenly(ratio float64) func() bool {
	var calls atomic.Int64
	return func() bool {
		call := calls.Add(1)
		return int64(float64(call)*ratio) > int64(float64(call-1)*ratio)
	}
}

func answer(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(http.StatusText(status) + "\n"))
	}
}

// shop serves what all of the shop's services serve, so that one load fits them all.
func shop(ratio float64, latency time.Duration) http.Handler {
	failing := evenly(ratio)
	routes := http.NewServeMux()
	routes.HandleFunc("/", answer(http.StatusOK))
	routes.HandleFunc("/missing", answer(http.StatusNotFound))
	routes.HandleFunc("/fail", answer(http.StatusServiceUnavailable))
	shop := http.NewServeMux()
	shop.HandleFunc("/healthz", answer(http.StatusOK))
	shop.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(latency)
		if failing() {
			answer(http.StatusInternalServerError)(w, r)
			return
		}
		routes.ServeHTTP(w, r)
	})
	return shop
}

func main() {
	ratio, _ := strconv.ParseFloat(os.Getenv("FAIL_RATIO"), 64)
	latency, _ := time.ParseDuration(os.Getenv("LATENCY"))
	address := ":" + envOr("PORT", "8080")
	server := &http.Server{Addr: address, Handler: shop(ratio, latency), ReadHeaderTimeout: 10 * time.Second}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	go func() {
		<-stop.Done()
		_ = server.Shutdown(context.Background())
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

func envOr(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
