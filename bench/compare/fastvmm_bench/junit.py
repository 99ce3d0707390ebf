# SPDX-License-Identifier: Apache-2.0
"""The gate's findings as JUnit XML, which CI systems show. Inconclusive is an error, not a failure."""
import xml.etree.ElementTree as ElementTree

from . import gate


def document(findings):
    count = [sum(f.status == status for f in findings) for status in (gate.FAILED, gate.INCONCLUSIVE)]
    suite = ElementTree.Element("testsuite", name="fastvmm-bench", tests=str(len(findings)),
                                failures=str(count[0]), errors=str(count[1]))
    for finding in findings:
        case = ElementTree.SubElement(suite, "testcase", classname="fastvmm-bench", name=finding.title)
        kind = {gate.FAILED: "failure", gate.INCONCLUSIVE: "error"}.get(finding.status)
        if kind:
            ElementTree.SubElement(case, kind, message=finding.text)
        else:
            ElementTree.SubElement(case, "system-out").text = finding.text
    return ElementTree.ElementTree(suite)


def save(findings, path):
    tree = document(findings)
    ElementTree.indent(tree)
    tree.write(path, encoding="utf-8", xml_declaration=True)
