#!/usr/bin/python3
"""Make test vectors of Signature Version 4 with nothing but Python's standard library, so that
test_sigv4.c does not compare the C code with itself.

    sigv4_vectors.py OUT.h
"""
import hashlib
import hmac
import sys
from urllib.parse import parse_qsl, quote, unquote

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
EMPTY = hashlib.sha256(b"").hexdigest()


def mac(key, data):
    return hmac.new(key, data.encode(), hashlib.sha256).digest()


def signing_key(date, region, service):
    key = ("AWS4" + SECRET).encode()
    for part in (date, region, service, "aws4_request"):
        key = mac(key, part)
    return key


def tidy(path):
    out = []
    for segment in path.split("/"):
        if segment == "..":
            out = out[:-1]
        elif segment not in ("", "."):
            out.append(segment)
    return "/" + "/".join(out) + ("/" if out and path.endswith("/") else "")


def sign(method, path, query, headers, payload_hash, s3=False, presigned=False):
    """headers: list of (name, value) to be signed. Returns the signature."""
    if s3:
        canonical_path = quote(unquote(path), safe="/-_.~")
    else:
        canonical_path = quote(tidy(path), safe="/-_.~")
    pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
    pairs = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in pairs)
    merged = {}
    for name, value in headers:
        merged.setdefault(name.lower(), []).append(" ".join(value.split(" ")).strip())
    lines = ""
    for name in sorted(merged):
        value = ",".join(merged[name])
        while "  " in value:
            value = value.replace("  ", " ")
        lines += f"{name}:{value}\n"
    canonical = "\n".join([method, canonical_path, "&".join(f"{k}={v}" for k, v in pairs), lines,
                           ";".join(sorted(merged)), payload_hash])
    scope = "20150830/us-east-1/service/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", "20150830T123600Z", scope,
                      hashlib.sha256(canonical.encode()).hexdigest()])
    return mac(signing_key("20150830", "us-east-1", "service"), text).hex(), sorted(merged)


def vector(method, path, query="", headers=(), payload=b"", s3=False):
    headers = [("Host", "example.amazonaws.com"), ("X-Amz-Date", "20150830T123600Z"), *headers]
    payload_hash = hashlib.sha256(payload).hexdigest()
    signature, names = sign(method, path, query, headers, payload_hash, s3)
    authorization = ("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/"
                     f"aws4_request, SignedHeaders={';'.join(names)}, Signature={signature}")
    headers.append(("Authorization", authorization))
    return method, path, query, headers, payload_hash, s3


def presigned(path, expires, payload_hash):
    query = ("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1"
             f"%2Fservice%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires={expires}"
             "&X-Amz-Security-Token=a%2Bb%2Fc%3D&X-Amz-SignedHeaders=host&z=1")
    headers = [("Host", "example.amazonaws.com")]
    signature, _ = sign("GET", path, query, headers, payload_hash, presigned=True)
    return "GET", path, query + "&X-Amz-Signature=" + signature, headers, payload_hash, False


def chunked(trailer):
    seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    key = signing_key("20130524", "us-east-1", "s3")
    middle = "20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n"
    previous, out = seed, ""
    for data in ("hello, ", "world", ""):
        text = ("AWS4-HMAC-SHA256-PAYLOAD\n" + middle + previous + "\n" + EMPTY + "\n"
                + hashlib.sha256(data.encode()).hexdigest())
        previous = mac(key, text).hex()
        out += f"{len(data):x};chunk-signature={previous}\r\n"
        out += data + "\r\n" if data or not trailer else ""
    if trailer:
        line = "x-amz-checksum-crc32:AAAAAA==\n"
        text = ("AWS4-HMAC-SHA256-TRAILER\n" + middle + previous + "\n"
                + hashlib.sha256(line.encode()).hexdigest())
        out += line.strip() + "\r\nx-amz-trailer-signature:" + mac(key, text).hex() + "\r\n\r\n"
    return seed, out


def c_text(s):
    return '"' + s.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace(
        "\n", "\\n") + '"'


def main():
    vectors = [
        vector("GET", "/"),
        vector("GET", "/", "Param2=value2&Param1=value1&Param1=a&Empty="),
        vector("GET", "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af"),
        vector("GET", "/functions/a:b/$LATEST/x y".replace(" ", "%20")),
        vector("GET", "/./a//b/../c/"),
        vector("GET", "/a%20b/../c", s3=True),
        vector("POST", "/", headers=[("X-Amz-Meta", "  a   b  "), ("My", "1"), ("My", "2")],
               payload=b"hello"),
        vector("GET", "/", "sp=a%20b&pl=a+b&u=%C3%BC&sl=a/b&ti=~-_."),
        presigned("/path", 3600, EMPTY),
    ]
    out = ["/* Generated by tests/unit/sigv4_vectors.py: do not edit. */", "#pragma once",
           "struct vector {",
           "\tconst char *method, *path, *query, *headers, *payload_hash;", "\tbool s3;", "};",
           "static const struct vector vectors[] = {"]
    for method, path, query, headers, payload_hash, s3 in vectors:
        lines = "\n".join(f"{n}:{v}" for n, v in headers)
        out.append("\t{" + ", ".join(map(c_text, (method, path, query, lines, payload_hash)))
                   + (", true" if s3 else ", false") + "},")
    out.append("};")
    seed, text = chunked(False)
    out.append(f"#define CHUNK_SEED {c_text(seed)}")
    out.append(f"#define CHUNKED {c_text(text)}")
    out.append(f"#define CHUNKED_TRAILER {c_text(chunked(True)[1])}")
    with open(sys.argv[1], "w") as f:
        f.write("\n".join(out) + "\n")


main()
