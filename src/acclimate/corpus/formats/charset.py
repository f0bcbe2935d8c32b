"""The text of a web page in the encoding that it declares, if it is not UTF-8.

Declared in the first kilobyte (html.spec.whatwg.org, 13.2.3.2), by `<meta charset>`, by `<meta content>`, or by XML's
declaration. What decodes as UTF-8 is UTF-8: servers declare another encoding for such pages, and the pages still do.
"""

from __future__ import annotations

import codecs
import re
from contextlib import suppress
from pathlib import Path

from acclimate.base.errors import DataError
from acclimate.base.files import LONGEST, open_bytes, read_text
from acclimate.base.text import quoted

_DECLARED = re.compile(
    rb"""<meta\s[^>]*?charset\s*=\s*["']?\s*([\w.:+-]+) | <\?xml\s[^>]*?encoding\s*=\s*["']([\w.:+-]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_WITHIN = 1024  # bytes
_SUPERSETS = {  # what browsers decode instead (encoding.spec.whatwg.org), by Python's names
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
}
# Python has more, which escape or compress and are no encodings of pages.
_OF_PAGES = re.compile(
    r"cp(125\d|866|874|932|949)|iso8859-\d+|koi8-[ru]|gb18030|big5(hkscs)?|euc_jp|mac-(roman|cyrillic)"
)


def read_declared(path: Path) -> str:
    """The text of a page. Raises DataError if it is neither UTF-8 nor what it declares."""
    try:
        return read_text(path, largest=LONGEST)
    except DataError:
        with open_bytes(path) as stream:
            content = stream.read(LONGEST + 1)
        if len(content) > LONGEST or b"\0" in content or not _DECLARED.search(content[:_WITHIN]):
            raise
    return declared_text(content, path)


def declared_text(content: bytes, path: Path) -> str:
    """The text of a page in a file. Raises DataError if it is neither UTF-8 nor what it declares."""
    with suppress(UnicodeDecodeError):
        return content.decode("utf-8-sig")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    declared = _DECLARED.search(content[:_WITHIN])
    if declared is None:
        raise DataError("is not UTF-8, and declares no other encoding; save the file as UTF-8", path=path)
    label = (declared[1] or declared[2]).decode()
    try:
        name = codecs.lookup(label).name
        name = _SUPERSETS.get(name, name)
        if not _OF_PAGES.fullmatch(name):
            raise LookupError
        return content.decode(name)
    except (LookupError, UnicodeDecodeError) as error:
        known = "which its bytes are not" if isinstance(error, UnicodeDecodeError) else "which is not known"
        raise DataError(f"declares the encoding {quoted(label)}, {known}; save the file as UTF-8", path=path) from None
