"""catalog is the shop's Python service. It knows nothing of Shoalwatch."""

import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STATUS = {"/missing": 404, "/fail": 503}


class Catalog(BaseHTTPRequestHandler):
    """Answers what all of the shop's services answer, so that one load fits them all."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        body = b"catalog\n"
        self.send_response(STATUS.get(self.path.split("?")[0], 200))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        """Quiet: a line for each request would be the slowest part."""


server = ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Catalog)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
sys.exit(0)
