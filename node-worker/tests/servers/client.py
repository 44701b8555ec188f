"""Asks as it is told. Usage: client.py NAME

Each line on standard input is `HOST:PORT PATH`; the answer's status, or 0 where none came, goes to standard output. Connections are
kept, one for each peer. NAME only tells the process from others.
"""

import http.client
import sys

connections = {}
for line in sys.stdin:
    peer, path = line.split()
    connection = connections.setdefault(peer, http.client.HTTPConnection(peer))
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        status = answer.status
    except (http.client.RemoteDisconnected, ConnectionResetError):
        connection.close()
        status = 0
    print(status, flush=True)
