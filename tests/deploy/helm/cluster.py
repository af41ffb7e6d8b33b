"""As much of an API server as helm's `lookup` asks: one Secret that exists, whatever its name.

    cluster.py KEY KUBECONFIG    writes KUBECONFIG once it listens, and serves on loopback until it is ended
"""

import base64
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

key, kubeconfig = sys.argv[1:]
CORE = {"kind": "APIResourceList", "groupVersion": "v1", "resources": [
    {"name": "secrets", "singularName": "secret", "namespaced": True, "kind": "Secret", "verbs": ["get"]},
]}
ANSWERS = {
    "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": CORE,
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.split("?")[0]
        answer = ANSWERS.get(path)
        if "/secrets/" in path:
            data = {"key": base64.b64encode(key.encode()).decode()}
            answer = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": path.split("/")[-1]}, "data": data}
        body = json.dumps(answer or {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}).encode()
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
cluster = {"server": f"http://127.0.0.1:{server.server_port}"}
Path(kubeconfig + ".part").write_text(json.dumps({
    "apiVersion": "v1", "kind": "Config", "current-context": "test",
    "clusters": [{"name": "test", "cluster": cluster}], "users": [{"name": "test", "user": {}}],
    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
}))
Path(kubeconfig + ".part").rename(kubeconfig)
server.serve_forever()
