"""Answers `/status/CODE/...` with that code, `/chunked/CODE/...` with a chunked body, `/relay/PORT/PATH` with what the server at PORT
answers to `/status/PATH`, `/drop/...` by closing, and `/hold/...` not before the client has closed. Usage: server.py PORT [fork | at-once]

With `fork`, every accepted connection is answered by a child of its own, as soon as a line comes on standard input. With `at-once`, the
body does not wait for the client's acknowledgement of the head.
"""

import http.client
import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = "at-once" in sys.argv

    def do_GET(self):
        self.read_body()
        _, kind, code = self.path.split("/")[:3]
        if kind in ("hold", "drop"):
            if kind == "hold":
                self.connection.recv(1)
            self.close_connection = True
            return
        status = self.relay(code) if kind == "relay" else int(code)
        chunked = kind == "chunked"
        has_body = status not in (204, 304)
        body = b"python\n" if has_body else b""
        self.send_response(status)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        elif has_body:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if has_body and self.command != "HEAD":
            self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET

    def relay(self, port):
        """On a connection of the handler's own, which is one for each connection."""
        if not hasattr(self, "other"):
            self.other = http.client.HTTPConnection("127.0.0.1", int(port))
        self.other.request("GET", "/status/" + self.path.split("/", 3)[3])
        answer = self.other.getresponse()
        answer.read()
        return answer.status

    def read_body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            return
        while size := int(self.rfile.readline(), 16):
            self.rfile.read(size + 2)
        self.rfile.readline()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True

    def handle_error(self, *_):
        pass  # Clients go away.


class ForkingServer(HTTPServer):
    def process_request(self, request, client_address):
        if os.fork() == 0:
            sys.stdin.readline()
            self.finish_request(request, client_address)
            os._exit(0)
        self.close_request(request)


if __name__ == "__main__":
    server = ForkingServer if "fork" in sys.argv else Server
    server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
