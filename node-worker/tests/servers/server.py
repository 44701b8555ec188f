"""Answers `/status/CODE/...` with that code. Usage: server.py PORT [fork]

With `fork`, every accepted connection is answered by a child of its own, as soon as a line comes on standard input.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        length = int(self.headers.get("Content-Length", 0))
        self.rfile.read(length)
        body = b"python\n"
        self.send_response(int(self.path.split("/")[2]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


class ForkingServer(HTTPServer):
    def process_request(self, request, client_address):
        if os.fork() == 0:
            sys.stdin.readline()
            self.finish_request(request, client_address)
            os._exit(0)
        self.close_request(request)


if __name__ == "__main__":
    server = ForkingServer if "fork" in sys.argv else ThreadingHTTPServer
    server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
