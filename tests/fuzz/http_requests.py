"""Requests of HTTP, most of them nearly right: the parts that go wrong, and how they are put together."""

from __future__ import annotations

from urllib.parse import quote_from_bytes

from hypothesis import strategies as st

from tests.fleet.staged import sensor_name


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


GOOD_PATHS = (
    *words("/ /livez /healthz /statusz /metricz /samplez /db_stats /grid /workers /static/icon.svg"),
    *words("/api/control /api/events /api/injections"),
    *(f"/workers/{sensor_name(0)}/{page}" for page in words("healthz statusz metricz samplez db_stats episodes")),
    f"/workers/{sensor_name(0)}",
)
BAD_PATHS = words(r"""
    // //workers /workers/ /workers//healthz /./workers /../etc/passwd /static/../server.py /static/
    /static/%2e%2e/server.py /static/%00 /workers/%00 /workers/%2f /workers/%ff /workers/é /WORKERS /workers;a=b
    /workers%3flimit=1 * workers http: http://other/workers http://[::1 //[/workers /workers#x /% /%zz /%u0041 /\workers
""")
PATHS = (
    *GOOD_PATHS,
    *BAD_PATHS,
    "/api/scale",
    "/api/inject",
    "",
    "/a b",
    "/static/" + "x" * 300,
    "/workers/" + "x" * 5000,
)

SHORT_QUERIES = words("""
    limit=1 limit= limit limit=-1 limit=1e3 limit=999999999999 limit=%00 limit=٣ limit=² limit=+1 limit=%31
    after=1 after=-1 after=99999999999999 limit=1&limit=x limit=1;offset=2 ?limit=1 offset=5 offset=%ff state=healthy state=hung state=%e2%80%a8
    &&& = % a[]=1 é=é
""")
QUERIES = (*SHORT_QUERIES, "\x1b[31m", "state=" + "x" * 3000, "limit=1" + "&a=b" * 2000)

METHODS = (*words("GET GET GET HEAD POST PUT DELETE OPTIONS TRACE CONNECT PATCH FOO get G@T"), "", "X" * 3000)
ONE_WORD_VERSIONS = words("HTTP/1.1 HTTP/1.1 HTTP/1.0 HTTP/2.0 HTTP/0.9 HTTP/1 HTTP/1.1.1 HTTP/x.y http/1.1 FTP/1.1")
VERSIONS = (*ONE_WORD_VERSIONS, "", "HTTP/1.1 x")

LENGTH_HEADERS = """\
Content-Length: 0
Content-Length: 5
Content-Length: -1
Content-Length: x
Content-Length: 99999999999999
Content-Length: 70000
Content-Length: 5, 5
Transfer-Encoding: chunked
Transfer-Encoding: chunked, gzip
Transfer-Encoding: x
"""
PRINTABLE_HEADERS = """\
Expect: 100-continue
Expect: x
Connection: keep-alive
Connection: Upgrade
Upgrade: websocket
Host:
Host: a b
Host: x:99999
Host: [
Host: ../x
Accept-Encoding: gzip;q=x
Accept: */*;q=z
Range: bytes=5-1
Range: bytes=-99999
Range: x
If-None-Match: "
If-Modified-Since: never
If-Modified-Since: Thu, 99 Foo 9999
If-Range: x
Cookie: =;=
Content-Type: multipart/form-data; boundary=
Forwarded: for="
X : y
: y
no colon
 folded
"""
OTHER_HEADERS = """\
Host: \xff
Authorization: Basic \xff
Content-Type: \xff; charset=\xfe
Date: \x1b[31m
X-Forwarded-Host: \r
X: \0
X:\ty
\xff: y
"""
TWO_LINES = ("A: b\n\tc", "Transfer-Encoding: chunked\r\nContent-Length: 3")
HEADERS = (
    *(LENGTH_HEADERS + PRINTABLE_HEADERS + OTHER_HEADERS).removesuffix("\n").split("\n"),
    *TWO_LINES,
    "X: " + "y" * 20_000,
)

CHUNKS = (b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"-1\r\n", b"ffffffffffffffff\r\n")
BODIES = (b"", b"", b"hello", *CHUNKS, b"\xff" * 100, b"x" * 70_000)

odd = st.binary(max_size=12)
targets = st.one_of(
    st.sampled_from(PATHS).map(lambda path: path.encode()),
    st.tuples(st.sampled_from(PATHS), st.sampled_from(QUERIES)).map("?".join).map(str.encode),
    odd.map(lambda data: b"/workers/" + quote_from_bytes(data).encode()),
    odd.map(lambda data: b"/workers?limit=" + quote_from_bytes(data).encode()),
    odd.map(lambda data: b"/" + data),
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """The bytes of one request, most of them nearly right."""
    words = [draw(st.sampled_from(METHODS)).encode(), draw(targets), draw(st.sampled_from(VERSIONS)).encode()]
    host = draw(st.sampled_from((["Host: localhost"], ["Host: [::1]:80"], ["Host: x"], [], ["Host: x", "Host: y"])))
    headers = [line.encode("latin-1") for line in (*host, *draw(st.lists(st.sampled_from(HEADERS), max_size=3)))]
    headers += draw(st.lists(odd, max_size=1))
    end = draw(st.sampled_from((b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r")))
    space = draw(st.sampled_from((b" ", b" ", b" ", b"  ", b"\t")))
    return end.join((space.join(words), *headers, b"", b"")) + draw(st.sampled_from(BODIES))
