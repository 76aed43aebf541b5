"""A login service as tests need one: it speaks OAuth 2.0 as matrix-authentication-service does (metadata, registration, code with
PKCE, device code, rotating refresh tokens, revocation, introspection), provisions users and devices at a homeserver that has left
its logins to it, and is an OpenID provider for a homeserver with single sign-on.

What differs from a good service is set by POST /control, and GET /control tells what it has seen. Ends with standard input.
"""

import base64
import hashlib
import html
import json
import os
import secrets
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

SECRET = "only-for-tests"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
API = ["urn:matrix:client:api:*", "urn:matrix:org.matrix.msc2967.client:api:*"]
DEVICE = ["urn:matrix:client:device:", "urn:matrix:org.matrix.msc2967.client:device:"]

lock = threading.RLock()
homeserver = None
# lifetime: seconds of an access token; refuse: endpoint -> [status, body]; page: allow or deny by script; grants: those offered
settings = {"lifetime": 300, "refuse": {}, "page": None, "interval": 1, "code_lifetime": 600, "issuer": None, "grants": None, "user": None}
clients, codes, devices, access, refresh = {}, {}, {}, {}, {}
seen = {"renewals": 0, "revoked": 0, "registered": [], "polls": 0, "reused": 0, "devices": []}


class Refused(Exception):
    def __init__(self, error, description="", status=400):
        super().__init__(error)
        self.status = status
        self.body = {"error": error}
        if description:
            self.body["error_description"] = description


def synapse(name, body):
    request = urllib.request.Request(
        f"{homeserver}/_synapse/mas/{name}",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=60).read()


def device_of(scope):
    for name in scope.split():
        for prefix in DEVICE:
            if name.startswith(prefix):
                return name[len(prefix) :]
    return None


def session(client, user, scope):
    """Makes a session, with its device at the homeserver."""
    if homeserver:
        if not any(name in API for name in scope.split()) or not device_of(scope):
            raise Refused("invalid_scope", "no rights for a client of Matrix are asked for")
        synapse("provision_user", {"localpart": user})
        synapse("upsert_device", {"localpart": user, "device_id": device_of(scope)})
        seen["devices"].append(device_of(scope))
    return {"client": client, "user": user, "scope": scope, "alive": True}


def tokens(of, replaces=None):
    """Gives new tokens of a session."""
    made = {"session": of, "until": time.time() + settings["lifetime"], "used": False, "replaces": replaces}
    names = {"access": f"mat_{secrets.token_urlsafe(16)}", "refresh": f"mar_{secrets.token_urlsafe(16)}"}
    access[names["access"]] = made
    refresh[names["refresh"]] = made
    made["names"] = names
    return {
        "access_token": names["access"],
        "refresh_token": names["refresh"],
        "token_type": "Bearer",
        "expires_in": settings["lifetime"],
        "scope": of["scope"],
    }


def use(made):
    """From the first use of new tokens on, those that they replace are worth nothing."""
    if made.get("used"):
        return
    made["used"] = True
    old = made["replaces"]
    if old:
        old["gone"] = True


def register(body):
    uris = body.get("redirect_uris", [])
    if not body.get("client_uri", "").startswith("https://"):
        raise Refused("invalid_client_metadata", "client_uri must be https")
    if body.get("application_type") != "native":
        raise Refused("invalid_client_metadata", "application_type must be native")
    for uri in uris:
        split = urlsplit(uri)
        if split.scheme != "http" or split.hostname not in ("127.0.0.1", "localhost", "::1") or split.port:
            raise Refused("invalid_redirect_uri", "a native client's address is on loopback, without a port")
    if body.get("token_endpoint_auth_method") != "none":
        raise Refused("invalid_client_metadata", "a native client has no secret")
    if "refresh_token" not in body.get("grant_types", []):
        raise Refused("invalid_client_metadata", "refresh_token is missing in grant_types")
    name = secrets.token_hex(8)
    clients[name] = body
    seen["registered"].append(body)
    return {**body, "client_id": name}


def is_redirect(client, given):
    if client == "synapse":
        return True
    split = urlsplit(given)
    plain = f"{split.scheme}://{split.hostname}{split.path}"
    return plain in clients.get(client, {}).get("redirect_uris", [])


def allow(asked, user):
    """A person has allowed a login in the browser: returns where the browser goes."""
    code = secrets.token_urlsafe(16)
    codes[code] = {**asked, "user": user}
    return back(asked, {"code": code})


def back(asked, answer):
    answer = {**answer, "state": asked["state"], "iss": settings["issuer"] or issuer}
    joint = "&" if "?" in asked["redirect_uri"] else "?"
    return f"{asked['redirect_uri']}{joint}{urlencode(answer)}"


