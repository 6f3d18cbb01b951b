#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""curl speaks HTTP/1.1 and HTTP/2 to a real nginx through every way into the client."""
import hashlib
import os

import house

PAGE_SIZE = 5 << 20
NAME = "web.internal"


def start_nginx(home):
    place = home.work / "web"
    place.mkdir()
    place.chmod(0o777)  # nginx's worker is another user, and stores what is uploaded.
    page = os.urandom(PAGE_SIZE)
    (place / "page").write_bytes(page)
    home.must("service", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
              "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={NAME}",
              "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", place / "key", "-out",
              place / "certificate")
    (place / "nginx.conf").write_text(f"""
daemon off; pid {place}/pid; error_log stderr;
events {{}}
http {{
  access_log off; client_max_body_size 100m;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
  fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  server {{ listen {house.SERVICE}:80; root {place}; }}
  server {{
    listen {house.SERVICE}:443 ssl http2; root {place};
    ssl_certificate {place}/certificate; ssl_certificate_key {place}/key;
    location /store/ {{ dav_methods PUT; create_full_put_path on; }}
  }}
}}
""")
    home.start("service", "nginx", "nginx", "-c", place / "nginx.conf")
    probe = ["curl", "-fsS", "-o", "/dev/null", f"http://{house.SERVICE}/page"]
    home.wait_until("nginx answers", lambda: home.run("service", *probe).returncode == 0)
    return place, page


def story(home):
    home.open()
    home.offer("web", NAME, tcp="80,443")
    place, page = start_nginx(home)
    home.sign_in("--socks", "1080", "--http-proxy", "3128",
                 "--forward", f"8443={NAME}:443", "--forward", f"8080={NAME}:80")
    home.wait_until_reached(f"{NAME}:443")

    direct = home.run("laptop", "curl", "-sS", "--max-time", "2", f"http://{house.SERVICE}/page")
    home.check("without zt there is no way in", direct.returncode != 0)

    trust = ["--cacert", place / "certificate"]
    ways = {
        "SOCKS5 by name": ["--socks5-hostname", "127.0.0.1:1080"],
        "HTTP proxy": ["--proxytunnel", "-x", "http://127.0.0.1:3128"],
        "forward": ["--connect-to", f"{NAME}:443:127.0.0.1:8443",
                    "--connect-to", f"{NAME}:80:127.0.0.1:8080"],
    }
    for way, flags in ways.items():
        for version in ("--http1.1", "--http2"):
            got = home.run("laptop", "curl", "-fsS", *trust, *flags, version, "-w",
                           "%{stderr}%{http_version}", f"https://{NAME}/page", text=False)
            home.check(f"{way}: 5 MiB over TLS and HTTP/{got.stderr.decode()}",
                       got.stdout == page and
                       got.stderr.startswith({"--http1.1": b"1.1", "--http2": b"2"}[version]),
                       got.stderr.decode())
        got = home.run("laptop", "curl", "-fsS", *flags, f"http://{NAME}/page", text=False)
        home.check(f"{way}: 5 MiB without TLS", got.stdout == page, got.stderr.decode())

        upload = os.urandom(PAGE_SIZE)
        put = home.run("laptop", "curl", "-fsS", *trust, *flags, "--http2", "-T", "-",
                       f"https://{NAME}/store/{len(way)}", input=upload, text=False)
        stored = place / "store" / str(len(way))
        home.check(f"{way}: 5 MiB up over HTTP/2", stored.exists() and digest(
            stored.read_bytes()) == digest(upload), put.stderr.decode())

    many = home.run("laptop", "curl", "-fsS", *trust, *ways["SOCKS5 by name"], "--http1.1",
                    "--parallel", "--parallel-immediate", "--parallel-max", "50", "-w",
                    "%{http_code} %{size_download}\n", "-o", "/dev/null",
                    f"https://{NAME}/page?[1-50]")
    home.check("fifty connections at once, each 5 MiB",
               many.stdout.split("\n")[:-1] == [f"200 {PAGE_SIZE}"] * 50,
               many.stdout[-200:] + many.stderr[-500:])


def digest(content):
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    house.tell(story, needs=["curl", "nginx", "openssl"])
