"""A proxy between a client and the server that can answer in place of the server."""

import http.client
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

PAGE = b"<html><body><h1>A page of the proxy, not of the server</h1></body></html>"


class Proxy:
    """Forwards requests to the server. While `status` is set, it answers with that status and a page instead.

    With `tls`, an `ssl.SSLContext`, it has an `https` URL.
    """

    def __init__(self, server, tls=None):
        self.status = None
        #: The `Location` of the answers of the proxy, as a function of the path.
        self.location = None
        #: All requests so far, with `command`, `path` and `headers`.
        self.requests = []
        self._upstreams = set()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_request(self):
                proxy.requests.append(self)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if proxy.status is not None:
                    self.answer_itself(proxy.status)
                    return
                upstream = http.client.HTTPConnection(*server.endpoint)
                headers = {name: self.headers[name] for name in self.headers if name != "Host"}
                try:
                    upstream.connect()
                    proxy._upstreams.add(upstream.sock)
                    upstream.request(self.command, self.path, body, headers)
                    answer = upstream.getresponse()
                    content = answer.read()
                except (OSError, http.client.HTTPException):
                    self.answer_itself(proxy.status or 502)
                    return
                finally:
                    proxy._upstreams.discard(upstream.sock)
                    upstream.close()
                kind = {"Content-Type": answer.headers["Content-Type"]}
                self.answer(answer.status, kind, content)

            do_GET = do_POST = do_PUT = do_DELETE = handle_request

            def answer_itself(self, status):
                locate = proxy.location
                self.answer(status, {"Location": locate(self.path)} if locate else {}, PAGE)

            def answer(self, status, headers, content):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            # Does not log clients that disconnect during an answer.
            handle_error = staticmethod(lambda *_: None)

        self._listener = Listener(("127.0.0.1", 0), Handler)
        if tls is not None:
            # The thread of the connection does the handshake, so that a slow one does not block the others.
            self._listener.socket = tls.wrap_socket(
                self._listener.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._listener.server_address[1]}"
        Thread(target=self._listener.serve_forever, args=[0.01], daemon=True).start()

    def interrupt(self):
        """Breaks the connections of all requests that the server has not answered yet."""
        for upstream in list(self._upstreams):
            upstream.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._listener.shutdown()
        self._listener.server_close()
