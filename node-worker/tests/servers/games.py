"""A server that plays with descriptors, as it is told. Usage: games.py NAME [leaderless]

The first line on standard output is the port that it listens on. Then each line on standard input is one move, answered by one line:
the numbers of new descriptors, or nothing. NAME only tells the process from others. A second process, started at once, takes sockets
that are passed to it. With `leaderless`, the thread that began the process ends, and another goes on.

  accept, local       the next connection, the next one of the Unix socket @NAME
  read N HOW BYTES    so many bytes, by: read recv readv scatter recvmsg peek thread fork pass
  answer N HOW STATUS by: write send writev sendmsg file thread fork exec pass
  leave STATUS N ...  a child answers by the first of these numbers after this process has closed them all
  flight N STATUS     a thread writes a long answer; landed STATUS waits for its end
  listen N            a thread reads, and waits for what is to come; heard waits for its end
  idle N              reads nothing, twice
  dup N, fcntl N      another number for the same
  over N M, over3 N M the number M for the same as N
  close N, range N M, shutdown N
  pipe, file          what is no connection; chat R W talks HTTP through it
"""

import ctypes
import fcntl
import os
import socket
import sys
import threading

LONG = 16 << 20  # Bytes of an answer that no socket takes at once.
flights = {}
listening = []
OURS = 900  # Numbers of descriptors that are no part of the game.


def hidden(number):
    high = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, OURS)
    os.close(number)
    return high


def text_of(status):
    return b"HTTP/1.1 %s Whatever\r\nContent-Length: 4\r\n\r\n" % status.encode(), b"game"


def borrowed(number, call):
    taken = socket.socket(fileno=number)
    try:
        return call(taken)
    finally:
        taken.detach()


def wait(child):
    if os.waitpid(child, 0)[1] != 0:
        raise RuntimeError("the child failed")


def in_child(call):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            call()
            status = 0
        finally:
            os._exit(status)
    wait(child)


def in_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def read_once(number, how, size):
    if how == "readv":
        return os.readv(number, [bytearray(0), bytearray(size), bytearray(size)])
    if how == "scatter":
        return os.readv(number, [bytearray(9), bytearray(size)])
    if how == "recvmsg":
        return len(borrowed(number, lambda taken: taken.recvmsg(size))[0])
    if how == "recv":
        return len(borrowed(number, lambda taken: taken.recv(size)))
    if how == "peek":
        borrowed(number, lambda taken: (taken.recv(size, socket.MSG_PEEK), taken.recvmsg(size, 0, socket.MSG_PEEK)))
    return len(os.read(number, size))


def read(number, how, size):
    number, size = int(number), int(size)

    def all_of_it(by="read"):
        left = size
        while left > 0:
            left -= read_once(number, by, left)

    if how == "thread":
        in_thread(all_of_it)
    elif how == "fork":
        in_child(all_of_it)
    elif how == "pass":
        hand_over(number, f"read {size}")
    else:
        all_of_it(how)


def answer(number, how, status):
    number = int(number)
    head, body = text_of(status)

    def at_once():
        os.write(number, head + body)

    if how == "send":
        borrowed(number, lambda taken: taken.send(head + body))
    elif how == "writev":
        os.writev(number, [b"", head[:20], head[20:], body])
    elif how == "sendmsg":
        borrowed(number, lambda taken: taken.sendmsg([head, body]))
    elif how == "file":
        os.write(number, head)
        file = os.memfd_create("body")
        os.write(file, body)
        os.sendfile(number, file, 0, len(body))
        os.close(file)
    elif how == "thread":
        in_thread(at_once)
    elif how == "fork":
        in_child(at_once)
    elif how == "exec":
        execute(number, status)
    elif how == "pass":
        hand_over(number, f"answer {status}")
    else:
        at_once()


def execute(number, status):
    def call():
        os.set_inheritable(number, True)
        os.execv(sys.executable, [sys.executable, "-S", __file__, NAME, "answer", str(number), status])

    in_child(call)


