#!/usr/bin/python3
#
# The other side of test 030: passes by an independent implementation of JSON Web
# Tokens, PyJWT with the cryptography library (Debian: python3-jwt, python3-cryptography).
#
#   passes_peer.py probe              whether both are there
#   passes_peer.py vectors            the peer itself, by the standards' own tokens
#   passes_peer.py verify KEYS        tokens from stdin, a line each
#   passes_peer.py keys N             N random keys of each algorithm
#   passes_peer.py forge              good and bad tokens from the keys and claims on stdin
#   passes_peer.py example README JWKS AUDIENCE    tokens from stdin, by the code in the README
#
# KEYS is a file {"jwks": {...}, "secrets": {"kid": "hex", ...}}.
#
import base64
import json
import os
import re
import sys
import uuid

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives import serialization

CLAIMS = ["iss", "sub", "aud", "iat", "nbf", "exp", "jti", "queue", "ticket"]


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def public_bytes(key):
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def lines():
    return (line.rstrip("\n") for line in sys.stdin)


# ---- verifying ----


def verify(path):
    with open(path) as file:
        given = json.load(file)
    public = {k["kid"]: jwt.PyJWK(k).key for k in given["jwks"]["keys"]}
    secret = {kid: bytes.fromhex(value) for kid, value in given["secrets"].items()}
    for token in lines():
        try:
            header = jwt.get_unverified_header(token)
            kid = header["kid"]
            key, algorithm = (public[kid], "EdDSA") if kid in public else (secret[kid], "HS256")
            claims = jwt.decode(token, key, algorithms=[algorithm],
                                options={"require": CLAIMS, "verify_aud": False})
            assert sorted(claims) == sorted(CLAIMS) and sorted(header) == ["alg", "kid", "typ"]
            print(json.dumps(claims, sort_keys=True))
        except (jwt.InvalidTokenError, KeyError, AssertionError) as error:
            print(type(error).__name__)


