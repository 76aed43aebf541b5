"""A stand-in of Keycloak: gives tokens for a password, with Keycloak's own answers where it does not. Writes its public key as
`public.pem` into the directory that is given, then its port to standard output; ends when its input does."""

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

from jwcrypto import jwk, jwt

PASSWORD = "a password at the identity provider"
# The clients, with their secrets: a public one has none.
CLIENTS = {"relay": None, "secret-relay": "a secret for tests only", "for-browsers": None}

directory = Path(sys.argv[1])
key = jwk.JWK.generate(kty="RSA", size=2048, kid="one", alg="RS256", use="sig")
(directory / "public.pem").write_bytes(key.export_to_pem())


def token(issuer: str, client: str, user: str) -> str:
    claims = {
        "iss": issuer,
        "azp": client,
        # Keycloak has its own id here, unless it is told to give the name.
        "sub": user,
        "preferred_username": user,
        "scope": "openid profile",
        "exp": int(time.time()) + 300,
    }
    signed = jwt.JWT(header={"alg": "RS256", "typ": "JWT", "kid": "one"}, claims=claims)
    signed.make_signed_token(key)
    return signed.serialize()


def refuse(error: str, description: str = "") -> dict:
    return {"error": error} | ({"error_description": description} if description else {})


class Keycloak(BaseHTTPRequestHandler):
    def do_GET(self):
        is_keys = self.path == "/realms/club/protocol/openid-connect/certs"
        keys = {"keys": [key.export_public(as_dict=True)]}
        return self.answer(200, keys) if is_keys else self.answer(404, refuse("Not found"))

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        field = {name: values[0] for name, values in form.items()}
        path = self.path.removeprefix("/realms/").split("/", 1)
        if path[0] == "behind-a-proxy":
            return self.answer(502, "<html>Bad gateway</html>", "text/html")
        if path != ["club", "protocol/openid-connect/token"]:
            return self.answer(404, refuse("Realm does not exist"))
        status, answer = self.grant(field)
        return self.answer(status, answer)

    def grant(self, field: dict) -> tuple[int, dict]:
        client, user = field.get("client_id"), field.get("username", "")
        if client not in CLIENTS or CLIENTS[client] != field.get("client_secret"):
            return 401, refuse("invalid_client", "Invalid client or Invalid client credentials")
        if field.get("grant_type") != "password":
            return 400, refuse("unsupported_grant_type", "Unsupported grant_type")
        if client == "for-browsers":
            return 400, refuse("unauthorized_client", "Client not allowed for direct access grants")
        if user.startswith("disabled"):
            return 400, refuse("invalid_grant", "Account disabled")
        if field.get("password") != PASSWORD:
            return 401, refuse("invalid_grant", "Invalid user credentials")
        issuer = f"http://127.0.0.1:{self.server.server_address[1]}/realms/club"
        return 200, {"access_token": token(issuer, client, user), "expires_in": 300, "token_type": "Bearer"}

    def answer(self, status: int, body, kind: str = "application/json"):
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Keycloak)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
os._exit(0)
