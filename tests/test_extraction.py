"""PDF and office files in a folder of documents: their text as people type it, and nothing lost without a word."""

from __future__ import annotations

import logging
import re
import zipfile
from pathlib import Path

import pytest
from test_formats import refusal

import acclimate
from acclimate.base.errors import DataError
from acclimate.corpus import formats
from acclimate.corpus.formats import archive, extraction

pytest.importorskip("pypdfium2", reason="pypdfium2 is not installed: pip install 'acclimate[pdf]'")
docx = pytest.importorskip("docx", reason="python-docx is not installed: pip install 'acclimate[docx]'")
pptx = pytest.importorskip("pptx", reason="python-pptx is not installed: pip install 'acclimate[pptx]'")


def pdf_of(*pages: str, title: str = "") -> bytes:
    """A PDF file with these lines of text on its pages; "[(a) -250 (b)]" is a line with a gap."""
    widths = f"/FirstChar 32 /LastChar 126 /Widths [{'600 ' * 95}]"
    font = f"<< /Type /Font /Subtype /Type1 /BaseFont /Courier {widths} >>"
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", font]
    kids = []
    for page in pages:
        lines = " ".join(f"{line} TJ T*" if line.startswith("[") else f"({line}) Tj T*" for line in page.splitlines())
        content = f"BT /F1 12 Tf 14 TL 72 720 Td {lines} ET" if page else ""
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
        kids.append(len(objects) + 1)
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {len(objects)} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(f'{kid} 0 R' for kid in kids)}] /Count {len(kids)} >>"
    objects.append(f"<< /Title ({title}) >>")
    out, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{content}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    start, size = len(out), len(objects) + 1
    end = f"trailer\n<< /Size {size} /Root 1 0 R /Info {size - 1} 0 R >>\nstartxref\n{start}\n%%EOF\n"
    return out + f"xref\n0 {size}\n0000000000 65535 f \n{table}{end}".encode()


def word(path: Path, *paragraphs: str, title: str = "", table: list[list[str]] | None = None) -> None:
    document = docx.Document()
    document.core_properties.title = title
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    if table:
        made = document.add_table(len(table), len(table[0]))
        for row, cells in zip(made.rows, table, strict=True):
            for cell, text in zip(row.cells, cells, strict=True):
                cell.text = text
    document.save(str(path))


def test_the_text_of_pages_paragraphs_and_tables_is_that_of_the_document(tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf_of("Volcanoes of Iceland\nLava comes to the sur-\nface.", "", "Second page."))
    word(tmp_path / "b.DOCX", "A report", "", "Sales grew.", table=[["north", "12"], ["south", "9"]])
    (tmp_path / "c.txt").write_text("plain")
    assert [(doc.doc_id, doc.text) for doc in formats.read_folder(tmp_path)] == [
        ("a.pdf", "Volcanoes of Iceland\nLava comes to the surface.\n\nSecond page."),
        ("b.DOCX", "A report\nSales grew.\nnorth 12\nsouth 9"),
        ("c.txt", "plain"),
    ]


@pytest.mark.parametrize(
    ("printed", "text"),
    [
        ("[(Lava) -250 (flows)]", "Lava flows"),  # typesetters write no spaces
        ("to the sur-\nface", "to the surface"),
        ("the Navier-\nStokes equations", "the Navier-Stokes equations"),
        ("Scope . . . . . . 3\nWords.......... 4\nwait ...", "Scope ... 3\nWords ... 4\nwait ..."),
    ],
)
def test_the_words_of_a_page_are_those_that_its_readers_see(tmp_path, printed, text):
    (tmp_path / "a.pdf").write_bytes(pdf_of(printed))
    assert extraction.read(tmp_path / "a.pdf")[1].startswith(text)


