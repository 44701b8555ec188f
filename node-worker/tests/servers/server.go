// Answers `/status/CODE/...` with that code, `/chunked/CODE/...` with a chunked body, `/relay/PORT/PATH` with what the server at
// PORT answers to `/status/PATH`, `/drop/...` by closing, and `/hold/...` not before the client has closed. Usage: server PORT
package main

import (
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
)

func answer(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	words := strings.Split(r.URL.Path, "/")
	switch words[1] {
	case "hold":
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case "drop":
		panic(http.ErrAbortHandler)
	}
	code, err := strconv.Atoi(words[2])
	if words[1] == "relay" {
		code, err = relay(words[2], strings.SplitN(r.URL.Path, "/", 4)[3])
	}
	if err != nil {
		code = http.StatusBadRequest
	}
	hasBody := code != http.StatusNoContent && code != http.StatusNotModified
	chunked := words[1] == "chunked"
	if hasBody && !chunked {
		w.Header().Set("Content-Length", "3")
	}
	w.WriteHeader(code)
	if chunked {
		w.(http.Flusher).Flush()
	}
	if hasBody {
		_, _ = io.WriteString(w, "go\n")
	}
}

func relay(port, path string) (int, error) {
	answer, err := http.Get("http://127.0.0.1:" + port + "/status/" + path)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

func main() {
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(answer)))
}
