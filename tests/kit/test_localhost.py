"""Names below localhost in a process that was taught them: each test has a process of its own."""
from __future__ import annotations

import subprocess
import sys

BEGIN = """
import socket
from windlass.kit import localhost

def nobody_knows(host, *args, **kwargs):  # a resolver without nss-myhostname
    address = {"localhost": "127.0.0.1", "known.localhost": "10.1.2.3"}.get(host)
    if address:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, args[0]))]
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

socket.getaddrinfo = nobody_knows
localhost.teach()
localhost.teach()
"""


def told(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", BEGIN + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_names_below_localhost_are_this_machine():
    code = "print([socket.getaddrinfo(n, 80)[0][4][0] for n in ('a--b.localhost', 'A.B.LocalHost.', b'x.localhost')])"
    assert told(code) == "['127.0.0.1', '127.0.0.1', '127.0.0.1']"


def test_what_the_system_knows_of_them_counts():
    assert told("print(socket.getaddrinfo('known.localhost', 80)[0][4][0])") == "10.1.2.3"


def test_other_names_stay_unknown():
    code = """
for name in ("nothere.example", "notlocalhost", "a.localhost.example", None, b"\\xff"):
    try:
        print("found", name, socket.getaddrinfo(name, 80))
    except socket.gaierror:
        pass
"""
    assert told(code) == ""


def test_the_standard_library_asks_by_it():
    code = """
import http.client, http.server, threading
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
threading.Thread(target=server.handle_request, daemon=True).start()
asked = http.client.HTTPConnection("app.localhost", server.server_port, timeout=10)
asked.request("GET", "/")
print(asked.getresponse().status)
"""
    assert told(code) == "501"