def test_nothing_that_a_reader_of_word_sees_is_lost(tmp_path):
    names = " ".join(f'xmlns:{name}="{docx.oxml.ns.nsmap[name]}"' for name in ("w", "m"))
    run = "<w:r><w:t>{}</w:t></w:r>"
    parts = (
        "<w:sdt><w:sdtContent><w:p>" + run.format("A form") + "</w:p></w:sdtContent></w:sdt>",
        "<w:p>"
        + run.format("for ")
        + "<w:sdt><w:sdtContent>"
        + run.format("Ms. Ito")
        + "</w:sdtContent></w:sdt></w:p>",
        "<w:p><w:ins>" + run.format("new") + "</w:ins><w:del><w:r><w:delText>old</w:delText></w:r></w:del>"
        "<w:moveFrom>"
        + run.format("moved")
        + "</w:moveFrom><w:r><w:tab/><w:t>tab</w:t><w:br/><w:t>line</w:t></w:r></w:p>",
    )
    document = docx.Document()
    for part in parts:
        document.element.body.insert(
            len(document.element.body) - 1, docx.oxml.parse_xml(part.replace(">", f" {names}>", 1))
        )
    document.save(str(tmp_path / "a.docx"))
    assert extraction.read(tmp_path / "a.docx") == ("", "A form\nfor Ms. Ito\nnew\ttab\nline")


@pytest.mark.parametrize(
    ("title", "kept"),
    [("Volcanoes of  Iceland's", "Volcanoes of Iceland's"), ("?", ""), ("Microsoft Word - draft3.doc", ""), ("", "")],
)
def test_a_title_is_one_that_readers_see(tmp_path, title, kept):
    (tmp_path / "a.pdf").write_bytes(pdf_of("VOLCANOES OF ICELAND`S\nLava.", title=title))
    word(tmp_path / "b.docx", "Volcanoes of Iceland’s?", "Lava.", title=title)
    assert [doc.title for doc in formats.read_folder(tmp_path)] == [kept, kept]


@pytest.mark.parametrize("level", [0, 1])
def test_the_title_of_a_word_file_without_one_is_its_first_heading(tmp_path, level):
    document = docx.Document()
    document.add_paragraph("Draft")
    document.add_heading("Volcanoes of Iceland", level)
    document.add_heading("Lava", 1)
    document.save(str(tmp_path / "a.docx"))
    assert extraction.read(tmp_path / "a.docx")[0] == "Volcanoes of Iceland"


