"""Web pages in a folder of documents: the text that a reader sees, without what is on all pages of a site."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from test_formats import put

from acclimate.corpus import formats
from acclimate.corpus.formats.html import read_page
from acclimate.corpus.survey import _tags_warning
from acclimate.records import Doc


@pytest.mark.parametrize(
    ("content", "title", "text"),
    [
        ("<title>A\n &amp; B</title><p>c<b>d</b>e<p>f<br>g", "A & B", "cde\nf\ng"),
        ("<script>x<y</script><style>b{}</style><h1>A</h1>b  c &lt;d&gt;", "A", "A\nb c <d>"),
        ("<svg><title>no</title></svg><title>A</title>b<svg/>c<noscript>d</noscript>", "A", "bc"),
        ("a</script></title>b<table><tr><td>1</td><td>2<p>3</td><tr><th>4<th>5</table>", "", "ab\n1 2\n3\n4 5"),
        ("<title> </title>a<h1>A <b>b</b><a href='#a'>¶</a></h1>c<h1>d</h1>", "A b", "a\nA b\nc\nd"),
        ("a\nb<pre>c\n  d\n<p>e</pre>f\ng", "", "a b\nc\nd\ne\nf g"),
        ("<p>unclosed <a href='x'>b", "", "unclosed b"),
        ("<a title='>' alt=\">\" x=y'>a</a> < b <3", "", "a < b <3"),
        ("<div><svg>no</div>a<object><p>no<object>no</object>no</object>b", "", "a\nb"),
        ("<script>'</b>'<!-- </SCRIPT >a<textarea><b></textarea>", "", "a\n<b>"),
        ("a<!-- > <b> -->b<!-->c<?x?>d<!x>e</>f</ x>g", "", "abcdefg"),
        (
            "<title>A - B</title><ul><li><a href=/>c</a></ul><h1><a href=/b/>B</a></h1><svg a=b />d<svg a='b'/>e",
            "A - B",
            "B\nde",
        ),
        ("<P>a&nbsp;b</P >\r\nc\r\nd&#" + "9" * 5000 + ";", "", "a b\nc d&#" + "9" * 5000 + ";"),
        ("a<p", "", "a"),
    ],
)
def test_html_is_read_as_its_reader_sees_it(tmp_path: Path, content: str, title: str, text: str) -> None:
    put(tmp_path / "a.html", content)
    assert list(formats.read_folder(tmp_path)) == [Doc("a.html", text, title)]


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("<title>A b - Docs 2.1</title><h1>A b<a href='#a'>¶</a></h1>", "A b"),
        ("<title>Docs :: A</title><header><h1>Docs</h1></header><h1>A</h1>", "A"),
        ("<title>A | Part | Docs</title><h1>Part</h1><h1>A</h1>", "A"),
        ("<title>A | B | Docs</title><h1>A</h1><h1>A | B</h1>", "A | B"),
        ("<title>A &mdash; Docs</title><h1><a href='/'>Docs</a></h1><h2>A</h2>", "A — Docs"),
        ("<title>A - Docs</title><header><h1>Docs</h1></header><h2>A</h2>", "A - Docs"),
        ("<title>A guide</title><h1>A</h1>", "A guide"),
        ("<title>A-B</title><h1>A</h1>", "A-B"),
        ("<title>A: B - Docs</title><h1>B</h1><h1></h1>", "A: B - Docs"),
    ],
)
def test_a_title_is_without_the_name_of_the_site(tmp_path: Path, page: str, title: str) -> None:
    put(tmp_path / "a.html", page)
    (doc,) = formats.read_folder(tmp_path)
    assert doc.title == title


def test_a_long_title_and_many_headings_take_time_by_length() -> None:
    def seconds(n: int) -> float:
        page = f"<title>{'a' * 50 * n}</title>{''.join(f'<h1>{number} a</h1>' for number in range(n))}"
        began = time.process_time()
        read_page(page)
        return time.process_time() - began

    assert seconds(12_000) < 0.1 + 8 * seconds(3_000)  # with the square: 16 times


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<nav>menu</nav><p>a<main><h2>b</h2>c</main><footer>d", "b\nc"),
        ("<nav>menu</nav><p>a<footer>d", "a\nd"),
        ("x<div class=body role='main'>a<div>b</div>c</div>d", "a\nb\nc"),
        ('x<div ROLE=Main>a<p role="navigation">b</p>c', "a\nc"),
        ("<main>a<main>b</main>c</main>d<main>e</main>", "a\nb\nc\ne"),
        ("<main><nav>b</nav>a", "a"),
        ('<div class="navheader"><th>a</th><a>Prev</a></div><h2>b</h2>c<div class=navfooter><a>Up</a></div>', "b\nc"),
        ('<div class="navheaders">a</div><h2>b</h2>', "a\nb"),
        ('<div id="titlearea">a</div><div id="MSearchResults">b</div><div id=nav-path>c</div><h2 id=title>d</h2>', "d"),
        ("<body class='SRPage'>a<div class='SRStatus' id='Loading'>b</div>", "a"),
        ("<main> <script>x</script></main>a", "a"),  # a page that a script fills
        ("<nav>a<ul><li>b</nav>", "a\nb"),  # a list of links
        ("<p>a<div hidden>b<b>c</b></div>d", "a\nd"),
        ('<p>a<div class=x STYLE="color: red;Display:none !important">b</div>c', "a\nc"),
        ("<p hidden>a<p>b<ul><li hidden>c<li>d</ul><table><tr hidden><td>e<tr><td>f</table>", "b\nd\nf"),
        ("a<br hidden>b<img style='display:none'>c<input type='hidden'>d", "a\nb\nc\nd"),
        ("<p title='hidden' data-hidden class=hidden>a<i alt='style=\"display:none\"'>b</i>", "ab"),
        ("<p>a<div hidden=until-found>b</div><div role=tabpanel hidden>c</div>", "a\nb\nc"),  # which readers open
        ("<body style='display:none'><nav>a</nav><p>b<style>", "b"),  # until a script shows it
        ("<div hidden>a</div>", "a"),
        ("<div id=x role=mainly><a data-role='main'>a</a>b<nav/>c", "ab\nc"),
    ],
)
def test_of_a_page_the_main_content_is_read_and_not_the_navigation(tmp_path: Path, content: str, text: str) -> None:
    put(tmp_path / "a.html", content)
    assert list(formats.read_folder(tmp_path)) == [Doc("a.html", text)]


@pytest.mark.parametrize(
    ("head", "is_read"),
    [
        ('<meta http-equiv="refresh" content="0; url=new.html">', False),
        ("<META content='1.5;URL=new.html' HTTP-EQUIV=Refresh />", False),
        ('<meta http-equiv="refresh" content="60; url=new.html">', True),
        ('<meta http-equiv="refresh" content="5">', True),  # to itself
        ('<meta name="refresh" content="0; url=new.html">', True),
        ('<noscript><meta http-equiv="refresh" content="0; url=new.html"></noscript>', True),
        ("<p>&lt;meta http-equiv=refresh content='0; url=new.html'&gt;", True),
    ],
)
def test_a_page_that_only_leads_to_another_is_no_document(tmp_path: Path, head: str, is_read: bool) -> None:
    put(tmp_path / "a.html", f"<title>new.html</title>{head}<p>It has moved.")
    put(tmp_path / "b.txt", "b")
    docs = formats.read_folder(tmp_path)
    assert [doc.doc_id for doc in docs] == (["a.html", "b.txt"] if is_read else ["b.txt"])
    assert docs.dropped["file without text"] == (not is_read)


MENU = "<ul><li><a>c</a><ul><li><a>d</a></ul><li> | <a>e</a></ul>"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (f"a{MENU}<h2>b</h2>{MENU}", "a\nb\nc\nd\n| e"),
        (f"a{MENU}<div>x</div><div>y</div><div>z</div><ol>x{MENU}</ol><p>b", "a\nx\ny\nz\nx\nb"),
        (f"<header><h2>a</h2>{MENU}</header><p>b", "a\nb"),
        (f"<article><header><h2>a</h2>{MENU}</header><p>b", "a\nc\nd\n| e\nb"),
        (f"<div>a</div>{MENU}", "a\nc\nd\n| e"),
        (f"{MENU}<p></p>", "c\nd\n| e"),
        (f"<nav>{MENU}<p>x</nav>{MENU}<p>b", "b"),
        (f"<ul><li>x<li><a>c</a></ul>{MENU}<ul><li><p>b<li><a>c</a></ul>", "x\nc\nb\nc"),
    ],
)
def test_lists_of_links_before_the_content_are_menus(tmp_path: Path, content: str, text: str) -> None:
    put(tmp_path / "a.html", content)
    assert list(formats.read_folder(tmp_path)) == [Doc("a.html", text)]


@pytest.mark.parametrize(
    ("texts", "is_warned"),
    [
        (["<p>My <b>pump</b></p><p>leaks.</p>", "It leaks<br>here<br/>and<BR />there", "none"], True),
        (["<p>My <b>pump</b></p><p>leaks.</p>", "none"], False),
        (["Leaks? <p class='a'>Yes.</p>", "<P>No.</P>", "none"], True),  # short answers of a help desk
        (["In HTML, <p></p> is a paragraph", "<pre>x</p>"], False),
        (["In HTML, <b>text</b> is bold"] * 3, False),
        (["a < b > c and List<String> or <x@y.org>" * 3], False),
        ([], False),
    ],
)
def test_texts_of_tables_that_are_html_are_warned_about(texts: list[str], is_warned: bool) -> None:
    assert any("HTML tags" in line for line in _tags_warning(texts)) == is_warned
