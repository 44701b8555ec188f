// Answers `/status/CODE/...` with that code. Usage: server PORT
package main

import (
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
)

func main() {
	handler := func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(strings.Split(r.URL.Path, "/")[2])
		if err != nil {
			code = http.StatusBadRequest
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", "3")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "go\n")
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(handler)))
}
