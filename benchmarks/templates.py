"""Measure the CPU time and accuracy of template mining on 100,000 keys, beside replaced digits and Drain.

Run as `python -m benchmarks.templates`; drain3 is measured when it is installed (`pip install drain3`).
Accuracy is by template (planted against found) and by key (the share of keys with their planted template).
"""

from __future__ import annotations

import argparse
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping

from fleettrace.report.templates import Templates
from tests.report.keysets import KeySet, fleet

__all__ = ["main"]

_DIGITS = re.compile(r"[0-9]+")
_Miner = Callable[[Mapping[bytes, int]], dict[bytes, str | None]]


def by_fleettrace(counts: Mapping[bytes, int]) -> dict[bytes, str | None]:
    """Return the templates of the report."""
    found = Templates.learn(counts, max_templates=len(counts))
    return {key: found.of(key) for key in counts}


def by_digits(counts: Mapping[bytes, int]) -> dict[bytes, str | None]:
    """Return the keys with every run of digits replaced, as a simple script would."""
    return {key: _DIGITS.sub("{}", key.decode("latin-1")) for key in counts}


def by_drain(counts: Mapping[bytes, int]) -> dict[bytes, str | None]:
    """Return Drain's templates with the same delimiters, read after the last key, when its clusters are final."""
    from drain3 import TemplateMiner  # type: ignore[import-not-found, unused-ignore]
    from drain3.template_miner_config import TemplateMinerConfig  # type: ignore[import-not-found, unused-ignore]

    config = TemplateMinerConfig()
    config.drain_extra_delimiters = [":", "/", "|", "#", "_", "-", r"\."]
    config.parametrize_numeric_tokens = True
    miner = TemplateMiner(config=config)
    clusters = {key: miner.add_log_message(key.decode("latin-1"))["cluster_id"] for key in counts}
    texts = {cluster.cluster_id: cluster.get_template() for cluster in miner.drain.clusters}
    return {key: texts[cluster] for key, cluster in clusters.items()}


def _words(template: str | None) -> str | None:
    """Return a template without its delimiters, which Drain drops, and with one mark for adjacent variable parts."""
    if template is None:
        return None
    text = re.sub(r"[^0-9A-Za-z{}<>*]+", " ", template.replace("<*>", "{}"))
    return re.sub(r"\{\}( ?\{\})*", "{}", text).strip()


def _judge(name: str, miner: _Miner, keys: KeySet) -> str:
    counts = {key: requests for key, (requests, _) in keys.items()}
    began = time.process_time()
    found = miner(counts)
    seconds = time.process_time() - began
    sizes = Counter(_words(template) for _, template in keys.values())
    planted = {template for template, size in sizes.items() if size >= 10}
    # Templates of fewer than ten keys are ignored on both sides, so that a long tail counts against no miner.
    mined = {template for template, size in Counter(map(_words, found.values())).items() if template and size >= 10}
    right = sum(_words(found[key]) == _words(template) for key, (_, template) in keys.items())
    hits = len(planted & mined)
    return (
        f"{name:<16}{seconds:7.2f} s{hits / max(1, len(mined)):11.3f}{hits / len(planted):9.3f}"
        f"{right / len(keys):9.3f}{len(mined):8}"
    )


def main() -> None:
    """Print one line per miner."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    keys = fleet(args.keys, args.seed)
    planted = len({template for _, template in keys.values()})
    print(f"{len(keys):,} keys of {planted} families")
    print(f"{'':<16}{'time':>9}{'precision':>11}{'recall':>9}{'keys':>9}{'found':>8}")
    print(_judge("fleettrace", by_fleettrace, keys))
    print(_judge("digits replaced", by_digits, keys))
    try:
        print(_judge("drain3", by_drain, keys))
    except ImportError:
        print("drain3          is not installed")


if __name__ == "__main__":
    main()
