"""Looking at pages as a browser would."""

from __future__ import annotations

from html.parser import HTMLParser


class Checker(HTMLParser):
    """Follows a page: tags that close, ids that are there once, links that lead somewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag == "a" else []
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def handle_startendtag(self, tag, attrs):
        pass


def checked(text: str) -> Checker:
    found = Checker()
    found.feed(text)
    found.close()
    assert not found.open and len(set(found.ids)) == len(found.ids)
    assert {link[1:] for link in found.links} <= set(found.ids)
    return found
