// Command load sends HTTP/1.1 requests at a steady rate and tells exactly what came back.
//
// It writes requests by hand on its own connections: net/http's client repeats a request that failed on a reused
// connection, and then the server has seen one more than the client tells.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

type options struct {
	target      string
	paths       []string
	rate        float64
	requests    int
	connections int
	perConn     int
	traceparent string
}

// maxBad is of how many bad answers the times are kept: the last ones.
const maxBad = 1000

// report is what came back so far. Answers are keyed "METHOD path status", the path as the mix has it. Times are in
// milliseconds since the start.
type report struct {
	mu      sync.Mutex
	start   time.Time
	Sent    int            `json:"sent"`
	Failed  int            `json:"failed"`
	Done    bool           `json:"done"`
	Answers map[string]int `json:"answers"`
	UpMs    int64          `json:"upMs"`
	BadMs   []int64        `json:"badMs"`
}

func (r *report) add(method, path string, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Sent++
	if status == 0 {
		r.Failed++
		return
	}
	r.Answers[fmt.Sprintf("%s %s %d", method, path, status)]++
	if status >= 500 {
		r.BadMs = append(r.BadMs[max(0, len(r.BadMs)-maxBad+1):], time.Since(r.start).Milliseconds())
	}
}

func (r *report) json() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.UpMs = time.Since(r.start).Milliseconds()
	text, _ := json.Marshal(r)
	return text
}

// connection is one keep-alive connection that is opened again when it broke or has served its share.
type connection struct {
	options *options
	conn    net.Conn
	reader  *bufio.Reader
	served  int
}

func (c *connection) open() error {
	if c.conn != nil && (c.options.perConn == 0 || c.served < c.options.perConn) {
		return nil
	}
	c.close()
	conn, err := net.DialTimeout("tcp", c.options.target, 2*time.Second)
	if err != nil {
		return err
	}
	c.conn, c.reader, c.served = conn, bufio.NewReader(conn), 0
	return nil
}

func (c *connection) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// request gives the status of the answer, or 0 when there was none.
func (c *connection) request(method, path string) int {
	if c.open() != nil {
		return 0
	}
	c.served++
	_ = c.conn.SetDeadline(time.Now().Add(10 * time.Second))
	extra := ""
	if c.options.traceparent != "" {
		extra = "traceparent: " + c.options.traceparent + "\r\n"
	}
	_, err := fmt.Fprintf(c.conn, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load\r\n%s\r\n", method, path, c.options.target, extra)
	if err != nil {
		c.close()
		return 0
	}
	answer, err := http.ReadResponse(c.reader, &http.Request{Method: method})
	if err != nil {
		c.close()
		return 0
	}
	_, err = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	if err != nil || answer.Close {
		c.close()
	}
	return answer.StatusCode
}

// tickets gives one ticket for each request: paced when there is a rate, at once when there is none.
func tickets(ctx context.Context, options *options) <-chan int {
	out := make(chan int)
	go func() {
		defer close(out)
		start := time.Now()
		for n := 0; options.requests == 0 || n < options.requests; n++ {
			if options.rate > 0 {
				due := start.Add(time.Duration(float64(n) / options.rate * float64(time.Second)))
				select {
				case <-time.After(time.Until(due)):
				case <-ctx.Done():
					return
				}
			}
			select {
			case out <- n:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func run(ctx context.Context, options *options, report *report) {
	due := tickets(ctx, options)
	var workers sync.WaitGroup
	for range options.connections {
		workers.Go(func() {
			connection := connection{options: options}
			defer connection.close()
			for n := range due {
				path := options.paths[n%len(options.paths)]
				method := "GET"
				if verb, rest, found := strings.Cut(path, " "); found {
					method, path = verb, rest
				}
				status := connection.request(method, strings.ReplaceAll(path, "{n}", fmt.Sprint(n)))
				report.add(method, path, status)
			}
		})
	}
	workers.Wait()
}

// mix spells a mix such as "/items/{n}=3,POST /orders=1" out: each entry as often as its weight says.
func mix(text string) (paths []string, err error) {
	for _, entry := range strings.Split(text, ",") {
		path, weight, found := strings.Cut(entry, "=")
		times := 1
		if found {
			if _, err := fmt.Sscanf(weight, "%d", &times); err != nil {
				return nil, fmt.Errorf("%q: write PATH=WEIGHT with a whole number", entry)
			}
		}
		for range times {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

func main() {
	var options options
	var paths, listen string
	flag.StringVar(&options.target, "target", "127.0.0.1:8080", "host:port of the server")
	flag.StringVar(&paths, "paths", "/items/{n}", "what to ask for: [METHOD ]PATH[=WEIGHT],…; {n} becomes the request's number")
	flag.Float64Var(&options.rate, "rate", 0, "requests per second; 0: as fast as they are answered")
	flag.IntVar(&options.requests, "requests", 0, "how many in all; 0: until stopped")
	flag.IntVar(&options.connections, "connections", 4, "connections at once")
	flag.IntVar(&options.perConn, "per-connection", 0, "requests on one connection before it is closed; 0: all")
	flag.StringVar(&options.traceparent, "traceparent", "", "value of the traceparent header; empty: none")
	flag.StringVar(&listen, "listen", "", "address to serve the report on, such as :8081; then load stays up after the last request")
	flag.Parse()
	var err error
	if options.paths, err = mix(paths); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	report := &report{start: time.Now(), Answers: map[string]int{}, BadMs: []int64{}}
	if listen != "" {
		go func() {
			log.Fatal(http.ListenAndServe(listen, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write(report.json())
			})))
		}()
	}
	run(ctx, &options, report)
	report.mu.Lock()
	report.Done = true
	report.mu.Unlock()
	fmt.Println(string(report.json()))
	if listen != "" {
		<-ctx.Done()
	}
}
