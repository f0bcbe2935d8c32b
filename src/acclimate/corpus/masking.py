"""Mask personal data in real queries before they are stored or shown.

    e-mail addresses       whole
    URLs                   name and password before the host, and what follows `?` or `#`
    IP, MAC addresses      except universal ones: 127.0.0.1, ::1, 0.0.0.0, 255.255.255.0
    IBANs                  with valid check digits
    keys, hashes, UUIDs    16 letters and digits or more in a row that keep changing from one to the other
    numbers                seven digits or more, in a row or in groups between blanks, hyphens, dots, slashes or
                           brackets: of telephones, cards, accounts, social security

What is made of digits and searched for stays: dates, years, ranges (850-4000), versions and whatever else has a group
of one digit (10.0.19041.1, ISBN and CAS numbers), DOIs, arXiv ids, and up to nine digits that belong to letters
(KB5034441, CVE-2024-12345, 0x80070057). What may be either, such as a part number of digits alone, is cut. Names,
street addresses and dates of birth are not recognized.

It is cut, not replaced: a placeholder would be searched for. The time grows with the length of a text, whatever its
content.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from itertools import pairwise

from acclimate.base.text import printable

_FEWEST_DIGITS = 7  # of a personal number
_MOST_OF_A_CODE = 9  # consecutive digits in a code with letters
_CUT = "\0"  # marks where text was removed

_SUSPECT = re.compile(r"[@\d]|://|www\.|\?[^\s=?]+=", re.IGNORECASE)  # texts without these are left unchanged
_UNSEEN = re.compile("[\u00ad\u200b\u2060]")
_DANGLING = "()[]{}<>\"'`,;:=+*|/\\.!?&#-_~ "  # remains of a word beside a removed part

_URL = re.compile(r"(?<![\w+.-])[a-z][\w+.-]*+://\S++|(?<![\w.])www\.\S++", re.IGNORECASE)
_QUERY_STRING = re.compile(r"(?<=[\w/])\?[^\s=?]++=\S*+")

_ATEXT = r"\w.!#$%&'*+/=?^`{|}~-"  # allowed before the @ of an address (RFC 5322)
_OCTET = r"(?:25[0-5]|2[0-4]\d|[01]?\d?\d)"
_FOUR = rf"{_OCTET}(?:\.{_OCTET}){{3}}(?!\w|\.\d)"
_IPV4 = rf"(?<![\w.]){_FOUR}"
_EMAIL = re.compile(
    rf"""(?:"[^"@]{{1,64}}"|(?<![{_ATEXT}])[{_ATEXT}]++)@(?:(?:[\w-]++\.)+[^\W\d_]{{2}}[\w.-]*+|\[?{_FOUR}\]?)"""
)
_MAC = re.compile(r"(?<![\w:-])[0-9a-f]{2}([:-])[0-9a-f]{2}(?:\1[0-9a-f]{2}){4}(?![\w:-])", re.IGNORECASE)
_IPV6 = re.compile(r"(?<![\w:])[0-9a-f]*+:[0-9a-f:.]++(?:%\w++)?(?!\w)", re.IGNORECASE)
_UUID = re.compile(r"(?<![0-9a-f])[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?![0-9a-f])", re.IGNORECASE)
_IBAN = re.compile(
    r"(?<!\w)[a-z]{2}\d\d(?:[a-z\d]{11,30}|(?:[ -][a-z\d]{4}){2,7}(?:[ -][a-z\d]{1,4})?)(?!\w)",
    re.IGNORECASE | re.ASCII,
)

_DOI = r"10\.\d{4,9}/\S"
_CODE = re.compile(rf"{_DOI}+|(?<![\w-])[\w-]{{10,}}+")  # if it contains letters; shorter ones are not personal
_DIGITS_OF_A_CODE = re.compile(r"\d+(?:[-_]\d+)*")
_LETTERS_AND_DIGITS = re.compile(r"[^\W_]+")

_YEAR = r"(?:19|20)\d\d"
_DATE = "|".join(rf"{_YEAR}{mark}\d\d?{mark}\d\d?|\d\d?{mark}\d\d?{mark}{_YEAR}" for mark in ("-", r"\.", "/"))
_ARXIV = r"\d\d(?:0[1-9]|1[0-2])\.\d{4,5}"
_RANGE = r"\d{1,4}\.\d{1,3}[-\u2013]\d{1,4}\.\d{1,3}"  # 1.99-11.07
_KEPT = rf"(?<!\w)(?:{_DOI}|(?<!\d[-./])(?:{_DATE}|{_ARXIV}|{_RANGE})(?![-./]?\d))"
_GROUP = rf"(?!{_KEPT}|{_IPV4})\d++(?!-?[^\W\d])"
_DASH = "[\u2010-\u2015\u2212]"
_BETWEEN = r"(?: ?\((?=\d++\))|\) ?-?| ?[-\u2010-\u2015\u2212./]{1,2} ?| )"  # "+49 (0)30", "(555) 123"
_NUMBER = re.compile(
    rf"(?P<kept>{_KEPT}\S*)|(?P<ipv4>{_IPV4})(?:[:/]\d+)?"
    rf"|(?<!\w)(?<![^\W\d]-)(?<!\d[-./])[+(]{{0,2}}{_GROUP}(?:{_BETWEEN}{_GROUP})*"
)


def masked(text: str) -> str:
    """The tidied query without personal data; "" if nothing remains."""
    text = tidied(text)
    while _SUSPECT.search(text) and (shorter := _without(text)) != text:  # removing a part may create new matches
        text = shorter
    return text