def leave(status, *numbers):
    """The first of the numbers is the child's; all of them are closed here before it answers."""
    go, come = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(go, 1)
        answer(numbers[0], "write", status)
        os._exit(0)
    for number in numbers:
        os.close(int(number))
    os.write(come, b"g")
    wait(child)
    os.close(go)
    os.close(come)


def fly(number, status):
    head, _ = text_of(status)
    flight = threading.Thread(target=lambda: os.write(int(number), head + bytes(LONG - 4) + b"game"))
    flight.start()
    flights[status] = flight


def listen(number):
    """Returns when the thread's call has begun."""
    listener = threading.Thread(target=lambda: os.read(int(number), 100))
    listener.start()
    listening.append(listener)
    call = "0 %#x " % int(number)
    while not open("/proc/self/task/%d/syscall" % listener.native_id).read().startswith(call):
        os.sched_yield()


def hand_over(number, words):
    socket.send_fds(ours, [words.encode()], [number])
    if ours.recv(2) != b"ok":
        raise RuntimeError("the other process failed")


def take_over():
    while True:
        words, numbers, _, _ = socket.recv_fds(theirs, 100, 1)
        if not words:
            os._exit(0)
        what, size = words.decode().split()
        if what == "read":
            read(numbers[0], "recv", size)
        else:
            answer(numbers[0], "send", size)
        os.close(numbers[0])
        theirs.send(b"ok")


def idle(number):
    os.read(int(number), 0)
    try:
        borrowed(int(number), lambda taken: taken.recv(100, socket.MSG_DONTWAIT))
    except BlockingIOError:
        return
    raise RuntimeError("there was something to read")


def chat(reader, writer):
    for text in (b"GET /chat HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"):
        os.write(int(writer), text)
        if reader == writer:
            os.lseek(int(reader), 0, os.SEEK_SET)
        if os.read(int(reader), len(text)) != text:
            raise RuntimeError("the text changed")
        if reader == writer:
            os.lseek(int(reader), 0, os.SEEK_SET)


MOVES = {
    "accept": lambda: listener.accept()[0].detach(),
    "local": lambda: local.accept()[0].detach(),
    "read": read,
    "answer": answer,
    "leave": leave,
    "flight": fly,
    "landed": lambda status: flights.pop(status).join(),
    "listen": listen,
    "heard": lambda: listening.pop().join(),
    "idle": idle,
    "chat": chat,
    "close": lambda number: os.close(int(number)),
    "range": lambda first, last: os.closerange(int(first), int(last) + 1),
    "shutdown": lambda number: borrowed(int(number), lambda taken: taken.shutdown(socket.SHUT_WR)),
    "dup": lambda number: os.dup(int(number)),
    "fcntl": lambda number: fcntl.fcntl(int(number), fcntl.F_DUPFD, 3),
    "over": lambda number, other: os.dup2(int(number), int(other), inheritable=True),
    "over3": lambda number, other: os.dup2(int(number), int(other), inheritable=False),
    "pipe": os.pipe,
    "file": lambda: os.memfd_create("game", 0),
}


def play():
    for line in sys.stdin:
        name, *arguments = line.split()
        numbers = MOVES[name](*arguments)
        if isinstance(numbers, int):
            numbers = (numbers,)
        print(*(numbers or ()), flush=True)
    os._exit(0)


NAME = sys.argv[1]
if "answer" in sys.argv:
    answer(sys.argv[3], "write", sys.argv[4])
    sys.exit()

ours, theirs = (socket.socket(fileno=hidden(end.detach())) for end in socket.socketpair())
if os.fork() == 0:
    ours.close()
    take_over()
theirs.close()
listener = socket.create_server(("127.0.0.1", 0))
listener = socket.socket(fileno=hidden(listener.detach()))
local = socket.socket(socket.AF_UNIX)
local.bind("\0" + NAME)
local.listen(64)
local = socket.socket(fileno=hidden(local.detach()))
print(listener.getsockname()[1], flush=True)
if "leaderless" in sys.argv:
    threading.Thread(target=play).start()
    ctypes.CDLL(None).syscall(60, 0)  # exit(2): of this thread alone.
play()
