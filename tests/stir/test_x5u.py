"""What pbx_stir.stir.x5u promises."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import UrlRefused
from pbx_stir.stir.x5u import CheckedUrl, EgressRule, check_url, is_global_address

RULE = EgressRule()


def test_url_is_taken_apart_and_normalised() -> None:
    """Scheme and host come in small letters, without the default port, with a path."""
    assert check_url("HTTPS://Cert.Example.ORG:443/A/b.pem", RULE) == CheckedUrl(
        "https://cert.example.org/A/b.pem", "https", "cert.example.org", 443, "/A/b.pem", False
    )
    assert check_url("https://cert.example.org", RULE).url == "https://cert.example.org/"
    with_port = check_url("https://cert.sticr.att.net:8443/certs/att/fbc8", RULE)
    assert (with_port.port, with_port.url) == (
        8443,
        "https://cert.sticr.att.net:8443/certs/att/fbc8",
    )
    six = check_url("https://[2606:4700:0::1111]/x", RULE)
    assert (six.host, six.url) == ("2606:4700::1111", "https://[2606:4700::1111]/x")


def test_urls_seen_in_production(vectors: Path) -> None:
    """Of a thousand x5u seen in production just those with http or an odd port are refused."""
    urls = (vectors / "x5u/real_world_x5u_urls.txt").read_text().split()
    for url in urls:
        if url.startswith("http:") or ":8080/" in url:
            with pytest.raises(UrlRefused, match=r"^(scheme|port) "):
                check_url(url, RULE)
        else:
            assert check_url(url, RULE).host in url.lower()
    assert len(urls) > 1000


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example/b;c=d,e/@:!$&'()*+~_-.", "https://a.example/%20%ff", "https://a.example//b",
        "https://xn--bcher-kva.example/", "https://1.1.1.1/x", "https://8.8.8.8:8443/x",
        "https://a.b.c.d.e.example/", "https://a-b.example", "https://1a.example/x",
        "https://127.0.0.1.example.com/",
    ],
)  # fmt: skip
def test_urls_that_are_allowed(url: str) -> None:
    """Every form of https URL that a certificate may honestly have is allowed."""
    assert not check_url(url, RULE).is_configured


@pytest.mark.parametrize(
    "url",
    [
        "", "cert.pem", "/cert.pem", "//a.example/b", "https:a.example", "https:/a.example/b",
        "https://", "https:///x", "http://a.example/", "ftp://a.example/", "file:///etc/passwd",
        "data:text/plain,x", "javascript:alert(1)", "gopher://a.example:443/",
        "https://a.example:80/", "https://a.example:8080/", "https://a.example:0/",
        "https://a.example:65536/", "https://a.example:99999999/", "https://a.example:/",
        "https://a.example:0443/", "https://a.example:-1/", "https://a.example:44\u0663/",
        "https://u@a.example/", "https://u:p@a.example/", "https://@a.example/",
        "https://a.example@127.0.0.1/", "https://a.example/?q", "https://a.example?q",
        "https://a.example/#f", "https://a.example#f", "https://a.example/\\b",
        "https://a.example\\@b.example/", "https:\\\\a.example/", "https://a.example/ b",
        " https://a.example/", "https://a.example/\n", "https://a.example/\r\nHost: b",
        "https://a.example/\x00", "https://a.example/\x7f", "https://a.example/\u00e9",
        "https://b\u00fccher.example/", "https://a\u3002example/", "https://\uff41.example/",
        "https://a.example/%zz", "https://a.example/%2", "https://a.example/<x>",
        'https://a.example/"', "https://a.example/{x}", "https://a.example/^`|",
        "https://a%2eexample/", "https://a.example./", "https://.example/", "https://a..example/",
        "https://-a.example/", "https://a-.example/", "https://a_b.example/", "https://*.example/",
        "https://" + "a" * 64 + ".example/", "https://" + "a.b" * 100 + ".example/",
        "https://example/", "https://localhost/", "https://LOCALHOST:443/", "https://a.localhost/",
        "https://a.local/", "https://metadata.google.internal/", "https://router.home.arpa/",
        "https://xn--/", "https://xn--.example/", "https://xn--a.example/", "https://xn--zz--zz.example/",
        "https://ab--c.example/", "https://xn--bcher-kvA1.example/",
        "https://127.0.0.1/", "https://10.0.0.1/", "https://169.254.169.254/latest/meta-data/",
        "https://192.168.1.1:8443/", "https://100.64.0.1/", "https://0.0.0.0/", "https://0/",
        "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.1/",
        "https://0177.0.0.1/", "https://1.1.1.1./", "https://1.1.1.0x1/", "https://1.1.1/",
        "https://1.1.1.256/", "https://[::1]/", "https://[::]/", "https://[fe80::1]/",
        "https://[fe80::1%25eth0]/", "https://[fc00::1]/", "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:a9fe:a9fe]/", "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/",
        "https://[1.1.1.1]/", "https://[a.example]/", "https://[]/", "https://[::1/",
        "https://::1/", "https://2606:4700::1111/", "https://[v1.a]/",
        "https://a.example/" + "a" * 2048,
    ],
)  # fmt: skip
def test_urls_that_are_refused(url: str) -> None:
    """No trick of spelling leads to another scheme, port, host or network: UrlRefused."""
    with pytest.raises(UrlRefused):
        check_url(url, RULE)


def test_length_is_exactly_bounded() -> None:
    """2,048 octets are allowed, one more is not."""
    url = "https://a.example/" + "a" * (2048 - len("https://a.example/"))
    assert check_url(url, RULE).url == url
    with pytest.raises(UrlRefused, match="2048"):
        check_url(url + "a", RULE)


def test_configured_origins_are_free_of_host_port_and_address_rules() -> None:
    """An origin that the configuration names may be anywhere; exactly that host and port."""
    rule = EgressRule(origins=frozenset({("127.0.0.1", 9443), ("cps", 443), ("::1", 8443)}))
    for url in ("https://127.0.0.1:9443/x", "https://CPS/x", "https://[0:0::1]:8443/"):
        assert check_url(url, rule).is_configured
    for url in (
        "https://127.0.0.1:443/x", "https://127.0.0.2:9443/", "https://cps:8443/",
        "https://127.1:9443/", "http://cps:443/", "https://u@cps/", "https://cps/?q",
        "https://cps/\\", "https://[::1]/",
    ):  # fmt: skip
        with pytest.raises(UrlRefused):
            check_url(url, rule)


def test_other_rules_for_other_fetches() -> None:
    """A rule may allow http on port 80, as for revocation lists, and then just that."""
    rule = EgressRule(ports=frozenset({80}), schemes=frozenset({"http"}))
    assert check_url("http://crl.example.com/a.crl", rule).url == "http://crl.example.com/a.crl"
    with pytest.raises(UrlRefused):
        check_url("https://crl.example.com/a.crl", rule)


@given(st.text() | st.text("https:/.[]@%0123456789abcx-?#", max_size=40).map("https://".__add__))
def test_any_text_is_checked_or_refused(text: str) -> None:
    """Whatever the text: a URL whose normal form checks to itself, or UrlRefused."""
    try:
        found = check_url(text, RULE)
    except UrlRefused:
        return
    assert check_url(found.url, RULE) == CheckedUrl(
        found.url, found.scheme, found.host, found.port, found.path or "/", False
    )


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "193.0.0.1", "2606:4700::1111", "2a00:1450::1", "2001:4860:4860::8888",
     "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "223.255.255.255"],
)  # fmt: skip
def test_addresses_on_the_internet(address: str) -> None:
    """Addresses that are routed everywhere are global, also where IPv6 only wraps IPv4."""
    assert is_global_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "", "x", "1.1.1", "127.0.0.1", "127.255.255.255", "0.0.0.0", "0.1.2.3", "10.1.2.3",
        "172.16.0.1", "172.31.255.255", "192.168.0.1", "169.254.169.254", "100.64.0.1",
        "100.127.255.255", "192.0.0.8", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1",
        "198.19.255.255", "192.88.99.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::2", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::808:808", "2002:7f00:1::",
        "2002:a00:1::1", "2002:c0a8:101::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1", "3fff::1", "2001:10::1", "2001:20::1", "100::1", "fc00::1", "fd12::1",
        "fe80::1", "fe80::5efe:8.8.8.8", "fec0::1", "feff::1", "ff02::1", "ff0e::1", "4000::1",
        "5f00::1", "2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:7f00:1", "fe80::1%eth0",
        "2606:4700::1%eth0", "127.0.0.1\n", " 1.1.1.1", "01.1.1.1", "1.1.1.1/32",
    ],
)  # fmt: skip
def test_addresses_that_are_not_on_the_internet(address: str) -> None:
    """Loopback, private, link-local, shared, reserved and wrapped ones, and no addresses: False."""
    assert not is_global_address(address)


@given(st.ip_addresses(v=4))
def test_wrapped_addresses_are_judged_as_themselves(address: object) -> None:
    """An IPv4 address is no more global in IPv6 clothes than without."""
    plain = is_global_address(str(address))
    octets = [int(one) for one in str(address).split(".")]
    high, low = octets[0] << 8 | octets[1], octets[2] << 8 | octets[3]
    for wrapped in (f"::ffff:{address}", f"64:ff9b::{address}", f"2002:{high:x}:{low:x}::1"):
        assert is_global_address(wrapped) == plain
    assert not is_global_address(f"::{address}")


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    """``is_global_address`` never raises."""
    assert is_global_address(text) in {True, False}
