// Command checkout is the shop's Go service. It knows nothing of Shoalwatch.
//
// FAIL_RATIO makes a bad release of it: that share of all answers is 500, spread evenly.
// LATENCY is the time that every answer takes, such as 2ms.
// UNREADY is how long after its start it is not ready, COLD_START how long every answer is 500.
// DEPENDS_ON is the URL of a service without which every answer is 502.
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

// during says yes until so long after now.
func during(start time.Duration) func() bool {
	end := time.Now().Add(start)
	return func() bool { return time.Now().Before(end) }
}

// lacking says whether the service at the URL does not answer.
func lacking(url string) func() bool {
	client := http.Client{Timeout: 500 * time.Millisecond}
	return func() bool {
		answer, err := client.Get(url)
		if err != nil {
			return true
		}
		_ = answer.Body.Close()
		return false
	}
}

func never() bool { return false }

// settings are what makes a release a bad one.
type settings struct {
	failing, unready, cold, lacking func() bool
	latency                         time.Duration
}

func settingsOf(env func(string) string) settings {
	length := func(name string) time.Duration {
		length, _ := time.ParseDuration(env(name))
		return length
	}
	ratio, _ := strconv.ParseFloat(env("FAIL_RATIO"), 64)
	set := settings{evenly(ratio), during(length("UNREADY")), during(length("COLD_START")), never, length("LATENCY")}
	if url := env("DEPENDS_ON"); url != "" {
		set.lacking = lacking(url)
	}
	return set
}

// shop serves what all of the shop's services serve, so that one load fits them all.
func shop(set settings) http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("/", answer(http.StatusOK))
	routes.HandleFunc("/missing", answer(http.StatusNotFound))
	routes.HandleFunc("/fail", answer(http.StatusServiceUnavailable))
	shop := http.NewServeMux()
	shop.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		if set.unready() {
			answer(http.StatusServiceUnavailable)(w, r)
			return
		}
		answer(http.StatusOK)(w, r)
	})
	shop.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(set.latency)
		switch {
		case set.failing() || set.cold():
			answer(http.StatusInternalServerError)(w, r)
		case set.lacking():
			answer(http.StatusBadGateway)(w, r)
		default:
			routes.ServeHTTP(w, r)
		}
	})
	return shop
}

func main() {
	address := ":" + envOr("PORT", "8080")
	server := &http.Server{Addr: address, Handler: shop(settingsOf(os.Getenv)), ReadHeaderTimeout: 10 * time.Second}
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
