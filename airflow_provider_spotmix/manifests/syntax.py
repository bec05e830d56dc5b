"""What Kubernetes takes for a name, a label or an annotation. Pure; each returns what is wrong, or an empty text.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set and
https://kubernetes.io/docs/concepts/overview/working-with-objects/names/.
"""

from __future__ import annotations

import re

_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_MAX_PREFIX = 253


def wrong_label_key(key: str) -> str:
    """Tell what is wrong with the key of a label, an annotation or a taint."""
    prefix, slash, name = key.rpartition("/")
    parts = prefix.split(".")
    if slash and (len(prefix) > _MAX_PREFIX or not all(_DNS_LABEL.fullmatch(part) for part in parts)):
        return "what is before its '/' has to be a DNS name in lower case"
    if not name or not _VALUE.fullmatch(name):
        return "a key has up to 63 letters, digits, '-', '_' and '.', and begins and ends with a letter or digit"
    return ""


def wrong_label_value(value: str) -> str:
    """Tell what is wrong with the value of a label."""
    if _VALUE.fullmatch(value):
        return ""
    return "a value has up to 63 letters, digits, '-', '_' and '.', and begins and ends with a letter or digit"


def wrong_dns_label(name: str) -> str:
    """Tell what is wrong with a name that has to be a DNS label, as a namespace's."""
    if _DNS_LABEL.fullmatch(name):
        return ""
    return "it has up to 63 lower-case letters, digits and '-', and begins and ends with a letter or digit"