def test_slides_are_read_in_order_with_their_tables_and_notes(tmp_path):
    presentation = pptx.Presentation()
    title_and_text, title_only, blank = (presentation.slide_layouts[number] for number in (0, 5, 6))
    first = presentation.slides.add_slide(title_and_text)
    first.shapes.title.text = "Volcanoes of Iceland"
    first.placeholders[1].text = "What they are\vand were"
    first.notes_slide.notes_text_frame.text = "Say hello."
    presentation.slides.add_slide(blank)
    last = presentation.slides.add_slide(title_only)
    last.shapes.title.text = "Heights"
    table = last.shapes.add_table(2, 2, 0, 0, 9, 9).table
    for number, text in enumerate(("Hekla", "1,491 m", "Katla", "1,512 m")):
        table.cell(number // 2, number % 2).text = text
    box = last.shapes.add_group_shape().shapes.add_textbox(0, 0, 9, 9)
    box.text_frame.text = "Sources: "
    names = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
    number = pptx.oxml.parse_xml(f'<a:fld {names} id="{{0}}" type="slidenum"><a:t>3</a:t></a:fld>')
    box.text_frame.paragraphs[0]._p.append(number)
    presentation.save(str(tmp_path / "a.pptx"))
    text = (
        "Volcanoes of Iceland\nWhat they are\nand were\nSay hello.\n\nHeights\nHekla 1,491 m\nKatla 1,512 m\nSources:"
    )
    assert extraction.read(tmp_path / "a.pptx") == ("Volcanoes of Iceland", text)


@pytest.mark.parametrize("suffix", [".docx", ".pptx"])
def test_strict_open_xml_is_read_like_the_usual_kind(tmp_path, suffix):
    usual, strict = (tmp_path / f"{name}{suffix}" for name in ("usual", "strict"))
    if suffix == ".docx":
        word(usual, "Lava.", title="Lava", table=[["north", "12"]])
    else:
        presentation = pptx.Presentation()
        presentation.slides.add_slide(presentation.slide_layouts[0]).shapes.title.text = "Lava"
        presentation.save(str(usual))
    with zipfile.ZipFile(usual) as parts, zipfile.ZipFile(strict, "w") as renamed:
        for name in parts.namelist():
            usual_name = rb"schemas\.openxmlformats\.org/(officeDocument|\w+ml)/2006/"
            renamed.writestr(name, re.sub(usual_name, rb"purl.oclc.org/ooxml/\1/", parts.read(name)))
    assert extraction.read(strict) == extraction.read(usual) != ("", "")


def test_letters_are_those_that_people_type():
    assert extraction._valid("of\ufb01ce \ufb02oor co\u00adoperate \ud800\0é") == "office floor cooperate ?é"


def test_what_cannot_be_read_is_named_counted_and_left_out(tmp_path, caplog, monkeypatch):
    word(tmp_path / "good.docx", "Lava.")
    good = pdf_of("Lava.")
    (tmp_path / "good.pdf").write_bytes(good)
    key = f"<{'00' * 32}>"
    locked = f"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O {key} /U {key} >> /ID [<00> <00>] /Root"
    (tmp_path / "locked.pdf").write_bytes(good.replace(b"/Root", locked.encode()))
    (tmp_path / "scan.pdf").write_bytes(pdf_of(""))
    damaged = {"cut.pdf": good[:20], "none.pdf": b"", "other.pdf": b"PK" * 99}
    damaged |= {"cut.docx": b"PK\x03\x04", "text.pptx": b"x", "locked.docx": b"\xd0\xcf\x11\xe0" + bytes(512)}
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(archive, "LONGEST", 100_000)
    with zipfile.ZipFile(tmp_path / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as bomb:
        for number in range(2):
            bomb.writestr(f"word/{number}.xml", bytes(600_000))
    docs = formats.read_folder(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert [doc.doc_id for doc in docs] == ["good.docx", "good.pdf"]
    assert +docs.dropped == {
        "unreadable .pdf file": 4,
        "unreadable .docx file": 3,
        "unreadable .pptx file": 1,
        "file without text": 1,
    }
    said = [record.getMessage() for record in caplog.records if record.name.startswith("acclimate")]
    assert len(said) == 9
    scan = tmp_path / "scan.pdf"
    assert said.pop() == f"{tmp_path}: left out 1 file without text, as scans are before OCR: {scan}"
    assert all(line.endswith("; it is left out") and "\n" not in line for line in said)
    for name in ("locked.pdf: needs a password", "locked.docx: has a password", "bomb.docx: holds more than", *damaged):
        assert any(str(tmp_path / name) in line for line in said), name


def test_without_the_packages_such_files_are_counted_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "find_spec", lambda name: None)
    (tmp_path / "a.pdf").write_bytes(pdf_of("Lava."))
    message = refusal(lambda: formats.read_folder(tmp_path))
    assert ".pdf file type, read with acclimate[pdf]: 1" in message
    assert message.endswith("; pip install 'acclimate[pdf]' to read such files")
    (tmp_path / "b.txt").write_text("plain")
    assert [doc.doc_id for doc in formats.read_folder(tmp_path)] == ["b.txt"]


def test_a_document_whose_file_can_no_longer_be_read_is_not_removed_with_all(copied, tmp_path, monkeypatch):
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.pdf").write_bytes(pdf_of("Lava."))
    (texts / "b.txt").write_text("Ash.")
    run = acclimate.open(copied)
    assert run.update(texts).changes == {"came": 2, "changed": 0, "went": 0}
    with (
        monkeypatch.context() as patch,
        pytest.raises(DataError, match=r"a\.pdf: is read with acclimate\[pdf\].* --all"),
    ):
        patch.setattr(extraction, "find_spec", lambda name: None)
        run.update(texts, all=True)
    (texts / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(DataError, match=r"a\.pdf: cannot be read.* --all would remove its document"):
        run.update(texts, all=True)
    (texts / "a.pdf").unlink()
    assert run.update(texts, all=True).documents == 1