def challenge(verifier):
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def token(form):
    grant, client = form.get("grant_type"), form.get("client_id")
    if grant == "authorization_code":
        code = codes.pop(form.get("code", ""), None)
        if not code or code["redirect_uri"] != form.get("redirect_uri"):
            raise Refused("invalid_grant", "the code is not known")
        if code.get("code_challenge"):
            if code["client_id"] != client or challenge(form.get("code_verifier", "")) != code["code_challenge"]:
                raise Refused("invalid_grant", "the code was given to another client")
        if code["client_id"] == "synapse":
            name = secrets.token_urlsafe(16)
            access[name] = {"session": {"user": code["user"], "alive": True}, "until": time.time() + 300, "replaces": None}
            return {"access_token": name, "token_type": "Bearer", "expires_in": 300}
        return tokens(session(client, code["user"], code["scope"]))
    if grant == DEVICE_GRANT:
        code = devices.get(form.get("device_code", ""))
        if not code or code["client_id"] != client:
            raise Refused("invalid_grant", "the code is not known")
        seen["polls"] += 1
        early = time.time() - code.get("polled", 0) < code["interval"] - 0.2
        code["polled"] = time.time()
        if time.time() > code["until"]:
            raise Refused("expired_token")
        if early:
            raise Refused("slow_down")
        if code["user"] is None:
            raise Refused("authorization_pending")
        if code["user"] is False:
            raise Refused("access_denied", "the person does not want it")
        del devices[form["device_code"]]
        return tokens(session(client, code["user"], code["scope"]))
    if grant == "refresh_token":
        made = refresh.get(form.get("refresh_token", ""))
        if not made or made.get("gone") or not made["session"]["alive"] or made["session"]["client"] != client:
            if made and made.get("gone"):
                seen["reused"] += 1
            raise Refused("invalid_grant", "the refresh token is not good any more")
        use(made)
        seen["renewals"] += 1
        return tokens(made["session"], made)
    raise Refused("unsupported_grant_type")


def introspect(form):
    made = access.get(form.get("token", ""))
    if not made or not made["session"]["alive"] or made.get("gone") or time.time() > made["until"]:
        return {"active": False}
    use(made)
    of = made["session"]
    return {
        "active": True,
        "scope": of["scope"],
        "username": of["user"],
        "sub": of["user"],
        "token_type": "access_token",
        # The homeserver keeps an answer for two minutes.
        "expires_in": max(0, int(made["until"] - time.time())),
    }


def revoke(form):
    name = form.get("token", "")
    made = access.get(name) or refresh.get(name)
    if made and made["session"]["alive"] and made["session"]["client"] == form.get("client_id"):
        end(made["session"])
        seen["revoked"] += 1


def end(of):
    of["alive"] = False
    if homeserver:
        synapse("delete_device", {"localpart": of["user"], "device_id": device_of(of["scope"])})


def device(form):
    if DEVICE_GRANT not in clients.get(form.get("client_id"), {}).get("grant_types", []):
        raise Refused("unauthorized_client", "the client has no right to this grant")
    name, user_code = secrets.token_urlsafe(16), secrets.token_hex(3).upper()
    devices[name] = {
        "client_id": form["client_id"],
        "scope": form.get("scope", ""),
        "user_code": user_code,
        "user": None,
        "interval": settings["interval"],
        "until": time.time() + settings["code_lifetime"],
    }
    return {
        "device_code": name,
        "user_code": user_code,
        "verification_uri": f"{issuer}link",
        "verification_uri_complete": f"{issuer}link?code={user_code}",
        "expires_in": settings["code_lifetime"],
        "interval": settings["interval"],
    }


