#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The other end of a guest's TCP transfers.

Usage: net_peer.py SINK SOURCE FILE

Takes connections on two TCP ports of all addresses: what arrives on the port SINK is hashed; on the
port SOURCE each connection gets FILE. A line tells of each transfer, "sink SHA256" or
"source SHA256". "ready" comes first. Runs until it is ended.

The sums are left to sha256sum: under emulation it takes a fifth of the time that hashlib takes.
"""
import socket
import socketserver
import subprocess
import sys
import threading


class Server(socketserver.ThreadingTCPServer):
    """IPv4 and IPv6 on one socket, a thread for each connection."""
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


def checksum(file):
    run = subprocess.run(["sha256sum"], stdin=file, stdout=subprocess.PIPE, text=True, check=True)
    return run.stdout.split()[0]


class Sink(socketserver.BaseRequestHandler):
    def handle(self):
        print("sink", checksum(self.request), flush=True)


class Source(socketserver.BaseRequestHandler):
    def handle(self):
        with open(self.server.path, "rb") as file:
            self.request.sendfile(file)
        print("source", self.server.checksum, flush=True)


def main():
    sink, source = Server(("::", int(sys.argv[1])), Sink), Server(("::", int(sys.argv[2])), Source)
    source.path = sys.argv[3]
    with open(source.path, "rb") as file:
        source.checksum = checksum(file)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    print("ready", flush=True)
    source.serve_forever()


if __name__ == "__main__":
    main()
