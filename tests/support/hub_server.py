"""A small Hub in memory, served on this machine: what `huggingface_hub` needs to push model repositories and pull them.

Repositories have branches and whole-tree commits. Big or binary files go through the large-file protocol, as on the
real Hub. Reading is public, writing needs a token. The client takes its server from `HF_ENDPOINT` when it is imported:
run what is to talk to this one in a process of its own, with `HubServer.environment`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

OWNER = "someone"


class HubError(Exception):
    """An error of the Hub: status, the code that the client makes its exception of, and an answer all the same."""

    def __init__(self, status: int, code: str = "", answer: dict | None = None):
        super().__init__(f"{status} {code}")
        self.status, self.code, self.answer = status, code, answer or {}


class HubServer(ThreadingHTTPServer):
    """The Hub, running while in a `with` block.

    Attributes:
        repositories: `{id: {branch: commit}}`.
        commits: `{commit: {path: content}}`.
        messages: `{commit: message}`.
        names: `{commit: id}`.
        failing_commits: How many of the next commits are refused.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, dict[str, str]] = {}
        self.commits: dict[str, dict[str, bytes]] = {}
        self.messages: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.failing_commits = 0
        self.large_files: dict[str, bytes] = {}
        self.lock = threading.Lock()

    def __enter__(self) -> HubServer:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    def environment(self, home: Path | str) -> dict[str, str]:
        """Environment variables of a client of this server that keeps its cache in the folder `home`."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_TOKEN": "hf_made_up",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
        }

    def files(self, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """The files of a repository by their paths."""
        return self.commits[self.find_commit(repo_id, revision)]

    def find_commit(self, repo_id: str, revision: str) -> str:
        branches = self.repositories.get(repo_id)
        if branches is None:
            raise HubError(404, "RepoNotFound")
        commit = branches.get(revision, revision)
        if commit not in self.commits:
            raise HubError(404, "RevisionNotFound")
        return commit

    def add_commit(self, repo_id: str, branch: str, files: dict[str, bytes], message: str) -> str:
        commit = hashlib.sha1(f"{repo_id}/{len(self.commits)}".encode()).hexdigest()
        self.commits[commit], self.messages[commit], self.names[commit] = files, message, repo_id
        self.repositories[repo_id][branch] = commit
        return commit


def _is_large(path: str, size: int) -> bool:
    return size > 2**20 or path.endswith(".safetensors")


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *arguments: object) -> None:
        """Keep the tests' output clean."""

    def _answer(self) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        # Read whatever happens, or the connection is out of step.
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers, content = 200, {"Content-Type": "application/json"}, b""
        try:
            if self.command == "POST" and not self.headers.get("Authorization"):
                raise HubError(401)
            for method, pattern, action in _ROUTES:
                match = re.fullmatch(pattern, url.path)
                if match and self.command in method:
                    with self.server.lock:
                        result = action(self, *map(unquote, match.groups()))
                    break
            else:
                raise HubError(404)
            if isinstance(result, tuple):
                content, headers = result
            else:
                content = json.dumps(result).encode()
        except HubError as error:
            status, headers["X-Error-Code"] = error.status, error.code
            content = json.dumps(error.answer).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = _answer  # noqa: N815 (names that the base class looks for)

    def create(self) -> dict:
        request = json.loads(self.body)
        repo_id = f"{request.get('organization') or OWNER}/{request['name']}"
        if request.get("type") == "dataset":
            repo_id = f"datasets/{repo_id}"
        answer = {"url": f"{self.server.url}/{repo_id}", "name": repo_id, "id": repo_id}
        if repo_id in self.server.repositories:
            raise HubError(409, answer=answer)
        self.server.repositories[repo_id] = {}
        self.server.add_commit(repo_id, "main", {}, "initial commit")
        return answer

    def validate_yaml(self) -> dict:
        starts_with_metadata = json.loads(self.body)["content"].startswith("---\n")
        return {"errors": [] if starts_with_metadata else [{"message": "no metadata"}], "warnings": []}

    def branch(self, repo_id: str, name: str) -> dict:
        start = self.server.find_commit(repo_id, "main")
        if name in self.server.repositories[repo_id]:
            raise HubError(409)
        self.server.repositories[repo_id][name] = start
        return {}

    def preupload(self, repo_id: str, revision: str) -> dict:
        present = self.server.files(repo_id, revision)
        files = []
        for file in json.loads(self.body)["files"]:
            path, large = file["path"], _is_large(file["path"], file["size"])
            entry = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            if path in present:
                entry["oid"] = hashlib.sha256(present[path]).hexdigest() if large else _git_oid(present[path])
            files.append(entry)
        return {"files": files}

    def lfs_batch(self, repo_id: str) -> dict:
        objects = []
        for entry in json.loads(self.body)["objects"]:
            href = f"{self.server.url}/large/{entry['oid']}"
            objects.append({**entry, "actions": {"upload": {"href": href}}})
        return {"transfer": "basic", "objects": objects}

    def put_large(self, oid: str) -> dict:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise HubError(422)
        self.server.large_files[oid] = self.body
        return {}

    def commit(self, repo_id: str, revision: str) -> dict:
        if self.server.failing_commits:
            self.server.failing_commits -= 1
            raise HubError(400)
        parent = self.server.find_commit(repo_id, revision)
        files, message = dict(self.server.commits[parent]), ""
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.large_files[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
            else:
                raise HubError(400)
        url = f"{self.server.url}/{repo_id}"
        opens_request = self.query.get("create_pr") == ["1"]
        branch = f"refs/pr/{len(self.server.repositories[repo_id])}" if opens_request else revision
        oid = self.server.add_commit(repo_id, branch, files, message)
        result = {"success": True, "commitOid": oid, "commitUrl": f"{url}/commit/{oid}", "hookOutput": ""}
        return result | ({"pullRequestUrl": f"{url}/discussions/{branch.split('/')[-1]}"} if opens_request else {})

    def info(self, repo_id: str, revision: str = "main") -> dict:
        commit = self.server.find_commit(repo_id, revision)
        siblings = [{"rfilename": path} for path in sorted(self.server.commits[commit])]
        name = repo_id.removeprefix("datasets/")
        return {"id": name, "modelId": name, "sha": commit, "private": False, "tags": [], "siblings": siblings}

    def tree(self, repo_id: str, revision: str, folder: str = "") -> list[dict]:
        prefix = f"{folder}/" if folder else ""
        below = {path: file for path, file in self.server.files(repo_id, revision).items() if path.startswith(prefix)}
        if folder and not below:
            raise HubError(404, "EntryNotFound")
        entries = [
            {"type": "file", "path": path, "size": len(file), "oid": _git_oid(file)} for path, file in below.items()
        ]
        parents = {str(parent) for path in below for parent in Path(path).parents} - {".", folder}
        entries += [{"type": "directory", "path": path, "size": 0, "oid": _git_oid(path.encode())} for path in parents]
        if self.query.get("recursive", ["false"])[0].lower() not in ("true", "1"):
            entries = [entry for entry in entries if "/" not in entry["path"].removeprefix(prefix)]
        return sorted(entries, key=lambda entry: entry["path"])

    def paths_info(self, repo_id: str, revision: str) -> list[dict]:
        paths = parse_qs(self.body.decode())["paths"] if b"paths=" in self.body else json.loads(self.body)["paths"]
        files = self.server.files(repo_id, revision)
        answer = []
        for path in paths:
            if path in files:
                answer.append({"type": "file", "path": path, "size": len(files[path]), "oid": _git_oid(files[path])})
            elif any(name.startswith(f"{path}/") for name in files):
                answer.append({"type": "directory", "path": path, "size": 0, "oid": _git_oid(path.encode())})
        return answer

    def resolve(self, repo_id: str, revision: str, path: str) -> tuple[bytes, dict[str, str]]:
        commit = self.server.find_commit(repo_id, revision)
        if path not in self.server.commits[commit]:
            raise HubError(404, "EntryNotFound")
        content = self.server.commits[commit][path]
        oid = hashlib.sha256(content).hexdigest() if _is_large(path, len(content)) else _git_oid(content)
        return content, {"ETag": f'"{oid}"', "X-Repo-Commit": commit, "Content-Type": "application/octet-stream"}


_REPO, _REVISION, _PATH = "([^/]+/[^/]+)", "([^/]+)", "(.+)"
# Repositories of datasets are kept, and lie below the server's root, as `datasets/OWNER/NAME`.
_ANY_REPO = "((?:datasets/)?[^/]+/[^/]+)"


def _api(path: str = "") -> str:
    return rf"/api/(?:models/(?=[^/]+/)|(?=datasets/)){_ANY_REPO}{path}"


_ROUTES = (
    (("POST",), "/api/repos/create", _Handler.create),
    (("POST",), "/api/validate-yaml", _Handler.validate_yaml),
    (("POST",), _api(f"/branch/{_REVISION}"), _Handler.branch),
    (("POST",), _api(f"/preupload/{_REVISION}"), _Handler.preupload),
    (("POST",), rf"/{_ANY_REPO}\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    (("PUT",), "/large/([0-9a-f]{64})", _Handler.put_large),
    (("POST",), _api(f"/commit/{_REVISION}"), _Handler.commit),
    (("POST",), _api(f"/paths-info/{_REVISION}"), _Handler.paths_info),
    (("GET",), _api(), _Handler.info),
    (("GET",), _api(f"/revision/{_REVISION}"), _Handler.info),
    (("GET",), _api(f"/tree/{_REVISION}"), _Handler.tree),
    (("GET",), _api(f"/tree/{_REVISION}/{_PATH}"), _Handler.tree),
    (("GET", "HEAD"), f"/{_ANY_REPO}/resolve/{_REVISION}/{_PATH}", _Handler.resolve),
)