def metadata():
    grants = settings["grants"] or ["authorization_code", "refresh_token", DEVICE_GRANT]
    told = {
        "issuer": settings["issuer"] or issuer,
        "authorization_endpoint": f"{issuer}authorize",
        "token_endpoint": f"{issuer}oauth2/token",
        "registration_endpoint": f"{issuer}oauth2/registration",
        "revocation_endpoint": f"{issuer}oauth2/revoke",
        "introspection_endpoint": f"{issuer}oauth2/introspect",
        "userinfo_endpoint": f"{issuer}userinfo",
        "jwks_uri": f"{issuer}keys",
        "account_management_uri": f"{issuer}account/",
        "account_management_actions_supported": ["org.matrix.cross_signing_reset"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "fragment"],
        "grant_types_supported": grants,
        "code_challenge_methods_supported": ["plain", "S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }
    if DEVICE_GRANT in grants:
        told["device_authorization_endpoint"] = f"{issuer}oauth2/device"
    return told


def control(body):
    """What a test does, as a person or as the service's owner."""
    global homeserver
    homeserver = body.pop("homeserver", homeserver)
    if "type" in body:
        for code in devices.values():
            if code["user_code"] == body["type"]:
                code["user"] = body["user"]
                return {}
        raise Refused("no such code")
    if "account" in body:
        of = session("account", body["account"], f"{API[0]} {DEVICE[0]}{secrets.token_hex(5).upper()}")
        made = tokens(of)
        access[made["access_token"]]["until"] = time.time() + 86400
        return {"access_token": made["access_token"], "device_id": device_of(of["scope"])}
    if "end_all_of" in body:
        for made in list(access.values()):
            if made["session"]["user"] == body["end_all_of"] and made["session"]["alive"]:
                # As if an administrator had done so; the device stays, if that is wanted.
                if body.get("keep_device"):
                    made["session"]["alive"] = False
                else:
                    end(made["session"])
        return {}
    settings.update(body)
    return {}


PAGE = """<!doctype html><title>Log in</title><form method="post">{hidden}
<input name="user" value="{user}"><button name="answer" value="allow" id="allow">Allow</button>
<button name="answer" value="deny" id="deny">Deny</button></form>{script}"""


def page(fields, user):
    hidden = "".join(f'<input type="hidden" name="{html.escape(k)}" value="{html.escape(v)}">' for k, v in fields.items())
    script = ""
    if settings["page"]:
        script = f"<script>document.getElementById({json.dumps(settings['page'])}).click()</script>"
    return PAGE.format(hidden=hidden, user=html.escape(user or ""), script=script)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body, kind="application/json", headers=()):
        body = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def json(self, answer, status=200):
        self.reply(status, json.dumps(answer))

    def form(self):
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if self.headers.get("Content-Type", "").startswith("application/json"):
            return json.loads(text)
        form = {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()}
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            form["client_id"] = base64.b64decode(given).decode().split(":")[0]
        return form

    def refused(self, path):
        if path not in settings["refuse"]:
            return False
        status, body = settings["refuse"][path]
        if isinstance(body, str):
            self.reply(status, body, "text/html")
        else:
            self.json(body, status)
        return True

    def do_GET(self):
        split = urlsplit(self.path)
        path = split.path
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        with lock:
            if self.refused(path):
                return
            if path == "/.well-known/openid-configuration":
                self.json(metadata())
            elif path == "/control":
                self.json(seen)
            elif path == "/keys":
                self.json({"keys": []})
            elif path == "/userinfo":
                made = access.get(self.headers.get("Authorization", "")[len("Bearer ") :])
                if not made:
                    self.json({"error": "invalid_token"}, 401)
                else:
                    user = made["session"]["user"]
                    self.json({"sub": user, "preferred_username": user})
            elif path == "/authorize":
                wrong = (
                    query.get("response_type") != "code"
                    or not query.get("state")
                    or not is_redirect(query.get("client_id"), query.get("redirect_uri", ""))
                    or (query.get("client_id") != "synapse" and query.get("code_challenge_method") != "S256")
                )
                if wrong:
                    self.reply(400, "this is no request for a login", "text/html")
                else:
                    self.reply(200, page(query, settings["user"]), "text/html")
            elif path in ("/link", "/account/"):
                self.reply(200, page(query, settings["user"]), "text/html")
            else:
                self.reply(404, "{}")

    def do_POST(self):
        path = urlsplit(self.path).path
        form = self.form()
        with lock:
            try:
                if path != "/control" and self.refused(path):
                    return
                if path == "/oauth2/registration":
                    self.json(register(form), 201)
                elif path == "/oauth2/token":
                    self.json(token(form))
                elif path == "/oauth2/device":
                    self.json(device(form))
                elif path == "/oauth2/revoke":
                    revoke(form)
                    self.reply(200, "")
                elif path == "/oauth2/introspect":
                    if self.headers.get("Authorization") != f"Bearer {SECRET}":
                        raise Refused("invalid_client", status=401)
                    self.json(introspect(form))
                elif path == "/control":
                    self.json(control(form))
                elif path == "/authorize":
                    answer, user = form.pop("answer"), form.pop("user")
                    if answer == "allow":
                        to = allow(form, user)
                    else:
                        to = back(form, {"error": "access_denied", "error_description": "the person said no"})
                    self.reply(303, "", "text/plain", [("Location", to)])
                elif path == "/account/":
                    if form["answer"] == "allow":
                        synapse("allow_cross_signing_reset", {"localpart": form["user"]})
                    self.reply(200, "done", "text/html")
                elif path == "/link":
                    control({"type": form["code"], "user": form["user"] if form["answer"] == "allow" else False})
                    self.reply(200, "done", "text/html")
                else:
                    self.reply(404, "{}")
            except Refused as refused:
                self.json(refused.body, refused.status)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


server = Server(("127.0.0.1", 0), Handler)
issuer = f"http://127.0.0.1:{server.server_address[1]}/"
threading.Thread(target=server.serve_forever, daemon=True).start()
print(issuer, flush=True)
sys.stdin.read()
os._exit(0)
