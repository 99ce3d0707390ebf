# SPDX-License-Identifier: Apache-2.0
"""The page: whole, self-contained, every plot with titles of both axes and their units."""
import os
import re
import unittest
from html.parser import HTMLParser
from unittest import mock

import support
from fastvmm_bench import profiles, results

try:
    import matplotlib  # noqa: F401
    from fastvmm_bench import figures, plots, report_html
except ImportError:
    matplotlib = None

_VOID = {"meta", "br", "link", "img"}


class _Checker(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.ids, self.loads, self.labels, self.headings = [], [], [], [], []
        self.heading = False

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in _VOID:
            self.open.append(tag)
        self.heading = tag in ("h1", "h2", "h3")
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "svg":
            self.labels.append(attributes.get("aria-label"))
        for name in ("src", "href", "xlink:href"):
            if name in attributes and not attributes[name].startswith("#"):
                self.loads.append(attributes[name])

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if self.open.pop() != tag:
            raise AssertionError(f"</{tag}> closes something else")

    def handle_data(self, data):
        if self.heading and data.strip():
            self.headings.append(data)


def check(page):
    checker = _Checker()
    checker.feed(page)
    checker.close()
    return checker


@unittest.skipUnless(matplotlib, "python3-matplotlib is not installed")
class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.titles = []
        finish = plots._finish

        def noting(figure, number, title):
            (axes,) = figure.axes
            cls.titles.append((title, axes.get_xlabel(), axes.get_ylabel(),
                               [tick.get_text() for tick in axes.get_yticklabels()]))
            return finish(figure, number, title)
        with mock.patch.object(plots, "_finish", noting):
            cls.document = support.full_document()
            cls.page = report_html.render(cls.document)
        cls.checked = check(cls.page)

    def test_is_whole(self):
        self.assertEqual(self.checked.open, [])

    def test_loads_nothing(self):
        self.assertEqual(self.checked.loads, [])
        self.assertNotIn("<script", self.page)
        self.assertNotRegex(self.page, r"url\((?!#)")
        self.assertNotIn("@import", self.page)

    def test_names_are_unique(self):
        self.assertEqual(len(self.checked.ids), len(set(self.checked.ids)))
        for target in set(re.findall(r'(?:href="|url\()#([^")]+)', self.page)):
            self.assertIn(target, self.checked.ids)

    def test_plots(self):
        joined = " | ".join(self.checked.labels)
        for words in ("fastvmm against QEMU", "fastvmm against host", "against queue depth",
                      "against queues", "Median latency against load",
                      "99th percentile latency against load", "CPU time per I/O"):
            self.assertIn(words, joined)

    def test_axes_have_titles(self):
        for title, x_title, y_title, ticks in self.titles:
            self.assertTrue(x_title, title)
            self.assertTrue(y_title or any(ticks), title)

    def test_sections(self):
        for heading in ("Results", "Plots", "What an I/O costs", "Latency", "Command lines", "The host",
                        "Differences of configuration"):
            self.assertIn(heading, self.checked.headings)

    def test_the_kernels_data_path_is_another_peer(self):
        found = {"settings": [{"name": name, "family": "qemu",
                               "configuration": {"program": "QEMU 7.2.22", "vhost-net": vhost}}
                              for name, vhost in (("q", "no"), ("v", "yes"))]}
        self.assertEqual([figures.peer_name(found, name) for name in ("q", "v")],
                         ["QEMU 7.2.22", "QEMU 7.2.22 vhost-net"])
        self.assertEqual(figures.series_name(found, "v"), "QEMU 7.2.22 vhost-net, best setting")

    def test_text_is_escaped(self):
        self.assertIn("fastvmm --for &lt;randread-4k-qd1&gt;", self.page)

    def test_fits_a_phone(self):
        self.assertIn('name="viewport" content="width=device-width', self.page)
        self.assertNotRegex(self.page, r'<svg[^>]*\swidth=')
        self.assertEqual(self.page.count("<table"), self.page.count('<div class="wide"><table'))

    def test_same_samples_same_page(self):
        small = support.document(profiles.workloads("quick"), support.plausible)
        self.assertEqual(report_html.render(small), report_html.render(small))

    def test_page_of_the_saved_document(self):
        saved = results.load(os.path.join(support.HERE, "data", "results-v1.json"))
        self.assertEqual(check(report_html.render(saved)).open, [])

    def test_page_of_nothing(self):
        found = {**self.document, "plan": [], "analysis": {}}
        self.assertEqual(check(report_html.render(found)).open, [])


if __name__ == "__main__":
    unittest.main()