def vectors():
    """RFC 7515 A.1 and RFC 8037 A.4; the first one has expired, the second is not JSON."""
    token = ("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
             ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
             ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    secret = decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
    print(jwt.decode(token, secret, algorithms=["HS256"], options={"verify_exp": False})["iss"])
    key = Ed25519PrivateKey.from_private_bytes(decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"))
    print(encode(key.sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc")))


# ---- signing ----


def keys(n):
    for _ in range(n):
        print(uuid.uuid4(), "HS256", os.urandom(32 + os.urandom(1)[0] % 33).hex())
        print(uuid.uuid4(), "EdDSA", os.urandom(32).hex())


def sign_input(signed, key, algorithm):
    return signed + "." + encode(jwt.algorithms.get_default_algorithms()[algorithm].sign(signed.encode(), key))


def sign_text(header, claims, key, algorithm):
    return sign_input(encode(header.encode()) + "." + encode(claims.encode()), key, algorithm)


def put(reason, token):
    print(reason, token, sep="\t")


def forge_one(kid, algorithm, secret, claims):
    private = Ed25519PrivateKey.from_private_bytes(secret) if algorithm == "EdDSA" else None
    key = private or secret
    header = {"kid": kid}
    text = json.dumps(claims, separators=(",", ":"))

    def sign(changes, headers=header, other=algorithm, with_key=key):
        changed = {**claims, **changes}
        return jwt.encode({k: v for k, v in changed.items() if v is not ...}, with_key, algorithm=other, headers=headers)

    token = sign({})
    head, body, signature = token.split(".")
    now = claims["iat"]
    put("valid", token)
    put("valid", sign({"exp": now + 100000, "nbf": now - 1000, "iat": now - 10}))
    put("valid", sign({"queue": "\u00fc \u65e5 \U0001f600 \" \\ \n / \u2028"}))
    put("valid", sign_text('{"typ":"JWT","kid":"%s","alg":"%s"}' % (kid, algorithm), text, key, algorithm))
    put("valid", sign_text('{"alg":"%s","kid":"%s"}' % (algorithm, kid), text, key, algorithm))
    put("expired", sign({"exp": now - 1}))
    put("expired", sign({"exp": 0}))
    put("not yet", sign({"nbf": now + 1000}))
    put("wrong queue", sign({"aud": str(uuid.uuid4())}))
    put("wrong tenant", sign({"iss": str(uuid.uuid4())}))
    put("revoked", sign({"sub": str(uuid.uuid4())}))
    put("revoked", sign({"ticket": 1 << 60}))
    for bad in ({"exp": ...}, {"nbf": ...}, {"jti": ...}, {"ticket": ...}, {"exp": now + 0.5}, {"exp": str(now + 100)}, {"exp": None},
                {"exp": -1}, {"exp": 1 << 63}, {"exp": 10 ** 40}, {"exp": True}, {"exp": [now + 100]}, {"aud": [claims["aud"]]},
                {"aud": claims["aud"].upper() + " "}, {"sub": claims["sub"].replace("-", "")}, {"jti": claims["jti"][1:]}, {"admin": True},
                {"sub": {"$ne": ""}}, {"ticket": "1"}):
        put("malformed", sign(bad))
    put("malformed", sign_text('{"alg":"%s","kid":"%s","typ":"JWT"}' % (algorithm, kid), json.dumps(claims), key, algorithm))
    put("malformed", sign_text('{"alg":"%s","kid":"%s","typ":"JWT"}' % (algorithm, kid), text[:-1] + ',"exp":9999999999}', key, algorithm))
    put("malformed", sign_text('{"alg":"%s","kid":"%s","typ":"JWT"}' % (algorithm, kid), '[' + text + ']', key, algorithm))
    put("malformed", sign_text('{"alg":"%s","kid":"%s","typ":"JWT"}' % (algorithm, kid), '', key, algorithm))
    put("malformed", sign_text('{"alg":"%s", "kid":"%s"}' % (algorithm, kid), text, key, algorithm))
    put("malformed", sign_text('{"alg":"none","alg":"%s","kid":"%s"}' % (algorithm, kid), text, key, algorithm))
    put("malformed", sign_text('{"alg":"%s","kid":"%s","kid":"%s"}' % (algorithm, uuid.uuid4(), kid), text, key, algorithm))
    for extra in ({"crit": ["exp"]}, {"crit": ["b64"], "b64": False}, {"jku": "https://evil.example/"}, {"x5u": "https://evil.example/"},
                  {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": encode(os.urandom(32))}}, {"typ": "at+jwt"}, {"cty": "JWT"}, {"zip": "DEF"}):
        put("malformed", sign({}, headers={**header, **extra}))

    # the algorithm is the key's
    put("algorithm", jwt.encode(claims, None, algorithm="none", headers=header))
    put("algorithm", encode(b'{"alg":"none"}') + "." + body + ".")
    put("algorithm", encode(b'{"alg":"none","typ":"JWT"}') + "." + body + "." + signature)
    put("algorithm", encode(('{"alg":"nOnE","kid":"%s"}' % kid).encode()) + "." + body + "." + signature)
    other = "HS256" if algorithm == "EdDSA" else "EdDSA"
    for public in [public_bytes(private), encode(public_bytes(private)).encode()] if private else [secret]:
        for name in ["HS256", "HS384", "HS512"]:
            if name != algorithm:
                put("algorithm", sign({}, other=name, with_key=public))
    put("algorithm", sign_text('{"alg":"%s","kid":"%s","typ":"JWT"}' % (other, kid), text, key, algorithm))
    if private is None:
        put("algorithm", sign({}, other="EdDSA", with_key=Ed25519PrivateKey.from_private_bytes(secret[:32])))

    # other keys, other ids
    stranger = Ed25519PrivateKey.generate() if private else os.urandom(32)
    put("signature", sign({}, with_key=stranger))
    put("unknown key", sign({}, headers={"kid": str(uuid.uuid4())}))
    put("unknown key", sign({}, headers={"kid": "../../../dev/null"}))
    put("unknown key", sign({}, headers={"kid": "x' UNION SELECT 'aaaa"}))
    put("unknown key", sign({}, headers={"kid": kid.upper() if kid.upper() != kid else kid + "0"}))
    put("unknown key", sign({}, headers={}))

    # the text of it
    raw = decode(signature)
    put("signature", head + "." + body + "." + encode(raw[:-1]))
    put("signature", head + "." + body + "." + encode(raw[:-1] + bytes([raw[-1] ^ 1])))
    put("signature", head + "." + body + "." + encode(bytes(len(raw))))
    put("signature", head + "." + body + ".")
    put("signature", head + "." + encode(decode(body).replace(b'"ticket":', b'"ticket":1')) + "." + signature)
    put("signature", head + ".." + signature)
    put("malformed", head + "." + body)
    put("malformed", head + "." + body + "." + signature + "=" * (-len(signature) % 4 or 1))
    put("malformed", head + "." + body + "." + signature + ".")
    put("malformed", head + "." + body + "." + encode(raw + bytes(64)))
    put("malformed", "." + body + "." + signature)
    put("malformed", " " + token)
    put("malformed", "Bearer " + token)
    put("malformed", sign({"queue": "x" * 5000}))
    put("malformed", json.dumps({"protected": head, "payload": body, "signature": signature}))


def forge():
    given = json.load(sys.stdin)
    for key in given["keys"]:
        forge_one(key["kid"], key["alg"], bytes.fromhex(key["secret"]), given["claims"])


# ---- the example ----


def example(readme, jwks, audience):
    with open(readme) as file:
        blocks = re.findall(r"```python\n(.*?)```", file.read(), re.S)
    code = next(block for block in blocks if "jwks.json" in block)
    os.chdir(os.path.dirname(jwks))
    scope = {}
    exec(code, scope)
    for token in lines():
        try:
            print("in", scope["admit"](token, audience)["sub"])
        except jwt.InvalidTokenError as error:
            print("out", type(error).__name__)


if __name__ == "__main__":
    {"probe": lambda: None, "vectors": vectors, "verify": verify, "keys": lambda n: keys(int(n)), "forge": forge,
     "example": example}[sys.argv[1]](*sys.argv[2:])
