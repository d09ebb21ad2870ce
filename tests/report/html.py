"""Reads pages strictly: what is opened is closed, in order."""

from html.parser import HTMLParser
from pathlib import Path

_VOID = {"img", "meta", "link", "br", "hr", "input", "wbr"}


class Page(HTMLParser):
    """The elements and the text of a page.

    Attributes:
        elements: (tag, attributes) in order.
        text: What a reader sees, without scripts and styles.
        content: Text of each element with an id.

    Raises:
        AssertionError: If a tag is not closed where it should be.
    """

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.content = "", {}
        self._open: list[tuple[str, str | None]] = []
        self.feed(html)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"<{tag}> has an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append((tag, dict(attrs).get("id")))

    def handle_startendtag(self, tag, attrs):
        assert any(name == "svg" for name, _ in self._open), f"<{tag}/> outside of an svg"
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open and self._open[-1][0] == tag, f"</{tag}> closes {self._open[-1:]}"
        self._open.pop()

    def handle_data(self, data):
        for _, name in self._open:
            if name is not None:
                self.content[name] = self.content.get(name, "") + data
        if not {"script", "style"} & {tag for tag, _ in self._open}:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def read(path: Path) -> Page:
    """Parses a file."""
    return Page(path.read_text())