def tidied(text: str) -> str:
    """The text in Unicode form NFKC, with single spaces and without invisible characters."""
    text = _UNSEEN.sub("", printable(text))
    return " ".join((text if text.isascii() else unicodedata.normalize("NFKC", text)).split())


def _without(text: str) -> str:
    text = text.replace("%40", "@")
    text = _URL.sub(lambda match: _plain_address(match[0]), text)
    text = _QUERY_STRING.sub(_CUT, text)
    text = _EMAIL.sub(_CUT, text)
    if re.search(r"\d", text):
        text = _UUID.sub(_CUT, text)
        text = _MAC.sub(_CUT, text)
        text = _IPV6.sub(lambda match: _CUT if _is_ipv6(match[0]) else match[0], text)
        text = _IBAN.sub(lambda match: _without_iban(match[0]), text)
        text = _CODE.sub(lambda match: _CUT if _is_secret(match[0]) else match[0], text)
        text = _NUMBER.sub(lambda match: _CUT if _is_number_of_somebody(match) else match[0], text)
    if _CUT not in text:
        return text
    words = (word.replace(_CUT, " ").strip(_DANGLING) if _CUT in word else word for word in text.split())
    return " ".join(" ".join(words).split())


def _plain_address(url: str) -> str:
    """A URL without user, query string and fragment."""
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    host, slash, path = re.split("[?#]", rest, maxsplit=1)[0].partition("/")
    return scheme + mark + host.rpartition("@")[2] + slash + path


def _is_ipv6(text: str) -> bool:
    """True for the IP address of a machine, but not for C++'s `a::b`."""
    try:
        address = ipaddress.IPv6Address(text.rstrip(":.") if not text.endswith("::") else text)
    except ValueError:
        return False
    return bool(re.search(r"\d", text)) and not (address.is_loopback or address.is_unspecified)


def _without_iban(text: str) -> str:
    """The text without the longest valid IBAN (ISO 13616: check digits modulo 97) at its start, if there is one."""
    ends = [end for end in range(len(text), 14, -1) if end == len(text) or not text[end].isalnum()]
    for end in ends:
        account = re.sub("[ -]", "", text[:end])
        digits = "".join(str(int(char, 36)) for char in account[4:] + account[:4])
        if sum(map(str.isdigit, account)) >= 10 and int(digits) % 97 == 1:
            return _CUT + text[end:]
    return text


def _is_secret(token: str) -> bool:
    """True for a word of letters and digits that contains a key or a personal number."""
    if not re.search(r"[^\W\d]", token) or re.match(_DOI, token):
        return False
    for run in _LETTERS_AND_DIGITS.findall(token):
        changes = sum(a.isdigit() != b.isdigit() for a, b in pairwise(run))
        is_hexadecimal = re.fullmatch("[0-9a-fA-F]+", run) is not None
        if len(run) >= 16 and (changes >= 5 or (changes >= 3 and len(run) >= 24) or (changes >= 2 and is_hexadecimal)):
            return True
    for digits in _DIGITS_OF_A_CODE.findall(token):
        groups = re.split("[-_]", digits)
        if sum(map(len, groups)) > _MOST_OF_A_CODE and not _is_isbn(groups):
            return True
        if _is_american(groups):
            return True
    return False


def _is_number_of_somebody(match: re.Match[str]) -> bool:
    if match["kept"]:
        return False
    if match["ipv4"]:
        octets = match["ipv4"].split(".")
        return octets[0] not in ("127", "255") and set(octets) != {"0"}
    text = match[0]
    groups = re.findall(r"\d+", text)
    marks = re.split(r"\d+", text)
    between = set(re.sub(_DASH, "-", "".join(marks[1:-1])))
    if sum(map(len, groups)) < _FEWEST_DIGITS or _is_isbn(groups):
        return False
    if len(groups) == 2 and len(groups[0]) == 1 and between == {"."}:  # 3.14159265
        return False
    if text.startswith("+") or any(len(group) >= _FEWEST_DIGITS for group in groups):
        return True
    rest = groups[1:] if len(groups[0]) == 1 else groups  # without the 1 of 1-800-...
    if any(len(group) == 1 for group in rest) or sum(map(len, rest)) < _FEWEST_DIGITS:
        return False
    if groups[0].startswith("0") or (marks[0] == "(" and ")" in between) or _is_american(rest):
        return True
    if len(groups) == 2 and marks[1] in "\u2013\u2014":  # 900–1100
        return False
    return not _are_years_or_sizes(groups, between)


def _are_years_or_sizes(groups: list[str], between: set[str]) -> bool:
    """True for groups of digits that are unlikely to be personal: 2016/679, 1914-1918, 205/55/16."""
    years = [len(group) == 4 and group.startswith(("19", "20")) for group in groups]
    if between == {"/"}:
        return all(len(group) < 5 for group in groups)
    if between == {"-"}:
        is_range = len(groups) == 2 and all(group.endswith("0") for group in groups)  # 850-4000
        return years[0] or is_range or all(len(group) == 4 and group[0] in "12" for group in groups)
    if between == {"."}:
        return years[0]
    return any(years) or list(map(len, groups)) == [3, 2, 2]


def _is_american(groups: list[str]) -> bool:
    """True for the groups of a telephone number or a social security number of the United States."""
    return list(map(len, groups)) in ([3, 3, 4], [3, 2, 4])


def _is_isbn(groups: list[str]) -> bool:
    digits = "".join(groups)
    if len(digits) != 13 or not digits.startswith(("978", "979")):
        return False
    return sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits)) % 10 == 0
